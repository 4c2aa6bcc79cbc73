from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gates.refusal import explain, moment, read_refusal, usd
from proxy.reservations import Refused

NOON = 1_795_262_400_000


def test_a_budget_refusal_says_which_how_much_and_until_when() -> None:
    refused = Refused(1, "budget", "search/day", 25 * 10**9, 24_100_000_000, 500_000_000, 1_200_000_000, NOON)
    assert explain(refused, "search") == (
        "Budget search/day (key search) has $24.10 spent and $0.50 reserved of $25.00; this request may need $1.20,"
        " $0.40 would still fit; more fits at 2026-11-21T12:00:00Z."
    )


def test_a_total_budget_does_not_reset() -> None:
    refused = Refused(1, "budget", "everything", 5_000_000_000_000, 5_000_000_000_000, 0, 1)
    assert explain(refused, None) == (
        "Budget everything (callers without a key) has $5,000.00 spent of $5,000.00; this request may need"
        " $0.000000001, $0.00 would still fit; it does not reset."
    )


def test_a_rate_refusal_says_when_to_try_again() -> None:
    refused = Refused(1, "requests", "search", 600, 600, 0, 1, retry_after_ms=2001)
    assert explain(refused, "search") == (
        "Limit search (key search) is 600 requests per minute, 600 are used; this request needs 1,"
        " 0 would still fit; try again in 3 s."
    )
    never = Refused(1, "tokens", "search", 10, 0, 0, 25)
    assert explain(never, "search").endswith("this request is larger than the limit and never fits.")


def test_an_unpriced_model_is_named() -> None:
    assert "price of model x-1 is not known" in explain(Refused(1, "unpriced", "x-1"), "search")
    assert "(unknown)" in explain(Refused(1, "unpriced", ""), "search")


def test_a_reservation_that_is_gone_is_said_to_be() -> None:
    assert "no longer open" in explain(Refused(1, "budget", ""), "search")


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_200_000, "$0.0012"),
        (10_000_000, "$0.01"),
        (15_000_000, "$0.015"),
        (999_999_999, "$0.999999999"),
        (1_000_000_001, "$1.01"),
        (9 * 10**15, "$9,000,000.00"),
        (-5, "$-0.000000005"),
    ],
)
def test_amounts_are_readable(nano: int, text: str) -> None:
    assert usd(nano) == text


@given(
    reason=st.sampled_from(["budget", "requests", "tokens", "concurrent", "unpriced"]),
    name=st.text(max_size=20),
    numbers=st.lists(st.integers(0, 9 * 10**18), min_size=4, max_size=4),
    moments=st.tuples(st.none() | st.integers(0, 2**42), st.none() | st.integers(0, 2**42)),
)
def test_every_refusal_is_one_sentence(
    reason: str, name: str, numbers: list[int], moments: tuple[int | None, int | None]
) -> None:
    limit, spent, reserved, needed = numbers
    refused = Refused(1, reason, name, limit, spent, reserved, needed, *moments)  # type: ignore[arg-type]  # a literal
    text = explain(refused, "k")
    assert text.endswith(".")
    assert len(text) < 400


@given(
    st.sampled_from(["all", "app/day:gpt-5*,*-pro", "team a/rolling-24h#2"]),
    st.sampled_from([None, "app", "search-team"]),
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.integers(1, 10**13),
    st.none() | st.integers(10**12, 2 * 10**12),
)
def test_what_a_budget_s_refusal_says_can_be_read_again(
    name: str, key: str | None, limit: int, spent: int, reserved: int, needed: int, resets_at_ms: int | None
) -> None:
    refused = Refused(1, "budget", name, limit, spent, reserved, needed, resets_at_ms)
    told = read_refusal(explain(refused, key))
    assert told is not None
    assert (told.budget, told.fits_at) == (name, None if resets_at_ms is None else moment(resets_at_ms))
    assert needed <= told.needed_nano_usd < needed + 10_000_000, "cents at most, upwards"
    room = max(0, limit - spent - reserved)
    assert room - 10_000_000 < told.room_nano_usd <= room


def test_a_refusal_by_a_limit_is_none_of_a_budget() -> None:
    assert read_refusal(explain(Refused(1, "requests", "app", 5, 5, 0, 1, None, 1000), "app")) is None
    assert read_refusal("Budget") is None
