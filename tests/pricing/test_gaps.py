"""What the price table lacks and `gaps.yaml` adds: things billed by the piece, regions, models it does not list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pricing import Cost, PriceBook, Usage
from pricing.table import PriceTable, load_gaps

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def cost(book: PriceBook, usage: Usage, model: str, provider: str = "openai", **terms: str) -> Cost:
    return book.cost(usage, models=[model], provider=provider, at=NOW, **terms)  # type: ignore[arg-type]  # texts all


@pytest.mark.parametrize(
    ("usage", "model", "provider", "variant", "usd"),
    [
        (Usage(images=2), "gpt-image-1.5", "openai", "1024x1536/high", "0.4"),
        (Usage(images=1), "gpt-image-1-mini", "openai", "1024x1024/low", "0.005"),
        (Usage(images=3), "imagen-3.0-generate-001", "google", "", "0.12"),
        (Usage(video_ms=8000), "sora-2", "openai", "720x1280", "0.8"),
        (Usage(video_ms=4500), "sora-2-pro", "openai", "1792x1024", "2.25"),
        (Usage(video_ms=8000), "veo-3.1-generate-001", "google", "4K", "4.8"),
        (Usage(containers=1), "gpt-5", "openai", "", "0.03"),
        (Usage(containers=2), "containers", "openai", "1g", "0.06"),
        (Usage(file_searches=4), "gpt-5", "openai", "", "0.01"),
        (Usage(web_searches=2), "gpt-4o-search-preview", "openai", "", "0.05"),
        (Usage(input_characters=2000), "tts-1-hd", "openai", "", "0.06"),
        (Usage(input_audio_ms=90_000), "whisper-1", "openai", "", "0.009"),
        (Usage(audio_ms=60_000), "gpt-live-1", "openai", "", "0.05"),
    ],
)
def test_what_is_billed_by_the_piece_has_the_price_of_what_was_ordered(
    book: PriceBook, usage: Usage, model: str, provider: str, variant: str, usd: str
) -> None:
    assert cost(book, usage, model, provider, variant=variant).nano_usd == int(Decimal(usd) * 10**9)


@pytest.mark.parametrize(
    ("usage", "model", "provider", "variant"),
    [
        (Usage(images=1), "gpt-image-1.5", "openai", ""),
        (Usage(images=1), "gpt-image-1.5", "openai", "4096x4096/high"),
        (Usage(images=1), "gpt-4o", "openai", "1024x1024/high"),
        (Usage(images=1), "imagen-9", "google", ""),
        (Usage(video_ms=1000), "sora-2-pro", "openai", "9x9"),
        (Usage(containers=1), "gpt-5", "openai", "64g"),
        (Usage(images=None), "imagen-3.0-generate-001", "google", ""),
    ],
)
def test_what_was_ordered_and_has_no_price_is_unknown(
    book: PriceBook, usage: Usage, model: str, provider: str, variant: str
) -> None:
    found = cost(book, usage, model, provider, variant=variant)
    assert (found.nano_usd, found.source) == (None, "unknown")
    assert found.reason


def test_a_region_raises_the_prices_of_tokens_and_of_nothing_else(book: PriceBook) -> None:
    usage = Usage.from_totals(input_tokens=1000, output_tokens=100, web_searches=1)
    listed, american = (cost(book, usage, "claude-opus-4-6", "anthropic", region=region) for region in ("global", "us"))
    assert listed.components == {"input_uncached": 5_000_000, "output_text": 2_500_000, "web_searches": 10_000_000}
    assert american.components == {"input_uncached": 5_500_000, "output_text": 2_750_000, "web_searches": 10_000_000}
    assert listed.version == book.version
    assert american.version == f"{book.version}, gaps 2026-11-21"


def test_a_region_that_nobody_lists_is_unknown_and_elsewhere_it_means_nothing(book: PriceBook) -> None:
    usage = Usage.from_totals(input_tokens=1000, output_tokens=100)
    lost = cost(book, usage, "claude-opus-4-6", "anthropic", region="moon")
    assert (lost.nano_usd, lost.reason) == (None, "no price in moon is listed for claude-opus-4-6")
    assert cost(book, usage, "gpt-5", region="moon") == cost(book, usage, "gpt-5")


def test_a_reservation_covers_the_dearest_region(book: PriceBook) -> None:
    rates = book.rates("claude-opus-4-6", provider="anthropic", at=NOW, tier="standard_only")
    assert rates is not None
    usage = Usage.from_totals(input_tokens=1000, output_tokens=100)
    dearest = cost(book, usage, "claude-opus-4-6", "anthropic", region="us").nano_usd
    assert dearest is not None
    assert rates.upper_bound(1000, 100) >= dearest


def test_prices_change_at_whole_minutes_only() -> None:
    # A minute's requests share one look at the table.
    table = PriceTable()
    for provider in sorted(table.provider_ids):
        for listing in table.models_of(provider):
            assert all(not (each.second or each.microsecond) for each in listing.moments(NOW.date()))


def test_a_price_of_yesterday_is_not_that_of_the_same_minute_today(book: PriceBook) -> None:
    usage = Usage.from_totals(input_tokens=1000, output_tokens=0)
    change = datetime(2026, 8, 21, tzinfo=UTC)
    before, after = (
        book.cost(usage, models=["gpt-5.6"], provider="openai", at=at).nano_usd
        for at in (change - timedelta(milliseconds=1), change)
    )
    assert (before, after) == (5_000_000, 4_000_000)


def test_a_model_that_a_gap_adds_is_missing_in_the_table() -> None:
    table = PriceTable()
    for gap in load_gaps():
        for model in gap.adds:
            listed = [row for row in table.models_of(gap.provider) if row.row.id == model]
            assert listed == [], f"the table has {model} by now"
            assert table.find(model, gap.provider) is not None


def test_the_minute_of_a_request_decides_where_prices_change_by_the_hour(book: PriceBook) -> None:
    usage = Usage.from_totals(input_tokens=1_000_000, output_tokens=0)
    costs = [
        book.cost(
            usage, models=["deepseek-chat"], provider="deepseek", at=NOW.replace(hour=hour, minute=minute)
        ).nano_usd
        for hour, minute in ((0, 29), (0, 30), (16, 29), (16, 30))
    ]
    assert costs == [135_000_000, 270_000_000, 270_000_000, 135_000_000]


@pytest.mark.parametrize(
    ("model", "region", "factor"),
    [
        ("claude-sonnet-4-5@20250929", "europe-west1", "1.1"),
        ("claude-sonnet-4-5@20250929", "eu", "1.1"),
        ("claude-sonnet-4-5@20250929", "global", "1"),
        ("claude-3-haiku@20240307", "us-east5", "1"),
        ("gemini-3.5-flash", "us-central1", "1.1"),
        ("gemini-2.5-flash", "us-central1", "1"),
    ],
)
def test_on_vertex_a_place_of_ones_own_choice_costs_more_of_the_newer_models(
    book: PriceBook, model: str, region: str, factor: str
) -> None:
    usage = Usage.from_totals(input_tokens=1_000_000, output_tokens=100_000)
    listed, there = cost(book, usage, model, "google"), cost(book, usage, model, "google", region=region)
    assert listed.nano_usd is not None
    assert there.nano_usd == listed.nano_usd * Decimal(factor)
