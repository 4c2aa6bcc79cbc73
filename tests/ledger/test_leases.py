"""Leases in the ledger: what is set aside, drawn and given back, to the nano-dollar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from proxy.ledger.leases import SHARE
from proxy.ledger.ledger import Ledger
from proxy.ledger.reading import read_accounts
from proxy.reservations import (
    BudgetLine,
    Draw,
    Drawn,
    Granted,
    Lease,
    Leased,
    Refused,
    Release,
    Reserve,
    Return,
    Settle,
)
from tests.ledger.scenes import DOLLAR, HIDING, NEED, Hands, open_reservations, price_book, request, rolling, total

ENOUGH = 10 * SHARE * NEED
"""A limit under which a lease for ten requests is granted, and none for many more."""


def ask(ledger: Ledger, message: Any) -> Any:
    [answer] = ledger.handle([message])
    return answer


def lease(ledger: Ledger, count: int, *lines: BudgetLine, name: str = "g/1", **more: Any) -> Leased:
    answer = ask(ledger, Lease(1, name, like(*lines, **more), count))
    assert isinstance(answer, Leased)
    return answer


def like(*lines: BudgetLine, **more: Any) -> Reserve:
    return request("any", *lines, **more)


def account(path: Path) -> tuple[int, int]:
    """Return what is spent and reserved."""
    [row] = read_accounts(path, Hands().clock())
    return row.spent_nano_usd, row.reserved_nano_usd


def test_a_lease_holds_what_so_many_requests_can_cost_and_says_their_prices(ledger: Ledger, path: Path) -> None:
    granted = lease(ledger, 3 + 4, total(DOLLAR))
    assert granted.nano_usd == 7 * NEED
    assert granted.remaining_nano_usd == DOLLAR - 7 * NEED
    assert granted.tariff is not None
    assert granted.tariff.upper_bound(1000, 100) == NEED
    assert account(path) == (0, 7 * NEED)


def test_a_lease_grows_and_stays_one(ledger: Ledger, path: Path) -> None:
    for _ in range(3):
        lease(ledger, 10, total(DOLLAR))
    assert account(path) == (0, 30 * NEED)
    assert [(each.exchange, each.reserved_nano_usd) for each in open_reservations(path)] == [("g/1", 30 * NEED)]


def test_a_lease_is_a_small_part_of_what_is_left_and_near_the_cap_there_is_none(ledger: Ledger, path: Path) -> None:
    assert lease(ledger, 1000, total(ENOUGH)).nano_usd == ENOUGH // SHARE
    assert lease(ledger, 4, total(4 * SHARE * NEED - 1, "small"), name="g/2") == Leased(1, 0, None, None)
    assert [each.exchange for each in open_reservations(path)] == ["g/1"]


def test_without_a_price_there_is_no_lease(ledger: Ledger) -> None:
    assert lease(ledger, 10, total(DOLLAR), model="nobody-knows-it") == Leased(1, 0, None, None)


def test_what_is_drawn_becomes_spent_once_however_often_it_is_said(ledger: Ledger, path: Path) -> None:
    lease(ledger, 10, total(DOLLAR))
    for _ in range(3):
        assert ask(ledger, Draw(2, "g/1", 4 * NEED, 1000)) == Drawn(2, is_open=True)
        assert account(path) == (1000, 6 * NEED)
    ask(ledger, Draw(2, "g/1", 5 * NEED, 1500))
    ask(ledger, Draw(2, "g/1", 4 * NEED, 1000))
    assert account(path) == (1500, 5 * NEED)


def test_what_is_returned_is_free_at_once_and_the_rest_waits_for_its_settlement(ledger: Ledger, path: Path) -> None:
    lease(ledger, 10, total(DOLLAR))
    ask(ledger, Draw(1, "g/1", NEED, 7))
    for _ in range(2):
        ask(ledger, Return("g/1", 3 * NEED))
        assert account(path) == (7, 2 * NEED)
    assert lease(ledger, 10, total(DOLLAR)).nano_usd == 0, "what was returned does not grow"
    assert ask(ledger, Draw(1, "g/1", 3 * NEED, 21)) == Drawn(1, is_open=False)
    assert account(path) == (21, 0)
    assert open_reservations(path) == []
    assert ask(ledger, Draw(1, "g/1", 3 * NEED, 21)) == Drawn(1, is_open=False)
    assert account(path) == (21, 0)


def test_a_lease_that_is_returned_twice_gives_back_what_was_not_dispatched_after_all(
    ledger: Ledger, path: Path
) -> None:
    lease(ledger, 10, total(DOLLAR))
    ask(ledger, Return("g/1", 3 * NEED))
    ask(ledger, Return("g/1", 2 * NEED))
    assert account(path) == (0, 2 * NEED)
    ask(ledger, Draw(1, "g/1", 2 * NEED, 5))
    assert account(path) == (5, 0)
    assert open_reservations(path) == []


@pytest.mark.parametrize(("end", "spent"), [(Release("g/1"), 5), (Settle(1, "g/1", None), 5 + 8 * NEED)])
def test_the_lease_of_a_gateway_that_died_is_given_back_or_spent_as_a_reservation_is(
    ledger: Ledger, path: Path, end: Any, spent: int
) -> None:
    lease(ledger, 10, total(DOLLAR))
    ask(ledger, Draw(1, "g/1", 2 * NEED, 5))
    ask(ledger, end)
    assert account(path) == (spent, 0)
    assert open_reservations(path) == []


def test_a_lease_that_was_settled_as_a_whole_does_not_begin_anew(ledger: Ledger, path: Path) -> None:
    """Its gateway lives and asks for more: what it has said and will say of it counts from the first beginning."""
    granted = lease(ledger, 10, total(DOLLAR)).nano_usd
    ask(ledger, Settle(1, "g/1", None))
    assert ask(ledger, Lease(1, "g/1", like(total(DOLLAR)), 10, granted)) == Leased(1, 0, None, None)
    assert account(path) == (granted, 0)


def test_what_costs_more_than_it_took_is_spent_and_counted_as_overrun(ledger: Ledger, path: Path) -> None:
    line = total(ENOUGH)
    lease(ledger, 10, line)
    ask(ledger, Draw(1, "g/1", NEED, ENOUGH + NEED))
    [row] = read_accounts(path, Hands().clock())
    assert row.spent_nano_usd == ENOUGH + NEED
    assert row.overrun_nano_usd == NEED + 9 * NEED
    assert isinstance(ask(ledger, request("next", line)), Refused)


def test_a_lease_holds_money_in_every_budget_of_its_requests(ledger: Ledger, path: Path) -> None:
    lease(ledger, 10, total(DOLLAR, "key"), total(DOLLAR, "team"))
    ask(ledger, Draw(1, "g/1", 4 * NEED, 11))
    rows = read_accounts(path, Hands().clock())
    assert [(row.budget, row.spent_nano_usd, row.reserved_nano_usd) for row in rows] == [
        ("key", 11, 6 * NEED),
        ("team", 11, 6 * NEED),
    ]
    assert ledger.leases_of("team", None) == ledger.leases_of("key", "") == {"g/1"}
    assert ledger.leases_of("other", None) == ledger.leases_of("team", "somebody's share") == set()


def test_a_lease_keeps_its_accounts_when_a_window_ends(ledger: Ledger, hands: Hands) -> None:
    def line() -> BudgetLine:
        start = hands.wall_ms - hands.wall_ms % 60_000
        return BudgetLine("minute", "", DOLLAR, True, start, start + 60_000)

    lease(ledger, 10, line())
    hands.advance(60)
    assert lease(ledger, 10, line()).nano_usd == 0
    assert lease(ledger, 10, line(), name="g/2").nano_usd == 10 * NEED


def test_what_is_drawn_in_a_rolling_window_is_never_forgotten_early(ledger: Ledger, hands: Hands, path: Path) -> None:
    """A lease may begin an hour before a request comes under it; that one counts from its own time at the earliest."""
    line = rolling(DOLLAR, 3_600_000)
    lease(ledger, 10, line)
    hands.advance(1800)
    ask(ledger, Draw(1, "g/1", NEED, 100))
    hands.advance(3000)
    assert isinstance(ask(ledger, request("look", line)), Granted)
    [(spent,)] = apsw.Connection(str(path)).execute("SELECT spent_nano_usd FROM accounts")
    assert spent == 100
    hands.advance(700)
    ask(ledger, request("look again", line))
    [(spent,)] = apsw.Connection(str(path)).execute("SELECT spent_nano_usd FROM accounts")
    assert spent == 0


def test_leases_and_what_was_drawn_survive_a_restart(ledger: Ledger, path: Path) -> None:
    lease(ledger, 10, total(DOLLAR))
    ask(ledger, Draw(1, "g/1", 4 * NEED, 1000))
    ledger.close()
    again = Ledger(path, price_book(), Hands().clock())
    try:
        ask(again, Draw(1, "g/1", 6 * NEED, 1700))
        assert account(path) == (1700, 4 * NEED)
    finally:
        again.close()


def test_the_dearest_price_of_the_next_moments_counts(path: Path) -> None:
    """The tariff that comes with a lease is used for a while, so a price that rises meanwhile is in it."""

    class Rising:
        def rates(self, model: str, **asked: Any) -> Any:
            rates = price_book().rates(model, **asked)
            late = asked["at"].timestamp() * 1000 > Hands().wall_ms
            assert rates is not None
            return rates if not late else price_book().rates(HIDING, **asked)

        def cost(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    ledger = Ledger(path, Rising(), Hands().clock())
    try:
        granted = lease(ledger, 10, total(1000 * DOLLAR), max_output_tokens=None)
        assert granted.tariff is not None
        assert granted.tariff.max_output_tokens == 128_000
    finally:
        ledger.close()
