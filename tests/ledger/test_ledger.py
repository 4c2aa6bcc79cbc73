from __future__ import annotations

import stat
import time
from pathlib import Path

import apsw
import pytest

from proxy.errors import LedgerUnavailable, StoreError
from proxy.ledger.client import TIMEOUT_S
from proxy.ledger.demand import MAX_AMOUNT
from proxy.ledger.ledger import Ledger
from proxy.ledger.limits import MAX_OPEN_S, Limiter
from proxy.ledger.reading import read_accounts, read_history
from proxy.reservations import (
    Balance,
    Balances,
    BudgetLine,
    Done,
    Extend,
    Finish,
    Granted,
    Open,
    Opened,
    RateRule,
    Refused,
    Release,
    Settle,
)
from tests.ledger.scenes import (
    DAY_MS,
    DOLLAR,
    HIDING,
    INPUT,
    NEED,
    NOON_MS,
    OUTPUT,
    Hands,
    ask,
    balance,
    daily,
    granted,
    open_reservations,
    overrun,
    price_book,
    refused,
    request,
    rolling,
    total,
)


def test_a_reservation_is_held_until_it_is_settled(ledger: Ledger) -> None:
    line = total(DOLLAR)
    answer = granted(ledger, request("a", line))
    assert (answer.ticket, answer.reserved_nano_usd, answer.output_tokens) == (7, NEED, None)
    assert answer.remaining_nano_usd == DOLLAR - NEED
    assert balance(ledger, line) == (0, NEED)
    assert ledger.handle([Settle(9, "a", 1_000_000)]) == [Done(9)]
    assert balance(ledger, line) == (1_000_000, 0)


def test_a_budget_admits_what_fits_exactly_and_no_more(ledger: Ledger) -> None:
    line = total(3 * NEED)
    answers = [ask(ledger, request(f"x{number}", line)) for number in range(5)]
    assert [type(answer) for answer in answers] == [Granted, Granted, Granted, Refused, Refused]
    answer = answers[-1]
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.name, answer.limit) == ("budget", "total", 3 * NEED)
    assert (answer.spent, answer.reserved, answer.needed) == (0, 3 * NEED, NEED)


def test_one_refusing_budget_leaves_the_others_untouched(ledger: Ledger) -> None:
    wide, narrow = total(DOLLAR, "wide"), total(NEED - 1, "narrow")
    assert refused(ledger, request("a", wide, narrow)).name == "narrow"
    assert balance(ledger, wide) == (0, 0)
    assert balance(ledger, narrow) == (0, 0)


def test_the_budget_with_the_least_room_is_the_one_named(ledger: Ledger) -> None:
    assert refused(ledger, request("a", total(500, "b"), total(100, "c"), total(900, "d"))).name == "c"


def test_the_same_budget_twice_in_one_request_counts_once(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line, line))
    assert balance(ledger, line) == (0, NEED)


def test_reserving_again_under_the_same_id_reserves_once(ledger: Ledger) -> None:
    line = total(DOLLAR)
    assert granted(ledger, request("a", line)) == granted(ledger, request("a", line))
    assert balance(ledger, line) == (0, NEED)


def test_settling_twice_spends_once(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line))
    assert ledger.handle([Settle(1, "a", 5), Settle(2, "a", 5), Settle(3, "never seen", 5)]) == [
        Done(1),
        Done(2),
        Done(3),
    ]
    assert balance(ledger, line) == (5, 0)


def test_an_unknown_cost_spends_the_whole_reservation(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line))
    ledger.handle([Settle(1, "a", None)])
    assert balance(ledger, line) == (NEED, 0)


def test_release_gives_everything_back(ledger: Ledger) -> None:
    line = total(NEED)
    granted(ledger, request("a", line))
    assert ledger.handle([Release("a"), Release("a"), Release("never seen")]) == [None, None, None]
    assert balance(ledger, line) == (0, 0)
    granted(ledger, request("b", line))


