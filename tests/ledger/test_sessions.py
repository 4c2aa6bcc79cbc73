from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.ledger.ledger import Ledger
from proxy.reservations import BudgetLine, Cover, Granted, Open, Opened, Refused, Release, Settle
from tests.ledger.scenes import (
    DOLLAR,
    HIDING,
    INPUT,
    OUTPUT,
    VISIBLE,
    Hands,
    balance,
    daily,
    granted,
    price_book,
    request,
    rolling,
    total,
)

LARGE = 1000 * DOLLAR
NEED = 100 * INPUT + 10 * OUTPUT


def cover(*lines: BudgetLine, models: tuple[str | None, ...] = (VISIBLE,), **more: Any) -> Cover:
    """Return what a session asks for. As it stands it needs NEED."""
    fields: dict[str, Any] = {"input_tokens": 100, "output_tokens": 10, "unseen_tokens": 0, "unlimited": 0}
    return Cover(
        ticket=7,
        exchange=more.pop("exchange", "s"),
        owner="gateway",
        provider="openai",
        is_free=more.pop("is_free", False),
        models=tuple((model, None) for model in models),
        tool_calls=0,
        lines=lines,
        **fields | more,
    )


def ask(ledger: Ledger, message: Cover) -> Granted | Refused:
    """Let a session ask; it begins when it is not open yet."""
    _, answer = ledger.handle([request(message.exchange, is_session=True), message])
    assert isinstance(answer, Granted | Refused)
    return answer


@pytest.mark.parametrize("end", [Settle(1, "s", 12_345), Settle(1, "s", None), Release("s")], ids=str)
def test_what_is_settled_or_given_back_is_never_reserved_again(ledger: Ledger, end: Settle | Release) -> None:
    line = total(LARGE)
    ask(ledger, cover(line))
    ledger.handle([end])
    before = balance(ledger, line)
    late, opened = ledger.handle([cover(line, input_tokens=900), Open(0)])
    assert isinstance(late, Refused)
    assert opened == Opened(0, ())
    assert balance(ledger, line) == before
    ledger.handle([Settle(2, "s", 12_345)])
    assert balance(ledger, line) == before, "nothing is spent twice"


def test_a_session_that_never_began_is_covered_by_nothing(ledger: Ledger) -> None:
    (answer,) = ledger.handle([cover(total(LARGE))])
    assert isinstance(answer, Refused)
    assert balance(ledger, total(LARGE)) == (0, 0)


def test_a_session_to_which_no_budget_applies_yet_is_open_all_the_same(ledger: Ledger) -> None:
    begun, opened = ledger.handle([request("s", is_session=True), Open(0)])
    assert begun == Granted(7, 0, None, None)
    assert isinstance(opened, Opened)
    assert [(each.exchange, each.reserved_nano_usd) for each in opened.reservations] == [("s", 0)]


def test_a_session_reserves_what_it_needs_and_more_when_it_needs_more(ledger: Ledger) -> None:
    line = total(LARGE)
    assert isinstance(ask(ledger, cover(line)), Granted)
    assert balance(ledger, line) == (0, NEED)
    ask(ledger, cover(line, input_tokens=300))
    assert balance(ledger, line) == (0, NEED + 200 * INPUT)
    ask(ledger, cover(line))
    assert balance(ledger, line) == (0, NEED + 200 * INPUT), "what is held stays held"


def test_what_is_known_is_priced_as_it_was(ledger: Ledger) -> None:
    line = total(LARGE)
    known = ((VISIBLE, None, (("input_uncached", 1000), ("cache_read", 500), ("output_text", 40))),)
    ask(ledger, cover(line, known=known))
    # The test's prices name none for the cache, so it costs what any input does.
    assert balance(ledger, line) == (0, NEED + 1500 * INPUT + 40 * OUTPUT)


def test_the_reservation_before_the_upgrade_grows_into_that_of_the_session(ledger: Ledger) -> None:
    line = total(LARGE)
    granted(ledger, request("s", line, input_bytes=20, max_output_tokens=5))
    assert balance(ledger, line) == (0, 20 * INPUT + 5 * OUTPUT)
    ask(ledger, cover(line))
    assert balance(ledger, line) == (0, NEED)


def test_a_session_that_does_not_fit_is_refused_and_nothing_changes(ledger: Ledger) -> None:
    line = total(NEED)
    assert isinstance(ask(ledger, cover(line)), Granted)
    answer = ask(ledger, cover(line, output_tokens=11))
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.name, answer.needed) == ("budget", "total", NEED + OUTPUT)
    assert balance(ledger, line) == (0, NEED)


def test_settling_gives_back_what_was_not_spent_in_every_account(ledger: Ledger, hands: Hands) -> None:
    lines = (total(LARGE), daily(LARGE, hands.wall_ms), rolling(LARGE, 3_600_000))
    ask(ledger, cover(lines[0]))
    ask(ledger, cover(*lines, input_tokens=500))
    assert [balance(ledger, line) for line in lines] == [(0, NEED + 400 * INPUT)] * 3
    ledger.handle([Settle(1, "s", 12_345)])
    assert [balance(ledger, line) for line in lines] == [(12_345, 0)] * 3


