from datetime import date, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from pricing import Cost, Override, PriceBook, Usage, combined

BASIC = Usage(input_uncached=1000, output_text=500)


def cost_with(override: Override, at: datetime, model: str = "gpt-4o-mini", provider: str | None = "openai") -> Cost:
    return PriceBook([override]).cost(BASIC, models=[model], provider=provider, at=at)


def test_what_the_provider_reports_goes_before_everything(now: datetime) -> None:
    book = PriceBook([Override(model="*", free=True)])
    usage = msgspec.structs.replace(BASIC, reported_cost_nano_usd=625_000)
    cost = book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now, free=True)
    assert (cost.nano_usd, cost.source) == (625_000, "provider")


def test_a_free_upstream_costs_nothing_by_the_users_word(book: PriceBook, now: datetime) -> None:
    cost = book.cost(Usage(), models=["llama"], provider=None, at=now, free=True)
    assert (cost.nano_usd, cost.source, cost.version, cost.components) == (0, "override", "config", {})


def test_the_first_model_with_a_price_counts(book: PriceBook, now: datetime) -> None:
    cost = book.cost(BASIC, models=["my-deployment", "gpt-4o-mini"], provider="azure", at=now)
    assert (cost.nano_usd, cost.model) == (450_000, "gpt-4o-mini")
    dearer = book.cost(BASIC, models=["gpt-4o", "gpt-4o-mini"], provider="openai", at=now)
    assert dearer.model == "gpt-4o"


@pytest.mark.parametrize(
    ("model", "provider", "reason"),
    [
        ("no-such-model", "openai", "openai has no price for no-such-model"),
        ("gpt-4o-mini", None, "no price table for this upstream"),
        ("gpt-4o-mini", "nobody", "nobody is not in the price table"),
        ("gpt-4o-mini", "my-openai-proxy", "my-openai-proxy is not in the price table"),
        ("claude-sonnet-4-5", "openai", "openai has no price for claude-sonnet-4-5"),
        ("openai/gpt-4o-mini", "groq", "groq has no price for openai/gpt-4o-mini"),
        ("", "openai", "openai has no price for a request without a model"),
    ],
)
def test_a_model_is_priced_under_its_own_provider_or_not_at_all(
    book: PriceBook, now: datetime, model: str, provider: str | None, reason: str
) -> None:
    cost = book.cost(BASIC, models=[model], provider=provider, at=now)
    assert (cost.nano_usd, cost.source, cost.reason) == (None, "unknown", reason)


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (Usage(), "no usage reported"),
        (Usage(input_uncached=None, output_text=5), "input tokens unknown"),
        (Usage(input_uncached=5, output_text=None), "output tokens unknown"),
        (Usage(input_uncached=-5), "input_uncached is not plausible: -5"),
        (Usage(input_uncached=-5, output_text=5), "input_uncached is not plausible: -5"),
        (Usage(input_uncached=10**12 + 1), f"input_uncached is not plausible: {10**12 + 1}"),
        (Usage(input_uncached=10**30), f"input_uncached is not plausible: {10**30}"),
        (Usage(input_uncached=5, output_text=5, code_executions=1), "no price for code_executions of gpt-4o-mini"),
        (Usage(input_uncached=5, output_text=5, web_searches=None), "web_searches unknown"),
    ],
)
def test_what_cannot_be_priced_is_unknown_and_says_why(
    book: PriceBook, now: datetime, usage: Usage, reason: str
) -> None:
    cost = book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now)
    assert (cost.nano_usd, cost.source, cost.reason) == (None, "unknown", reason)


@pytest.mark.parametrize(("tokens", "nano_usd"), [(0, 0), (1, 150), (10**12, 150_000 * 10**9)])
def test_nothing_and_the_most_that_is_believed_have_their_price(
    book: PriceBook, now: datetime, tokens: int, nano_usd: int
) -> None:
    usage = Usage(input_uncached=tokens, output_text=0)
    cost = book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now)
    assert (cost.nano_usd, cost.components) == (nano_usd, {"input_uncached": nano_usd} if nano_usd else {})


def test_the_parts_that_have_a_price_are_kept_when_the_cost_is_unknown(book: PriceBook, now: datetime) -> None:
    usage = msgspec.structs.replace(BASIC, code_executions=2)
    cost = book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now)
    assert cost.nano_usd is None
    assert cost.components == {"input_uncached": 150_000, "output_text": 300_000}


@pytest.mark.parametrize(
    ("model", "tier", "reason"),
    [
        ("gpt-4o", "flex", "no flex price is listed for gpt-4o"),
        ("gpt-5-nano", "priority", "no priority price is listed for gpt-5-nano"),
        ("gpt-5", "made-up", "no made-up price is listed for gpt-5"),
    ],
)
def test_a_tier_without_a_listed_price_is_not_charged_as_standard(
    book: PriceBook, now: datetime, model: str, tier: str, reason: str
) -> None:
    cost = book.cost(BASIC, models=[model], provider="openai", at=now, tier=tier)
    assert (cost.nano_usd, cost.reason) == (None, reason)