def test_a_bill_above_the_reservation_is_spent_and_what_passes_the_limit_is_counted(ledger: Ledger, path: Path) -> None:
    line = total(2 * NEED)
    granted(ledger, request("a", line))
    ledger.handle([Settle(1, "a", 3 * NEED)])
    assert balance(ledger, line) == (3 * NEED, 0)
    assert overrun(path, "total") == NEED
    assert refused(ledger, request("b", line)).spent == 3 * NEED


def test_a_second_overrun_counts_only_what_it_adds(ledger: Ledger, path: Path) -> None:
    line = total(2 * NEED)
    granted(ledger, request("a", line))
    granted(ledger, request("b", line))
    ledger.handle([Settle(1, "a", 3 * NEED)])
    assert overrun(path, "total") == 2 * NEED
    ledger.handle([Settle(1, "b", 2 * NEED)])
    assert overrun(path, "total") == 3 * NEED


def test_lowering_a_limit_after_an_overrun_forgives_nothing(ledger: Ledger, path: Path) -> None:
    line = total(3 * NEED)
    granted(ledger, request("a", line))
    granted(ledger, request("b", line))
    ledger.handle([Settle(1, "a", 3 * NEED)])
    assert overrun(path, "total") == NEED
    refused(ledger, request("c", total(NEED)))
    ledger.handle([Settle(1, "b", 2 * NEED)])
    assert overrun(path, "total") == 2 * NEED


def test_a_bill_above_the_reservation_within_the_limit_is_no_overrun(ledger: Ledger, path: Path) -> None:
    line = total(2 * NEED)
    granted(ledger, request("a", line))
    ledger.handle([Settle(1, "a", 2 * NEED)])
    assert overrun(path, "total") == 0


def test_a_soft_budget_counts_and_never_refuses(ledger: Ledger) -> None:
    soft = total(1, "soft", is_hard=False)
    assert granted(ledger, request("a", soft)).remaining_nano_usd is None
    granted(ledger, request("b", soft))
    assert balance(ledger, soft) == (0, 2 * NEED)


def test_a_lowered_limit_holds_for_new_requests_and_keeps_what_was_promised(ledger: Ledger, path: Path) -> None:
    granted(ledger, request("a", total(3 * NEED)))
    granted(ledger, request("b", total(3 * NEED)))
    lowered = total(NEED)
    answer = refused(ledger, request("c", lowered))
    assert (answer.limit, answer.reserved) == (NEED, 2 * NEED)
    ledger.handle([Settle(1, "a", NEED), Settle(2, "b", NEED)])
    assert balance(ledger, lowered) == (2 * NEED, 0)
    assert overrun(path, "total") == 0
    granted(ledger, request("d", total(3 * NEED)))


def test_a_budget_can_turn_from_soft_to_hard_and_back(ledger: Ledger) -> None:
    granted(ledger, request("a", total(1, is_hard=False)))
    refused(ledger, request("b", total(1)))
    granted(ledger, request("c", total(1, is_hard=False)))


# Windows


def test_a_late_settlement_is_charged_to_the_window_of_admission(ledger: Ledger, path: Path, hands: Hands) -> None:
    today = daily(DOLLAR, hands.wall_ms)
    granted(ledger, request("a", today))
    hands.advance(DAY_MS / 1000)
    tomorrow = daily(DOLLAR, hands.wall_ms)
    granted(ledger, request("b", tomorrow))
    ledger.handle([Settle(1, "a", 77)])
    assert balance(ledger, tomorrow) == (0, NEED)
    assert [row.spent_nano_usd for row in read_history(path, "daily")] == [77, 0]


def test_a_clock_that_goes_back_never_reopens_spent_money(ledger: Ledger, hands: Hands) -> None:
    yesterday = daily(NEED, hands.wall_ms - DAY_MS)
    today = daily(NEED, hands.wall_ms)
    granted(ledger, request("a", today))
    answer = refused(ledger, request("b", yesterday))
    assert (answer.reserved, answer.resets_at_ms) == (NEED, today.window_end_ms)
    assert balance(ledger, yesterday) == (0, NEED)


