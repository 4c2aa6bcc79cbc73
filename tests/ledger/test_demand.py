"""What a request must reserve: everything it can cost, or a slice where the budget has room for many like it."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import Override, PriceBook, Usage
from proxy.ledger.demand import FIRST_SLICE, NEAR, Demand, demand, is_near, plain_cost
from proxy.ledger.leases import tariff_of
from proxy.ledger.ledger import Ledger
from proxy.reservations import Extend, Granted, RateRule
from tests.ledger.scenes import (
    DOLLAR,
    HIDING,
    INPUT,
    NOON_MS,
    OUTPUT,
    VISIBLE,
    Hands,
    ask,
    balance,
    granted,
    price_book,
    refused,
    request,
    total,
)

AT = datetime.fromtimestamp(NOON_MS / 1000, UTC)


@functools.cache
def table() -> PriceBook:
    return PriceBook()


def needs(**fields: object) -> Demand:
    return demand(request("a", **fields), price_book().rates("gpt-4o-mini", provider="openai", at=AT))  # type: ignore[arg-type]


def test_what_is_not_in_the_body_is_reserved_as_well() -> None:
    assert needs(unseen_tokens=500).nano_usd == needs().nano_usd + 500 * INPUT


def test_the_fees_of_tools_are_reserved_at_once() -> None:
    rates = table().rates("gpt-4o-mini", provider="openai", at=AT)
    assert rates is not None
    assert rates.tool_call_nano > 0
    plain, with_tools = (
        demand(request("a", tool_calls=calls, is_sliced=True, max_output_tokens=10_000), rates) for calls in (0, 3)
    )
    assert plain.output_tokens == FIRST_SLICE
    assert with_tools.output_tokens is None, "an extension could not know of the fees"
    assert with_tools.nano_usd == plain.whole_nano_usd + 3 * rates.tool_call_nano


def test_a_faster_answer_is_never_covered_at_the_price_of_a_slow_one() -> None:
    rates = [table().rates("claude-opus-5", provider="anthropic", at=AT, speed=speed) for speed in (None, "fast")]
    slow, fast = (demand(request("a", speed="fast", is_sliced=True), each) for each in rates)
    assert fast.nano_usd > slow.nano_usd > 0


def test_nothing_is_reserved_for_what_has_no_bound_however_well_its_price_is_known() -> None:
    found = needs(is_bounded=False)
    assert (found.is_priced, found.nano_usd) == (False, 0)


def test_embeddings_put_out_nothing() -> None:
    assert needs(endpoint="embeddings", is_sliced=True).nano_usd == 1000 * INPUT


@given(st.integers(0, 10**9), st.none() | st.integers(-(10**9), 10**12))
def test_a_slice_is_for_budgets_with_room_for_many_and_all_at_once_is_never_asked_of_one_without(
    whole: int, room: int | None
) -> None:
    sliced = Demand(whole // 2, True, 0, 1024, 4096, whole)
    found = sliced.with_room(room)
    assert found == sliced or (found.output_tokens is None and found.nano_usd == whole)
    if found != sliced:
        assert room is not None
        assert whole <= room < NEAR * whole
    assert is_near(whole, room) is (found != sliced)


# Through the ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", price_book(), Hands().clock())


@pytest.fixture
def priced(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", table(), Hands().clock())


WHOLE = 1000 * INPUT + 10_000 * OUTPUT


def test_near_the_cap_a_stream_holds_all_it_can_cost(ledger: Ledger) -> None:
    line = total(NEAR * WHOLE - 1)
    answer = granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    assert (answer.output_tokens, answer.reserved_nano_usd) == (None, WHOLE)


def test_far_from_the_cap_a_stream_holds_a_slice(ledger: Ledger) -> None:
    answer = granted(ledger, request("a", total(NEAR * WHOLE), max_output_tokens=10_000, is_sliced=True))
    assert answer.output_tokens == FIRST_SLICE


def test_a_stream_whose_budget_fills_up_meanwhile_covers_the_rest_at_its_next_extension(ledger: Ledger) -> None:
    line = total(NEAR * WHOLE)
    granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    granted(ledger, request("b", line, max_output_tokens=100_000))
    (answer,) = ledger.handle([Extend(1, "a", 1025)])
    assert isinstance(answer, Granted)
    assert answer.output_tokens is None


def test_an_extension_never_covers_more_than_the_request_can_produce(ledger: Ledger) -> None:
    line = total(DOLLAR)
    granted(ledger, request("a", line, max_output_tokens=10_000, is_sliced=True))
    (answer,) = ledger.handle([Extend(1, "a", 2**53)])
    assert answer == Granted(1, WHOLE, None, DOLLAR - WHOLE)
    assert balance(ledger, line) == (0, WHOLE)


@pytest.mark.parametrize(
    ("model", "units", "nano_usd"),
    [
        # $15 for a million characters; $0.36 for an hour.
        ("tts-1", (("input_characters", 4096),), 61_440_000),
        ("whisper-1", (("input_audio_ms", 3_600_000),), 360_000_000),
    ],
)
def test_other_units_are_reserved_at_their_own_price(
    priced: Ledger, model: str, units: tuple[tuple[str, int], ...], nano_usd: int
) -> None:
    answer = granted(priced, request("a", total(DOLLAR), model=model, endpoint="speech", units=units))
    assert answer.reserved_nano_usd == nano_usd
    assert ask(priced, request("b", total(1), model=model, units=units)) != answer


def test_a_model_billed_by_tokens_and_asked_for_units_is_bounded_by_its_tokens(priced: Ledger) -> None:
    units = (("input_characters", 100),)
    fields = {"model": "gpt-4o-mini-tts", "endpoint": "speech", "units": units, "max_output_tokens": None}
    answer = granted(priced, request("a", total(DOLLAR), input_bytes=100, **fields))  # type: ignore[arg-type]
    # 16,384 tokens of sound at $12 per million, and 100 bytes of text at $0.60.
    assert answer.reserved_nano_usd == 16_384 * 12_000 + 100 * 600


def test_units_that_nobody_knows_are_no_bound(priced: Ledger) -> None:
    message = request("a", total(DOLLAR), model="tts-1", units=(("moons", 5),), deny_unpriced=True)
    assert refused(priced, message).reason == "unpriced"


def test_what_has_no_bound_is_refused_where_what_has_no_price_is(ledger: Ledger) -> None:
    answer = refused(ledger, request("a", total(DOLLAR), is_bounded=False, deny_unpriced=True))
    assert answer.reason == "unpriced"
    assert granted(ledger, request("b", total(DOLLAR), is_bounded=False)).reserved_nano_usd == 0


def test_a_request_for_what_the_provider_keeps_still_fits_a_limit_of_tokens_per_minute(ledger: Ledger) -> None:
    rule = RateRule("app", tokens_per_minute=1000)
    granted(ledger, request("a", total(10**12), unseen_tokens=1_050_000, rates=(rule,), model=HIDING))


def test_the_price_table_bounds_what_usage_of_the_units_costs() -> None:
    cost = table().cost(Usage(input_characters=4096), models=("tts-1",), provider="openai", at=AT)
    assert cost.nano_usd == int(Decimal("15e-6") * 4096 * 10**9)


def test_an_override_bounds_like_the_table() -> None:
    book = PriceBook([Override(model="mine", input=Decimal(1), output=Decimal(2), per_request=Decimal("0.5"))])
    found = demand(request("a", model="mine"), book.rates("mine", provider=None, at=AT))
    assert found.nano_usd == 1000 * 1000 + 100 * 2000 + 500_000_000


@given(
    st.integers(0, 2**40),
    st.integers(0, 10**6),
    st.none() | st.integers(1, 2**60),
    st.integers(1, 1000),
    st.sampled_from(["chat", "embeddings"]),
)
def test_what_a_gateway_takes_from_a_lease_is_what_the_ledger_would_reserve(
    input_bytes: int, unseen: int, output: int | None, choices: int, endpoint: str
) -> None:
    asked = request(
        "x",
        total(1),
        input_bytes=input_bytes,
        unseen_tokens=unseen,
        max_output_tokens=output,
        choices=choices,
        endpoint=endpoint,
    )
    rates = price_book().rates(VISIBLE, provider="openai", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert rates is not None
    assert plain_cost(asked, tariff_of([rates])) == demand(asked, rates).nano_usd