def test_a_reseller_is_not_assumed_to_offer_the_makers_tiers(book: PriceBook, now: datetime) -> None:
    assert book.cost(BASIC, models=["gpt-5"], provider="azure", at=now, tier="priority").nano_usd is None


@pytest.mark.parametrize("tier", [None, "auto", "default", "scale", ""])
def test_the_names_of_the_standard_tier_mean_the_list_price(book: PriceBook, now: datetime, tier: str | None) -> None:
    assert book.cost(BASIC, models=["gpt-4o-mini"], provider="openai", at=now, tier=tier).nano_usd == 450_000


def test_fast_speed_has_its_own_price(book: PriceBook, now: datetime) -> None:
    def price(speed: str | None) -> int:
        cost = book.cost(BASIC, models=["claude-opus-4-8"], provider="anthropic", at=now, speed=speed)
        assert cost.nano_usd is not None, cost.reason
        return cost.nano_usd

    assert price("fast") > price("standard") == price(None)


def test_a_row_without_any_price_is_unknown_unless_known_to_be_free(book: PriceBook, now: datetime) -> None:
    cost = book.cost(BASIC, models=["qwen-3-coder-480b"], provider="cerebras", at=now)
    assert (cost.nano_usd, cost.reason) == (None, "qwen-3-coder-480b is listed without a price")
    free = book.cost(BASIC, models=["deepseek/deepseek-r1:free"], provider="openrouter", at=now)
    assert (free.nano_usd, free.source) == (0, "table")


def test_a_long_lived_cache_write_is_never_charged_as_a_short_one(now: datetime) -> None:
    book = PriceBook()
    usage = Usage(input_uncached=0, cache_write_1h=1000, output_text=0)
    assert book.cost(usage, models=["gpt-5.6"], provider="openai", at=now).reason == (
        "no price for cache_write_1h of gpt-5.6-sol"
    )


def test_an_alias_prices_as_another_model_of_the_table(now: datetime) -> None:
    cost = cost_with(
        Override(model="my-finetune*", alias_of="gpt-4o-mini", multiplier=Decimal("1.5")), now, "My-Finetune-7"
    )
    assert (cost.nano_usd, cost.source, cost.model) == (675_000, "override", "gpt-4o-mini")
    assert cost.version is not None
    assert cost.version.startswith("config, genai-prices ")


def test_an_alias_may_name_the_provider_too(now: datetime) -> None:
    assert cost_with(Override(model="*", alias_of="openai/gpt-4o-mini"), now, "x", None).nano_usd == 450_000
    unknown = cost_with(Override(model="*", alias_of="gpt-4o-mini"), now, "x", None)
    assert unknown.nano_usd is None
    assert unknown.reason is not None
    assert "openai/gpt-4o-mini" in unknown.reason


def test_an_alias_keeps_long_context_steps_and_tiers(now: datetime) -> None:
    book = PriceBook([Override(model="mine", alias_of="gpt-5.5")])
    usage = Usage(input_uncached=300_000, output_text=1000)
    for tier in (None, "flex"):
        assert (
            book.cost(usage, models=["mine"], provider="openai", at=now, tier=tier).nano_usd
            == book.cost(usage, models=["gpt-5.5"], provider="openai", at=now, tier=tier).nano_usd
        )


def test_an_override_with_prices_stands_for_itself(now: datetime) -> None:
    override = Override(model="gpt-4o-mini", input=Decimal(1), output=Decimal(2), per_request=Decimal("0.01"))
    cost = cost_with(override, now)
    assert (cost.nano_usd, cost.source, cost.version) == (12_000_000, "override", "config")
    assert cost.components["request"] == 10_000_000
    cached = Usage(input_uncached=0, cache_read=1000, cache_write_1h=1000, output_text=0)
    assert PriceBook([override]).cost(cached, models=["gpt-4o-mini"], provider=None, at=now).nano_usd == 12_000_000


def test_an_override_with_alias_and_prices_replaces_only_what_it_names(now: datetime) -> None:
    override = Override(model="mine", alias_of="gpt-4o-mini", output=Decimal(2))
    assert cost_with(override, now, "mine").nano_usd == 150_000 + 1_000_000


def test_a_multiplier_alone_raises_the_table_price(now: datetime) -> None:
    cost = cost_with(Override(model="gpt-*", provider="openai", multiplier=Decimal("1.1")), now)
    assert (cost.nano_usd, cost.source) == (495_000, "override")


def test_a_flat_fee_is_the_whole_cost(now: datetime) -> None:
    assert cost_with(Override(model="flat", per_request=Decimal("0.25")), now, "flat").nano_usd == 250_000_000


@pytest.mark.parametrize("usage", [Usage(), Usage(images=3), Usage(input_uncached=None), Usage(web_searches=2)])
def test_a_flat_fee_is_the_whole_cost_whatever_was_consumed(now: datetime, usage: Usage) -> None:
    book = PriceBook([Override(model="dall-e-3", per_request=Decimal("0.04"))])
    cost = book.cost(usage, models=["dall-e-3"], provider="openai", at=now)
    assert (cost.nano_usd, cost.source, cost.components) == (40_000_000, "override", {"request": 40_000_000})