def test_a_budget_that_changes_from_daily_to_monthly_opens_the_month(ledger: Ledger, hands: Hands) -> None:
    granted(ledger, request("a", daily(NEED, hands.wall_ms, "b")))
    month = BudgetLine("b", "", 2 * NEED, True, hands.wall_ms - 10 * DAY_MS, hands.wall_ms + 20 * DAY_MS)
    granted(ledger, request("b", month))
    assert balance(ledger, month) == (0, NEED)


def test_a_rolling_window_forgets_no_sooner_than_its_length_and_little_later(ledger: Ledger, hands: Hands) -> None:
    hour = rolling(NEED, 3_600_000)
    hands.advance(30)
    granted(ledger, request("a", hour))
    ledger.handle([Settle(1, "a", NEED)])
    hands.advance(3599)
    answer = refused(ledger, request("b", hour))
    assert answer.resets_at_ms is not None
    assert NOON_MS + 3_630_000 <= answer.resets_at_ms <= NOON_MS + 3_690_000
    hands.wall_ms = answer.resets_at_ms - 1
    refused(ledger, request("b", hour))
    hands.wall_ms = answer.resets_at_ms
    granted(ledger, request("b", hour))
    assert balance(ledger, hour) == (0, NEED)


def test_a_rolling_budget_counts_from_admission_however_late_it_is_settled(ledger: Ledger, hands: Hands) -> None:
    minute = rolling(2 * NEED, 60_000)
    granted(ledger, request("a", minute))
    hands.advance(62)
    ledger.handle([Settle(1, "a", NEED)])
    assert balance(ledger, minute) == (0, 0)


def test_an_overrun_leaves_a_rolling_window_with_the_spending_it_was_part_of(
    ledger: Ledger, hands: Hands, path: Path
) -> None:
    hour = rolling(2 * NEED, 3_600_000)
    granted(ledger, request("a", hour))
    hands.advance(1800)
    granted(ledger, request("b", hour))
    ledger.handle([Settle(1, "a", 3 * NEED), Settle(2, "b", 4 * NEED)])
    assert overrun(path, hour.budget) == 5 * NEED
    hands.advance(1860)
    [answer] = ledger.handle([Balance(1, (hour,))])
    assert isinstance(answer, Balances)
    [shown] = answer.accounts
    assert (shown.spent_nano_usd, shown.overrun_nano_usd) == (4 * NEED, 2 * NEED)
    refused(ledger, request("c", hour))
    assert overrun(path, hour.budget) == 2 * NEED, "what is kept is what was shown"
    hands.advance(3600)
    granted(ledger, request("c", hour))
    assert overrun(path, hour.budget) == 0


def test_a_total_budget_that_becomes_rolling_forgets_its_past_in_one_go(ledger: Ledger, hands: Hands) -> None:
    granted(ledger, request("a", total(NEED, "b")))
    ledger.handle([Settle(1, "a", NEED)])
    hour = rolling(NEED, 3_600_000, "b")
    refused(ledger, request("b", hour))
    hands.advance(3661)
    granted(ledger, request("c", hour))


# Streams


def test_a_stream_reserves_a_slice_and_grows_on_demand(ledger: Ledger) -> None:
    line = total(DOLLAR)
    first = granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    assert (first.output_tokens, first.reserved_nano_usd) == (1024, 1000 * INPUT + 1024 * OUTPUT)
    asked = 1025
    covered: list[int | None] = []
    while True:
        (answer,) = ledger.handle([Extend(1, "a", asked)])
        assert isinstance(answer, Granted)
        covered.append(answer.output_tokens)
        if answer.output_tokens is None:
            break
        asked = answer.output_tokens + 1
    assert covered == [2048, 4096, 8192, None]
    assert balance(ledger, line) == (0, 1000 * INPUT + 10_000 * OUTPUT)


