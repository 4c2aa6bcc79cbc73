"""Costs worked out by hand from the unit prices of the table, exact to the nano-dollar.

Agreement shows that the sums are right (tiers, caches, variants, subtraction), not that the prices are.
"""

from datetime import UTC, datetime
from typing import TypedDict

import pytest

from pricing import PriceBook, Usage


class Selection(TypedDict, total=False):
    tier: str
    processing: str


split = Usage.from_totals
GPT_5 = split(input_tokens=10_000, cache_read=8000, output_tokens=2000, output_reasoning=1500)
BASIC = split(input_tokens=1000, output_tokens=500)

CASES: list[tuple[str, str, str, Usage, Selection, int]] = [
    ("1 plain", "openai", "gpt-4o-mini", BASIC, {}, 450_000),
    ("2 cached and reasoning", "openai", "gpt-5", GPT_5, {}, 23_500_000),
    ("3 flex", "openai", "gpt-5", GPT_5, {"tier": "flex"}, 11_750_000),
    ("priority", "openai", "gpt-5", GPT_5, {"tier": "priority"}, 47_000_000),
    (
        "4 long context",
        "openai",
        "gpt-5.5",
        split(input_tokens=300_000, cache_read=100_000, output_tokens=1000),
        {},
        2_145_000_000,
    ),
    (
        "5 Anthropic caches",
        "anthropic",
        "claude-sonnet-4-5",
        Usage(input_uncached=500, cache_read=20_000, cache_write_5m=3000, cache_write_1h=2000, output_text=800),
        {},
        42_750_000,
    ),
    (
        "6 web searches, second tier",
        "anthropic",
        "claude-haiku-5-5",
        Usage(input_uncached=120_000, output_text=1000, web_searches=3),
        {},
        92_500_000,
    ),
    (
        "7 batch",
        "anthropic",
        "claude-sonnet-4-5",
        Usage(input_uncached=10_000, output_text=1000),
        {"processing": "batch"},
        22_500_000,
    ),
    (
        "7 batch, as Anthropic's own service tier",
        "anthropic",
        "claude-sonnet-4-5",
        Usage(input_uncached=10_000, output_text=1000),
        {"tier": "batch"},
        22_500_000,
    ),
    (
        "8 Gemini audio with a cache of text",
        "google",
        "gemini-2.5-flash",
        split(input_tokens=6000, input_audio=1000, cache_read=2000, output_tokens=1000, output_reasoning=700),
        {},
        4_460_000,
    ),
    (
        "9 Gemini above 200k",
        "google",
        "gemini-2.5-pro",
        split(input_tokens=250_000, output_tokens=2000),
        {},
        655_000_000,
    ),
    ("10 embeddings", "openai", "text-embedding-3-small", split(input_tokens=1_234_567), {}, 24_691_340),
    (
        "11 realtime",
        "openai",
        "gpt-realtime",
        split(
            input_tokens=1200,
            cache_read=100,
            input_audio=500,
            cache_read_audio=500,
            output_tokens=450,
            output_audio=400,
        ),
        {},
        43_040_000,
    ),
    (
        "12 images",
        "openai",
        "gpt-image-1",
        split(input_tokens=50, output_tokens=4160, output_image=4160),
        {},
        166_650_000,
    ),
    (
        "13 transcription",
        "openai",
        "gpt-4o-transcribe",
        split(input_tokens=620, input_audio=600, output_tokens=100),
        {},
        4_650_000,
    ),
    (
        "14 cache write of 30 minutes",
        "openai",
        "gpt-5.6",
        split(input_tokens=10_000, cache_read=2000, cache_write_30m=4000, output_tokens=500),
        {},
        46_800_000,
    ),
    (
        "15 cache write of 12 hours, which the table lacks",
        "openai",
        "gpt-5.6",
        split(input_tokens=10_000, cache_read=2000, cache_write_12h=4000, output_tokens=500),
        {},
        66_800_000,
    ),
    ("16 fine-tune", "openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", BASIC, {}, 900_000),
    ("dated id", "openai", "gpt-4o-mini-2024-07-18", BASIC, {}, 450_000),
    ("compact date", "openai", "gpt-5.2-20251211", BASIC, {}, 8_750_000),
    ("another letter case", "openai", "GPT-4o-Mini", BASIC, {}, 450_000),
    (
        "audio preview, whose audio the table lacks",
        "openai",
        "gpt-4o-audio-preview",
        split(input_tokens=1000, input_audio=900, output_tokens=200, output_audio=150),
        {},
        48_750_000,
    ),
    ("by the minute", "openai", "whisper-1", Usage(input_audio_ms=60_000), {}, 6_000_000),
    ("by the character", "openai", "tts-1", Usage(input_characters=1000), {}, 15_000_000),
    ("a known free model", "openai", "omni-moderation-latest", split(input_tokens=10), {}, 0),
    ("resold by Azure", "azure", "gpt-4o-mini", BASIC, {}, 450_000),
]