def test_a_flat_fee_is_part_of_the_cost_and_no_price_that_we_added(now: datetime) -> None:
    cost = cost_with(Override(model="*", alias_of="gpt-5.6", per_request=Decimal("0.01")), now)
    assert cost.components == {"input_uncached": 4_000_000, "output_text": 10_000_000, "request": 10_000_000}
    assert cost.nano_usd == 24_000_000
    assert cost.version == f"config, {PriceBook().version}"


def test_a_free_model_has_no_flat_fee(now: datetime) -> None:
    assert cost_with(Override(model="*", free=True, per_request=Decimal(1)), now).nano_usd == 0


def test_an_override_of_another_provider_does_not_apply(now: datetime) -> None:
    assert cost_with(Override(model="*", provider="azure", free=True), now).nano_usd == 450_000


def test_the_first_override_that_matches_decides(now: datetime) -> None:
    book = PriceBook([Override(model="gpt-4o-*", free=True), Override(model="*", input=Decimal(9), output=Decimal(9))])
    assert book.cost(BASIC, models=["gpt-4o-mini"], provider="openai", at=now).nano_usd == 0


@pytest.mark.parametrize(
    ("day", "nano_usd"),
    [(date(2026, 1, 31), 450_000), (date(2026, 2, 1), 0), (date(2026, 2, 28), 0), (date(2026, 3, 1), 450_000)],
)
def test_an_override_holds_from_its_first_day_until_its_last(day: date, nano_usd: int) -> None:
    override = Override(model="*", free=True, effective_from=date(2026, 2, 1), effective_to=date(2026, 3, 1))
    assert cost_with(override, datetime(day.year, day.month, day.day, 13)).nano_usd == nano_usd  # noqa: DTZ001


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity"])
def test_an_override_with_a_price_that_is_none_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="is not a price"):
        Override(model="x", input=Decimal(price))


def test_an_override_can_be_read_from_config() -> None:
    rule = msgspec.convert({"model": "my-*", "alias_of": "gpt-5-mini", "multiplier": 1.1}, Override)
    assert rule.multiplier == Decimal("1.1")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": "my-*", "inptu": 1}, Override)


def test_rounding_is_half_even_and_happens_once(now: datetime) -> None:
    def nano(input_price: str, tokens: int) -> int | None:
        book = PriceBook([Override(model="*", input=Decimal(input_price), output=Decimal(input_price))])
        return book.cost(Usage(input_uncached=tokens, output_text=tokens), models=["m"], provider=None, at=now).nano_usd

    assert nano("0.0005", 1) == 1  # two halves make one, each alone would round to 0
    assert nano("0.00025", 1) == 0
    assert nano("0.00075", 1) == 2


def test_costs_of_several_models_add_up_and_one_unknown_makes_all_unknown(book: PriceBook, now: datetime) -> None:
    one = book.cost(BASIC, models=["gpt-4o-mini"], provider="openai", at=now)
    two = book.cost(BASIC, models=["gpt-4o"], provider="openai", at=now)
    both = combined([one, two])
    assert (both.nano_usd, both.model) == (450_000 + 7_500_000, "gpt-4o-mini")
    assert both.components == {"input_uncached": 2_650_000, "output_text": 5_300_000}
    lost = book.cost(BASIC, models=["?"], provider="openai", at=now)
    assert combined([one, lost]).nano_usd is None
    assert combined([one, lost]).components == one.components
    assert combined([]) == Cost(nano_usd=None, source="unknown", reason="nothing to add up")


counts = st.one_of(st.just(UNSET), st.none(), st.integers(-5, 10**6), st.integers())
usages = st.builds(Usage, **dict.fromkeys((*Usage.INPUT, *Usage.OUTPUT, *Usage.UNITS), counts))
names = st.one_of(
    st.text(max_size=40), st.sampled_from(["gpt-5", "gpt-4o", "gpt-5.6", "whisper-1", "ft:gpt-4o-mini-2024-07-18:a"])
)


@settings(max_examples=300)
@given(
    usage=usages,
    models=st.lists(names, max_size=3),
    provider=st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["openai", "azure", "google", "deepseek"])),
    at=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)),  # noqa: DTZ001
    tier=st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["flex", "priority", "batch"])),
    processing=st.sampled_from([None, "batch", "x"]),
    speed=st.sampled_from([None, "fast", "y"]),
)
def test_nothing_a_client_or_provider_says_makes_it_raise(
    book: PriceBook,
    usage: Usage,
    models: list[str],
    provider: str | None,
    at: datetime,
    tier: str | None,
    processing: str | None,
    speed: str | None,
) -> None:
    cost = book.cost(usage, models=models, provider=provider, at=at, tier=tier, processing=processing, speed=speed)
    assert (cost.nano_usd is None) == (cost.source == "unknown") == (cost.reason is not None)
    for model in models:
        book.rates(model, provider=provider, at=at, tier=tier, speed=speed)
    msgspec.json.encode(cost)