def test_extending_to_what_is_covered_costs_nothing(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    before = balance(ledger, line)
    (answer,) = ledger.handle([Extend(1, "a", 1024)])
    assert isinstance(answer, Granted)
    assert answer.output_tokens == 1024
    assert balance(ledger, line) == before


def test_an_extension_takes_what_fits_and_is_refused_when_not_even_that_does(ledger: Ledger) -> None:
    line = total(1000 * INPUT + 1500 * OUTPUT + 1999)
    granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    (answer,) = ledger.handle([Extend(1, "a", 1100)])
    assert isinstance(answer, Granted)
    assert answer.output_tokens == 1500
    (answer,) = ledger.handle([Extend(1, "a", 1501)])
    assert isinstance(answer, Refused)
    assert (answer.name, answer.needed) == ("total", OUTPUT)
    assert balance(ledger, line) == (0, 1000 * INPUT + 1500 * OUTPUT)


def test_a_stream_that_hides_reasoning_reserves_all_at_once(ledger: Ledger) -> None:
    answer = granted(ledger, request("a", total(DOLLAR), model=HIDING, max_output_tokens=9000, is_sliced=True))
    assert (answer.output_tokens, answer.reserved_nano_usd) == (None, 1000 * INPUT + 9000 * OUTPUT)


def test_extending_what_is_not_open_is_refused(ledger: Ledger) -> None:
    assert ledger.handle([Extend(1, "nobody", 5)]) == [Refused(1, "budget", "")]


def test_a_stream_survives_a_restart_of_the_ledger(path: Path, hands: Hands) -> None:
    line = total(DOLLAR)
    first = Ledger(path, price_book(), hands.clock())
    granted(first, request("a", line, max_output_tokens=10_000, is_sliced=True))
    first.close()
    second = Ledger(path, price_book(), hands.clock())
    (answer,) = second.handle([Extend(1, "a", 2000)])
    assert isinstance(answer, Granted)
    assert answer.reserved_nano_usd == 1000 * INPUT + 2048 * OUTPUT
    second.close()


# What a request needs


@pytest.mark.parametrize(
    ("endpoint", "choices", "max_output_tokens", "expected"),
    [
        ("chat", 1, 10, 1000 * INPUT + 10 * OUTPUT),
        ("chat", 3, 10, 1000 * INPUT + 30 * OUTPUT),
        ("chat", 1, None, 1000 * INPUT + 16_384 * OUTPUT),
        ("chat", -5, 10, 1000 * INPUT + 10 * OUTPUT),
        ("chat", 1, -1, 1000 * INPUT + 16_384 * OUTPUT),
        ("chat", 1, 0, 1000 * INPUT + 16_384 * OUTPUT),
        ("embeddings", 1, None, 1000 * INPUT),
        ("other", 1, None, 1000 * INPUT),
        ("something new", 1, None, 1000 * INPUT + 16_384 * OUTPUT),
    ],
)
def test_a_request_reserves_its_upper_bound(
    ledger: Ledger, endpoint: str, choices: int, max_output_tokens: int | None, expected: int
) -> None:
    message = request("a", total(DOLLAR), endpoint=endpoint, choices=choices, max_output_tokens=max_output_tokens)
    assert granted(ledger, message).reserved_nano_usd == expected


@pytest.mark.parametrize("huge", [2**63, 2**64 - 1, int(1e308)])
def test_hostile_numbers_are_refused_and_never_raise(ledger: Ledger, huge: int) -> None:
    line = total(MAX_AMOUNT)
    for message in (
        request("a", line, max_output_tokens=huge),
        request("b", line, input_bytes=huge),
        request("c", line, choices=huge),
        request("d", line, choices=huge, max_output_tokens=huge, input_bytes=huge),
        request("e", line, max_output_tokens=huge, choices=huge, model=HIDING, is_sliced=True),
    ):
        answer = refused(ledger, message)
        assert (answer.name, answer.spent, answer.reserved) == ("total", 0, 0)
    assert ledger.failed_messages == 0


def test_hostile_numbers_under_a_soft_budget_are_capped_and_settle_exactly(ledger: Ledger) -> None:
    soft = total(1, is_hard=False)
    assert granted(ledger, request("a", soft, choices=2**63)).reserved_nano_usd == MAX_AMOUNT
    ledger.handle([Settle(1, "a", 2**63)])
    assert balance(ledger, soft) == (MAX_AMOUNT, 0)


def test_an_account_never_leaves_the_integers_of_sqlite(ledger: Ledger) -> None:
    soft = total(1, is_hard=False)
    for number in range(1000):
        if isinstance(ask(ledger, request(f"x{number}", soft, choices=2**63)), Granted):
            ledger.handle([Settle(1, f"x{number}", 2**63)])
    spent, reserved = balance(ledger, soft)
    assert (spent, reserved) == (9 * 10**18, 0)
    assert ledger.failed_messages == 0


def test_an_unknown_price_reserves_nothing_but_is_kept(ledger: Ledger) -> None:
    line = total(DOLLAR)
    for exchange, model in (("a", "nobody-knows-this-model"), ("b", None)):
        assert granted(ledger, request(exchange, line, model=model)).reserved_nano_usd == 0
    (opened,) = ledger.handle([Open(1)])
    assert isinstance(opened, Opened)
    assert [entry.exchange for entry in opened.reservations] == ["a", "b"]
    ledger.handle([Settle(1, "a", 123)])
    assert balance(ledger, line) == (123, 0)


def test_an_unknown_price_is_refused_on_demand(ledger: Ledger) -> None:
    answer = refused(ledger, request("a", total(DOLLAR), model="nobody-knows-this-model", deny_unpriced=True))
    assert (answer.reason, answer.name) == ("unpriced", "nobody-knows-this-model")
    assert refused(ledger, request("b", model=None, deny_unpriced=True)).reason == "unpriced"
    granted(ledger, request("c", total(DOLLAR), model=None, deny_unpriced=True, is_free=True))


def test_a_used_up_budget_admits_free_requests_only(ledger: Ledger) -> None:
    line = total(NEED)
    granted(ledger, request("a", line))
    refused(ledger, request("b", line, model="nobody-knows-this-model"))
    assert granted(ledger, request("c", line, is_free=True)).reserved_nano_usd == 0


# Rates


def test_requests_per_minute_slide(ledger: Ledger, hands: Hands) -> None:
    rates = (RateRule("key", requests_per_minute=3),)
    for number in range(3):
        granted(ledger, request(f"x{number}", rates=rates))
        hands.advance(10)
    answer = refused(ledger, request("y", rates=rates))
    assert (answer.reason, answer.name, answer.limit, answer.spent) == ("requests", "key", 3, 3)
    assert answer.retry_after_ms is not None
    hands.advance(answer.retry_after_ms / 1000 - 0.001)
    refused(ledger, request("y", rates=rates))
    hands.advance(0.002)
    granted(ledger, request("y", rates=rates))


def test_no_sixty_seconds_ever_hold_more_than_the_limit(ledger: Ledger, hands: Hands) -> None:
    rates = (RateRule("key", requests_per_minute=5),)
    admitted: list[float] = []
    for number in range(2000):
        hands.advance(0.37)
        if isinstance(ask(ledger, request(f"x{number}", rates=rates)), Granted):
            admitted.append(hands.monotonic)
    assert len(admitted) >= 5 * 740 / 61 - 5
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[5:], strict=False))


