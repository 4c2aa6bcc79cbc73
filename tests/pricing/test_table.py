"""The border to genai-prices: where its own engine has an answer, ours is the same; what its data grow is noticed."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
from genai_prices.data import providers
from genai_prices.types import ModelPrice
from genai_prices.units import _get_registry
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pricing import PriceBook, Usage
from pricing.table import PriceTable, load_gaps
from pricing.tariff import TOKEN_KEYS, UNIT_KEYS, units_per_price

ROWS = [(provider.id, model.id) for provider in providers for model in provider.models]
CONTEXTS = [{}, {"service_tier": "flex"}, {"service_tier": "priority"}, {"processing": "batch"}, {"speed": "fast"}]

# Cache writes of an hour and more are left to the reference cases: there the engine falls back to a cheaper price.
INPUT = [bucket for bucket in Usage.INPUT if bucket not in ("cache_write_1h", "cache_write_12h", "cache_read_video")]
splits = st.dictionaries(st.sampled_from([*INPUT, *Usage.OUTPUT]), st.integers(0, 400_000), min_size=1, max_size=6)


def engine_usage(split: dict[str, int]) -> genai_prices.Usage:
    """Write a split as the engine wants it: every total with its parts counted in."""

    def total(*words: str) -> int:
        return sum(count for bucket, count in split.items() if any(word in bucket for word in words))

    return genai_prices.Usage(
        input_tokens=total("input_", "cache_"),
        cache_read_tokens=total("cache_read"),
        cache_write_tokens=total("cache_write"),
        cache_write_5m_tokens=total("cache_write_5m"),
        cache_write_1h_tokens=0,
        input_audio_tokens=total("input_audio", "cache_read_audio"),
        input_image_tokens=total("input_image", "cache_read_image"),
        input_video_tokens=total("input_video"),
        cache_audio_read_tokens=total("cache_read_audio"),
        cache_image_read_tokens=total("cache_read_image"),
        cache_video_read_tokens=0,
        output_tokens=total("output_"),
        output_reasoning_tokens=total("output_reasoning"),
        output_audio_tokens=total("output_audio"),
        output_image_tokens=total("output_image"),
        output_video_tokens=total("output_video"),
        output_citation_tokens=total("output_citation"),
    )


@settings(max_examples=600)
@given(row=st.sampled_from(ROWS), split=splits, context=st.sampled_from(CONTEXTS))
def test_our_sums_are_those_of_the_engine(
    book: PriceBook, now: datetime, row: tuple[str, str], split: dict[str, int], context: dict[str, str]
) -> None:
    provider, model = row
    cost = book.cost(
        Usage(**({"input_uncached": 0, "output_text": 0} | split)),
        models=[model],
        provider=provider,
        at=now,
        tier=context.get("service_tier"),
        processing=context.get("processing"),
        speed=context.get("speed"),
    )
    assume(cost.nano_usd is not None and "gaps" not in (cost.version or ""))
    theirs = genai_prices.calc_price(
        engine_usage(split), model, provider_id=provider, genai_request_timestamp=now, price_context=context
    )
    assert cost.nano_usd == int((theirs.total_price * 10**9).to_integral_value(ROUND_HALF_EVEN))


def test_every_price_key_of_the_table_is_one_that_a_bucket_pays() -> None:
    payable = {key for keys in TOKEN_KEYS.values() for key in keys}
    payable |= {key for keys, _ in UNIT_KEYS.values() for key in keys} | {"requests_kcount"}
    for provider in providers:
        for model in provider.models:
            prices = (
                [model.prices] if isinstance(model.prices, ModelPrice) else [dated.prices for dated in model.prices]
            )
            prices += [variant.prices for variant in model.price_variants or ()]
            found = {key for price in prices for key, value in vars(price).items() if value is not None}
            assert found <= payable, (provider.id, model.id, found - payable)


def test_a_bucket_pays_by_keys_that_include_it_and_per_as_many_as_the_table_says() -> None:
    registry = _get_registry()
    units = {unit.price_key: unit for unit in registry.units.values()}
    for bucket, keys in TOKEN_KEYS.items():
        known = [units[key] for key in keys if key != "cache_write_12h_mtok"]
        assert all(unit.per == units_per_price(bucket) for unit in known)
        assert all(unit.dimensions.items() <= known[0].dimensions.items() for unit in known[1:]), bucket
    ours = {"container": 1, "image": 1, "video_seconds": 1000}
    for bucket, (keys, per) in UNIT_KEYS.items():
        for key in keys:
            if key in ours:
                assert per == ours[key]
                continue
            # The table counts hours in seconds, we count in milliseconds.
            assert units[key].per * (1000 if bucket.endswith("_ms") else 1) == per


def test_every_bucket_that_is_summed_or_billed_has_a_price_key() -> None:
    assert set(TOKEN_KEYS) == {*Usage.INPUT, *Usage.OUTPUT}
    assert set(UNIT_KEYS) == set(Usage.UNITS)


def test_a_gap_row_is_still_needed_and_says_where_it_is_from(now: datetime) -> None:
    table = PriceTable()
    for gap in load_gaps():
        assert gap.source
        if gap.provider == "*" or not gap.models:
            continue
        rows = [row for row in table.models_of(gap.provider) if gap in row.gaps]
        assert rows, gap
        for key in gap.prices:
            assert any(key not in row.row.prices_at(now, {}) for row in rows)


def test_the_twelve_hour_write_follows_tier_and_long_context(book: PriceBook, now: datetime) -> None:
    usage = Usage(input_uncached=0, cache_write_12h=300_000, output_text=0)
    prices = {
        tier: book.cost(usage, models=["gpt-6-astra"], provider="openai", at=now, tier=tier).nano_usd
        for tier in (None, "flex", "priority")
    }
    # USD 50, 25 and 100 per million above 272,000 tokens: the figures of the litellm 1.109.1 price map.
    assert prices == {None: 15 * 10**9, "flex": Decimal("7.5") * 10**9, "priority": 30 * 10**9}