def test_a_session_whose_cost_is_unknown_spends_all_that_was_held(ledger: Ledger) -> None:
    line = total(LARGE)
    ask(ledger, cover(line))
    ledger.handle([Settle(1, "s", None)])
    assert balance(ledger, line) == (NEED, 0)


def test_a_model_that_hides_its_reasoning_is_held_to_the_end_of_every_response(ledger: Ledger) -> None:
    line = total(LARGE)
    answer = ask(ledger, cover(line, models=(HIDING,), unseen_tokens=7, unlimited=2))
    assert isinstance(answer, Granted)
    assert answer.output_tokens is None
    assert balance(ledger, line) == (0, NEED + (7 + 2 * 128_000) * OUTPUT)


def test_what_is_under_way_is_held_to_its_end_or_refused(ledger: Ledger) -> None:
    line = total(NEED + 999 * OUTPUT)
    refusal = ask(ledger, cover(line, unseen_tokens=1000))
    assert isinstance(refusal, Refused)
    assert refusal.needed == NEED + 1000 * OUTPUT
    assert balance(ledger, line) == (0, 0)
    answer = ask(ledger, cover(line, unseen_tokens=999))
    assert isinstance(answer, Granted)
    assert answer.output_tokens is None
    assert balance(ledger, line) == (0, NEED + 999 * OUTPUT)


def test_in_slices_only_what_can_be_seen_is_held_and_near_the_cap_all_if_it_fits(ledger: Ledger) -> None:
    far, near, tight = total(LARGE, "far"), total(NEED + 2000 * OUTPUT, "near"), total(NEED + 10 * OUTPUT, "tight")
    for exchange, line, covered in (("a", far, 10), ("b", near, None), ("c", tight, 10)):
        answer = ask(ledger, cover(line, exchange=exchange, unseen_tokens=1000, is_sliced=True))
        assert isinstance(answer, Granted)
        assert answer.output_tokens == covered
    assert [balance(ledger, line)[1] for line in (far, near, tight)] == [NEED, NEED + 1000 * OUTPUT, NEED]


def test_in_slices_a_response_that_says_its_limit_may_be_held_to_it_all_the_same(ledger: Ledger) -> None:
    far, tight = total(LARGE, "far"), total(NEED + 999 * OUTPUT, "tight")
    shape: dict[str, Any] = {"unseen_tokens": 1000, "is_sliced": True, "holds_limited": True}
    answer = ask(ledger, cover(far, **shape))
    assert isinstance(answer, Granted)
    assert answer.output_tokens is None
    assert balance(ledger, far) == (0, NEED + 1000 * OUTPUT)
    assert isinstance(ask(ledger, cover(tight, exchange="t", **shape)), Refused)
    mixed = ask(ledger, cover(far, exchange="m", unlimited=1, **shape))
    assert isinstance(mixed, Granted)
    assert mixed.output_tokens == 10
    assert balance(ledger, far) == (0, 2 * (NEED + 1000 * OUTPUT))


def test_of_several_models_the_dearest_counts(ledger: Ledger) -> None:
    line = total(LARGE)
    answer = ask(ledger, cover(line, models=(VISIBLE, HIDING), unlimited=1))
    assert isinstance(answer, Granted)
    assert balance(ledger, line) == (0, NEED + 128_000 * OUTPUT)


def test_a_model_without_a_price_passes_unless_that_is_denied(ledger: Ledger) -> None:
    line = total(LARGE)
    assert isinstance(ask(ledger, cover(line, models=("nobody-knows",))), Granted)
    denied = ask(ledger, cover(line, models=(VISIBLE, "nobody-knows"), deny_unpriced=True))
    assert isinstance(denied, Refused)
    assert (denied.reason, denied.name) == ("unpriced", "nobody-knows")
    assert isinstance(ask(ledger, cover(line, models=("nobody-knows",), deny_unpriced=True, is_free=True)), Granted)


def test_a_model_without_a_price_does_not_pass_a_budget_that_is_used_up(ledger: Ledger) -> None:
    assert isinstance(ask(ledger, cover(total(0), models=("nobody-knows",))), Refused)


def test_a_soft_budget_only_counts(ledger: Ledger) -> None:
    line = total(0, is_hard=False)
    assert isinstance(ask(ledger, cover(line)), Granted)
    assert balance(ledger, line) == (0, NEED)


steps = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.integers(0, 400), st.integers(0, 100), st.integers(0, 300), st.booleans()
)


@settings(max_examples=60)
@given(st.lists(steps, max_size=25), st.integers(0, 1_000_000))
def test_no_order_of_sessions_passes_a_cap(asked: list[tuple[str, int, int, int, bool]], limit: int) -> None:
    line = total(limit)
    with TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger.db", price_book(), Hands().clock())
        try:
            for exchange, input_tokens, output_tokens, unseen, ends in asked:
                message = cover(
                    line,
                    exchange=exchange,
                    input_tokens=input_tokens,
                    output_tokens=output_tokens,
                    unseen_tokens=unseen,
                )
                before = balance(ledger, line)
                answer = ask(ledger, message)
                if isinstance(answer, Refused):
                    assert balance(ledger, line) == before
                else:
                    assert answer.reserved_nano_usd >= input_tokens * INPUT + output_tokens * OUTPUT
                if ends:
                    ledger.handle([Settle(1, exchange, input_tokens)])
                assert sum(balance(ledger, line)) <= limit
        finally:
            ledger.close()