def test_tokens_are_guessed_at_admission_and_corrected_by_the_settlement(ledger: Ledger) -> None:
    rates = (RateRule("key", tokens_per_minute=1000),)
    granted(ledger, request("a", rates=rates, input_bytes=2000))
    answer = refused(ledger, request("b", rates=rates, input_bytes=2004))
    assert (answer.reason, answer.spent, answer.needed) == ("tokens", 500, 501)
    ledger.handle([Settle(1, "a", None, 100, 50)])
    granted(ledger, request("b", rates=rates, input_bytes=2004))
    ledger.handle([Settle(1, "b", None, 501, 9999)])
    assert refused(ledger, request("c", rates=rates, input_bytes=1)).spent == 150 + 501 + 9999


def test_a_request_larger_than_the_token_limit_is_told_that_it_never_fits(ledger: Ledger) -> None:
    rates = (RateRule("key", tokens_per_minute=10),)
    assert refused(ledger, request("a", rates=rates, input_bytes=100)).retry_after_ms is None


def test_a_concurrency_slot_is_freed_by_finish_release_and_disconnect(ledger: Ledger) -> None:
    rates = (RateRule("key", concurrent=1),)
    granted(ledger, request("a", rates=rates))
    assert refused(ledger, request("b", rates=rates)).reason == "concurrent"
    ledger.handle([Finish("a")])
    granted(ledger, request("b", rates=rates))
    ledger.handle([Release("b")])
    granted(ledger, request("c", rates=rates))
    ledger.disconnect(["c"])
    granted(ledger, request("d", rates=rates))


