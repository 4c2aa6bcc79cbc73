from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import Override, PriceBook, Rates, Usage
from pricing.limits import limits_of, load_limits
from pricing.table import PriceTable
from pricing.tariff import TOOL_BUCKETS

OPENAI = [listing.row.id for listing in PriceTable().models_of("openai")]
OTHERS = [
    (provider, listing.row.id)
    for provider in ("anthropic", "google", "azure", "groq", "deepseek", "mistral", "x-ai", "perplexity")
    for listing in PriceTable().models_of(provider)
]
TIERS = [None, "auto", "default", "flex", "priority", "fast", "scale", "batch"]

# Around the long-context thresholds, and anywhere.
counts = st.one_of(
    st.integers(0, 3), st.integers(0, 2_000_000), st.sampled_from([128_001, 200_000, 200_001, 272_000, 272_001])
)
days = st.datetimes(min_value=datetime(2025, 5, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
splits = st.dictionaries(st.sampled_from((*Usage.INPUT, *Usage.OUTPUT, *TOOL_BUCKETS)), counts, max_size=8)


def bounded(rates: Rates | None, usage: Usage) -> int:
    """Return the bound of a usage; what has no rates may only ever cost nothing."""
    if rates is None:
        return 0
    tool_calls = sum(count for bucket in TOOL_BUCKETS if isinstance(count := usage.count(bucket), int))
    return rates.upper_bound(usage.input_tokens or 0, usage.output_tokens or 0, tool_calls)


def answers_to(tier: str | None) -> list[str | None]:
    """Service tiers in which a request that asked for this one may be billed."""
    return {"default": ["default"], "flex": ["flex", "default"]}.get(tier or "", TIERS)  # type: ignore[return-value]


@pytest.mark.parametrize("model", OPENAI)
@settings(max_examples=60)
@given(at=days, split=splits, asked=st.sampled_from(TIERS), data=st.data())
def test_no_usage_of_an_openai_model_costs_more_than_its_bound(
    book: PriceBook, model: str, at: datetime, split: dict[str, int], asked: str | None, data: st.DataObject
) -> None:
    usage = Usage(**split)
    rates = book.rates(model, provider="openai", at=at, tier=asked)
    billed = data.draw(st.sampled_from(answers_to(asked)))
    cost = book.cost(
        usage,
        models=[model],
        provider="openai",
        at=at,
        tier=billed,
        processing=data.draw(st.sampled_from([None, "batch"])),
    )
    if cost.nano_usd is not None:
        assert cost.nano_usd <= bounded(rates, usage)


@settings(max_examples=1500)
@given(which=st.sampled_from(OTHERS), at=days, split=splits, processing=st.sampled_from([None, "batch"]))
def test_no_usage_of_another_providers_model_costs_more_than_its_bound(
    book: PriceBook, which: tuple[str, str], at: datetime, split: dict[str, int], processing: str | None
) -> None:
    provider, model = which
    usage = Usage(**split)
    cost = book.cost(usage, models=[model], provider=provider, at=at, processing=processing)
    if cost.nano_usd is not None:
        rates = book.rates(model, provider=provider, at=at)
        assert cost.nano_usd <= bounded(rates, usage)


@settings(max_examples=300)
@given(
    split=splits,
    at=days,
    price=st.decimals(0, 1000, places=4),
    factor=st.decimals(0, 3, places=3),
    alias=st.sampled_from([None, "gpt-5.6", "openai/gpt-realtime"]),
)
def test_no_usage_costs_more_than_its_bound_under_an_override(
    split: dict[str, int], at: datetime, price: Decimal, factor: Decimal, alias: str | None
) -> None:
    book = BOOKS.with_overrides(
        Override(model="mine", effective_to=date(2026, 3, 1), input=price, cache_write=price * 2, output=price * 4),
        Override(model="mine", alias_of=alias, multiplier=factor, per_request=price, output=price),
    )
    usage = Usage(**split)
    cost = book.cost(usage, models=["mine"], provider="openai", at=at)
    if cost.nano_usd is not None:
        rates = book.rates("mine", provider="openai", at=at)
        assert cost.nano_usd <= bounded(rates, usage)


class _Books:
    """Price books over one table: loading it for every example would take minutes."""

    def __init__(self) -> None:
        self._table = PriceTable()

    def with_overrides(self, *overrides: Override) -> PriceBook:
        return PriceBook(overrides, table=self._table)


BOOKS = _Books()


def test_the_bound_is_met_exactly_by_the_dearest_usage(book: PriceBook, now: datetime) -> None:
    rates = book.rates("gpt-4o-mini", provider="openai", at=now, tier="default")
    assert rates is not None
    assert rates.model == "gpt-4o-mini"
    for containers, nano_usd in ((0, 450_000), (2, 60_450_000)):
        usage = Usage(input_uncached=1000, output_text=500, containers=containers)
        cost = book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now)
        assert cost.nano_usd == rates.upper_bound(1000, 500, containers) == nano_usd


def test_naming_a_tier_excludes_the_dearer_ones(book: PriceBook, now: datetime) -> None:
    def input_price(tier: str | None) -> int:
        rates = book.rates("gpt-5", provider="openai", at=now, tier=tier)
        assert rates is not None
        return rates.input_nano_per_mtok

    assert input_price("default") == input_price("flex") == 1_250_000_000
    assert input_price(None) == input_price("auto") == input_price("priority") == 2_500_000_000


def test_fast_speed_is_bounded_only_when_asked_for(book: PriceBook, now: datetime) -> None:
    standard = book.rates("claude-opus-4-8", provider="anthropic", at=now)
    fast = book.rates("claude-opus-4-8", provider="anthropic", at=now, speed="fast")
    assert standard is not None
    assert fast is not None
    assert fast.output_nano_per_mtok == 2 * standard.output_nano_per_mtok


def test_on_the_day_of_a_change_the_bound_still_holds_for_the_old_price(book: PriceBook) -> None:
    change = book.rates("gpt-5.6-luna", provider="openai", at=datetime(2026, 7, 30, tzinfo=UTC), tier="default")
    after = book.rates("gpt-5.6-luna", provider="openai", at=datetime(2026, 8, 1, tzinfo=UTC), tier="default")
    assert change is not None
    assert after is not None
    assert change.output_nano_per_mtok == 5 * after.output_nano_per_mtok


def test_a_bound_rounds_up_to_the_next_nano_dollar() -> None:
    rates = Rates(
        model="m",
        input_nano_per_mtok=1,
        output_nano_per_mtok=0,
        request_nano=0,
        tool_call_nano=0,
        max_output_tokens=1,
        hides_reasoning=False,
    )
    assert [rates.upper_bound(tokens, 0) for tokens in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]


def test_prices_of_less_than_a_nano_dollar_are_bounded_by_one(now: datetime) -> None:
    tiny = Decimal("1E-10")
    rates = BOOKS.with_overrides(Override(model="mine*", input=tiny, output=tiny * 11, per_request=tiny)).rates(
        "mine-too", provider="openai", at=now
    )
    assert rates is not None
    assert (rates.model, rates.input_nano_per_mtok, rates.output_nano_per_mtok, rates.request_nano) == (
        "mine*",
        1,
        2,
        1,
    )


def test_a_model_without_a_price_has_no_bound(book: PriceBook, now: datetime) -> None:
    assert book.rates("no-such-model", provider="openai", at=now) is None
    assert book.rates("gpt-4o", provider=None, at=now) is None
    assert book.rates("whisper-1", provider="openai", at=now) is None


def test_a_free_upstream_is_bounded_by_nothing(book: PriceBook, now: datetime) -> None:
    rates = book.rates("llama", provider=None, at=now, free=True)
    assert rates is not None
    assert rates.upper_bound(10**9, 10**9) == 0


def test_rates_are_looked_up_once(book: PriceBook, now: datetime) -> None:
    rates = book.rates("gpt-5.6", provider="openai", at=now)
    assert rates is not None
    assert book.rates("gpt-5.6", provider="openai", at=now + timedelta(seconds=1)) is rates


@pytest.mark.parametrize(
    ("model", "max_output_tokens", "hides_reasoning"),
    [
        ("gpt-4o", 16_384, False),
        ("gpt-4o-2024-05-13", 4096, False),
        ("gpt-4o-mini-2024-07-18", 16_384, False),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", 16_384, False),
        ("openai/gpt-4.1-nano", 32_768, False),
        ("gpt-4", 8192, False),
        ("gpt-4-0613", 8192, False),
        ("gpt-4-turbo", 4097, False),
        ("gpt-3.5-turbo-0125", 4097, False),
        ("o1", 100_000, True),
        ("o3-pro", 100_000, True),
        ("o4-mini", 100_000, True),
        ("gpt-5", 128_000, True),
        ("gpt-5-pro", 272_000, True),
        ("gpt-5-chat-latest", 16_384, False),
        ("gpt-6.1-sol", 128_000, True),
        ("text-embedding-3-small", 0, False),
        ("anything else", 128_000, True),
        ("", 128_000, True),
    ],
)
def test_limits_of_models(model: str, max_output_tokens: int, hides_reasoning: bool) -> None:
    limits = limits_of(model)
    assert (limits.max_output_tokens, limits.hides_reasoning) == (max_output_tokens, hides_reasoning)


def test_an_alias_has_the_limits_of_what_it_stands_for(now: datetime) -> None:
    book = BOOKS.with_overrides(Override(model="mine", alias_of="gpt-4o"))
    rates = book.rates("mine", provider="openai", at=now)
    assert rates is not None
    assert (rates.max_output_tokens, rates.hides_reasoning) == (16_384, False)


def test_every_row_of_limits_can_be_reached_and_says_where_it_is_from() -> None:
    rows = load_limits()
    assert rows[-1].models == ("*",)
    for row in rows:
        assert row.source
        for glob in row.models:
            assert limits_of(glob.replace("*", "")) is row or limits_of(glob.replace("*", "x")) is row, glob