@pytest.mark.parametrize(
    ("provider", "model", "usage", "selection", "nano_usd"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_cost_is_exact(
    book: PriceBook, now: datetime, provider: str, model: str, usage: Usage, selection: Selection, nano_usd: int
) -> None:
    cost = book.cost(usage, models=[model], provider=provider, at=now, **selection)
    assert (cost.nano_usd, cost.source, cost.reason) == (nano_usd, "table", None)
    assert sum(cost.components.values()) == nano_usd


def test_an_unreported_cache_is_billed_as_no_cache_but_not_claimed_to_be_none(book: PriceBook, now: datetime) -> None:
    usage = Usage.from_totals(input_tokens=1000, output_tokens=500, cache_read=None)
    assert book.cost(usage, models=["gpt-4o-mini"], provider="openai", at=now).nano_usd == 450_000
    assert usage.cached_input_tokens is None


@pytest.mark.parametrize(
    ("day", "nano_usd", "effective_date"),
    [
        (datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC), 30_000_000, None),
        (datetime(2025, 6, 10, tzinfo=UTC), 6_000_000, "2025-06-10"),
        (datetime(2025, 6, 10, 0, 0, 1), 6_000_000, "2025-06-10"),  # noqa: DTZ001  a naive time is UTC
    ],
)
def test_the_price_in_force_at_the_start_of_the_request_counts(
    book: PriceBook, day: datetime, nano_usd: int, effective_date: str | None
) -> None:
    cost = book.cost(Usage(input_uncached=1000, output_text=500), models=["o3"], provider="openai", at=day)
    assert (cost.nano_usd, cost.effective_date) == (nano_usd, effective_date)


def test_a_cost_names_its_source_model_and_version(book: PriceBook, now: datetime) -> None:
    cost = book.cost(BASIC, models=["gpt-4o-mini-2024-07-18"], provider="openai", at=now)
    assert (cost.model, cost.version) == ("gpt-4o-mini", book.version)
    assert cost.components == {"input_uncached": 150_000, "output_text": 300_000}


def test_a_price_that_we_had_to_add_shows_in_the_version(book: PriceBook, now: datetime) -> None:
    kept_long = Usage.from_totals(input_tokens=1000, output_tokens=500, cache_write_12h=10)
    cost = book.cost(kept_long, models=["gpt-5.6"], provider="openai", at=now)
    assert cost.version == f"{book.version}, gaps 2026-11-21"
    assert cost.effective_date == "2026-08-21"
    assert book.cost(BASIC, models=["gpt-5.6"], provider="openai", at=now).version == book.version


@pytest.mark.parametrize(("input_tokens", "nano_usd"), [(272_000, 1_360_000_000), (272_001, 2_720_010_000)])
def test_a_long_context_step_begins_above_its_threshold(
    book: PriceBook, now: datetime, input_tokens: int, nano_usd: int
) -> None:
    usage = Usage.from_totals(input_tokens=input_tokens, output_tokens=0)
    assert book.cost(usage, models=["gpt-5.5"], provider="openai", at=now).nano_usd == nano_usd