def test_finish_keeps_the_money_reserved(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line))
    ledger.handle([Finish("a")])
    assert balance(ledger, line) == (0, NEED)


def test_a_request_refused_for_its_budget_does_not_count_against_the_rate(ledger: Ledger) -> None:
    rates = (RateRule("key", requests_per_minute=1),)
    assert refused(ledger, request("a", total(1), rates=rates)).reason == "budget"
    granted(ledger, request("b", rates=rates))


def test_a_request_refused_for_its_rate_reserves_nothing(ledger: Ledger) -> None:
    line, rates = total(DOLLAR), (RateRule("key", requests_per_minute=1),)
    granted(ledger, request("a", line, rates=rates))
    assert refused(ledger, request("b", line, rates=rates)).reason == "requests"
    assert balance(ledger, line) == (0, NEED)


def test_charges_that_nobody_corrects_are_forgotten_in_the_end(hands: Hands) -> None:
    limiter, rates = Limiter(), (RateRule("key", tokens_per_minute=10**9),)
    for number in range(20_000):
        hands.advance(1)
        limiter.charge(f"x{number}", rates, 100, hands.monotonic)
        if number != 5:  # one stream that never ends
            limiter.finish(f"x{number}")
    assert limiter.knows("x5")
    assert len(limiter._charges) <= MAX_OPEN_S + 2


# Batches, files, readers


def test_a_message_that_fails_leaves_the_others_of_its_batch_alone(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = total(DOLLAR)
    unbindable = request("b", total(DOLLAR, "fresh"), total(DOLLAR, "\ud800"))
    first, failed, last = ledger.handle([request("a", line), unbindable, request("c", line)])
    assert isinstance(first, Granted)
    assert failed is None
    assert isinstance(last, Granted)
    assert balance(ledger, line) == (0, 2 * NEED)
    assert [row.budget for row in read_accounts(path)] == ["total"]
    assert ledger.failed_messages == 1
    assert "Reserve could not be carried out" in caplog.text


def test_a_batch_that_cannot_be_committed_has_not_happened(ledger: Ledger, path: Path) -> None:
    line, rates = total(DOLLAR), (RateRule("key", concurrent=1, requests_per_minute=2),)
    granted(ledger, request("a", line))
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    ledger._connection.set_busy_timeout(0)
    with pytest.raises(LedgerUnavailable):
        ledger.handle([request("b", line, rates=rates)])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert balance(ledger, line) == (0, NEED)
    granted(ledger, request("c", line, rates=rates))


def test_a_database_that_another_program_locks_is_said_to_be_away_before_gateways_give_up(
    ledger: Ledger, path: Path
) -> None:
    line, other = total(DOLLAR), apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        ledger.handle([request("a", line)])
    assert time.monotonic() - started < TIMEOUT_S
    other.execute("ROLLBACK")
    assert isinstance(ledger.handle([request("a", line)])[0], Granted)
    other.close()


def test_only_one_ledger_writes_to_a_database(ledger: Ledger, path: Path, hands: Hands) -> None:
    assert ledger.failed_messages == 0
    with pytest.raises(StoreError, match="another ledger"):
        Ledger(path, price_book(), hands.clock())


def test_a_file_that_is_no_database_is_a_clear_error(path: Path) -> None:
    path.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(StoreError, match=r"ledger\.db"):
        Ledger(path, price_book())


def test_a_database_of_a_newer_program_is_refused_and_left_alone(path: Path) -> None:
    Ledger(path, price_book()).close()
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
    connection.close()
    with pytest.raises(StoreError, match="9999"):
        Ledger(path, price_book())


def test_the_database_is_for_its_owner_only_and_synchronous(ledger: Ledger, path: Path) -> None:
    granted(ledger, request("a", total(DOLLAR)))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert ledger._connection.execute("PRAGMA synchronous").get == 2
    assert ledger._connection.execute("PRAGMA journal_mode").get == "wal"


def test_readers_see_current_windows_and_open_reservations(ledger: Ledger, path: Path, hands: Hands) -> None:
    assert read_accounts(path.parent / "absent.db") == []
    hour = rolling(DOLLAR, 3_600_000)
    lines = (daily(DOLLAR, hands.wall_ms, scope="ann"), total(DOLLAR), hour)
    granted(ledger, request("a", *lines))
    granted(ledger, request("b", *lines))
    ledger.handle([Settle(1, "a", 10)])
    rows = read_accounts(path, hands.clock())
    assert [(row.budget, row.scope, row.spent_nano_usd, row.reserved_nano_usd) for row in rows] == [
        ("daily", "ann", 10, NEED),
        ("rolling", "", 10, NEED),
        ("total", "", 10, NEED),
    ]
    assert [row.resets_at_ms for row in rows] == [lines[0].window_end_ms, None, None]
    assert [(entry.exchange, entry.reserved_nano_usd) for entry in open_reservations(path)] == [("b", NEED)]
    hands.advance(2 * DAY_MS / 1000)
    rows = read_accounts(path, hands.clock())
    assert [(row.budget, row.spent_nano_usd) for row in rows] == [("rolling", 0), ("total", 10)]


def test_open_lists_the_reservations_of_one_owner(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line, owner="one"))
    granted(ledger, request("b", line, owner="two"))
    (opened,) = ledger.handle([Open(3, "two")])
    assert isinstance(opened, Opened)
    assert [(entry.exchange, entry.owner, entry.created_ms) for entry in opened.reservations] == [("b", "two", NOON_MS)]


# The database's own guard


@pytest.mark.parametrize(
    "change",
    [
        "reserved_nano_usd = limit_nano_usd + 1",
        "spent_nano_usd = limit_nano_usd, reserved_nano_usd = 1",
        "spent_nano_usd = -1",
        "reserved_nano_usd = -1",
        "overrun_nano_usd = -1",
        "granted_nano_usd = granted_nano_usd + 1",
        "granted_nano_usd = NULL",
        "is_hard = 0",
        "limit_nano_usd = limit_nano_usd + 1",
        "limit_nano_usd = -1",
    ],
)
def test_the_database_itself_refuses_what_would_pass_a_cap(ledger: Ledger, path: Path, change: str) -> None:
    granted(ledger, request("a", total(DOLLAR)))
    connection = apsw.Connection(str(path))
    try:
        with pytest.raises(apsw.ConstraintError):
            connection.execute(f"UPDATE accounts SET {change}")  # noqa: S608 - a test's own
    finally:
        connection.close()


def test_what_a_lowered_limit_had_to_tolerate_is_tolerated_no_longer_than_it_lasts(ledger: Ledger, path: Path) -> None:
    granted(ledger, request("a", total(10 * NEED)))
    granted(ledger, request("b", total(10 * NEED)))
    assert refused(ledger, request("c", total(NEED))).reason == "budget"
    assert _granted(path) == 2 * NEED
    ledger.handle([Release("a")])
    assert _granted(path) == NEED
    ledger.handle([Settle(1, "b", NEED // 2)])
    assert _granted(path) == NEED, "never below the limit"
    ledger.handle([Settle(1, "d", 0)])
    assert overrun(path, "total") == 0


def test_a_rolling_window_that_empties_takes_its_tolerance_along(ledger: Ledger, hands: Hands, path: Path) -> None:
    line = rolling(10 * NEED, 3_600_000)
    for exchange in "abc":
        granted(ledger, request(exchange, line))
        ledger.handle([Settle(1, exchange, NEED)])
    lowered = rolling(NEED, 3_600_000)
    refused(ledger, request("d", lowered))
    assert _granted(path) == 3 * NEED
    hands.advance(2 * 3600)
    granted(ledger, request("e", lowered))
    assert _granted(path) == NEED


def _granted(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute("SELECT granted_nano_usd FROM accounts").get)
    finally:
        connection.close()
