"""Which bucket every token of Gemini falls into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.records import Reading
from tests.wire.gemini.answers import STREAM, answer, events, read


def usage_of(**metadata: Any) -> Usage:
    usage = read(answer({"text": "Hi"}, finish="STOP", usageMetadata=metadata)).usage
    assert usage is not None
    return usage


def split(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": name.upper(), "tokenCount": count} for name, count in tokens.items()]


def test_the_cache_is_within_the_prompt_and_the_thoughts_beside_the_answer() -> None:
    usage = usage_of(
        promptTokenCount=100,
        cachedContentTokenCount=60,
        candidatesTokenCount=7,
        thoughtsTokenCount=30,
        totalTokenCount=137,
    )
    assert (usage.input_uncached, usage.cache_read, usage.output_text, usage.output_reasoning) == (40, 60, 7, 30)
    assert (usage.input_tokens, usage.output_tokens) == (100, 37)


def test_what_tools_read_is_input_beside_the_prompt() -> None:
    usage = usage_of(promptTokenCount=10, toolUsePromptTokenCount=90, candidatesTokenCount=5, totalTokenCount=105)
    assert (usage.input_tokens, usage.output_tokens) == (100, 5)


def test_sound_that_was_not_cached_stays_uncached_when_only_text_was() -> None:
    usage = usage_of(
        promptTokenCount=6000,
        promptTokensDetails=split(text=5000, audio=1000),
        cachedContentTokenCount=2000,
        cacheTokensDetails=split(text=2000),
        candidatesTokenCount=300,
        thoughtsTokenCount=700,
    )
    assert (usage.input_uncached, usage.cache_read, usage.input_audio) == (3000, 2000, 1000)
    assert usage.count("cache_read_audio") is not None, "not applicable, and not unknown"
    assert (usage.output_text, usage.output_reasoning) == (300, 700)


def test_cached_sound_pictures_and_videos_are_told_apart() -> None:
    usage = usage_of(
        promptTokenCount=1000,
        promptTokensDetails=split(text=400, audio=300, video=200, image=100),
        cachedContentTokenCount=450,
        cacheTokensDetails=split(text=100, audio=200, video=150),
        candidatesTokenCount=1,
    )
    assert (usage.input_uncached, usage.cache_read) == (300, 100)
    assert (usage.input_audio, usage.cache_read_audio) == (100, 200)
    assert (usage.input_video, usage.cache_read_video) == (50, 150)
    assert usage.input_image == 100
    assert usage.cached_input_tokens == 450


def test_text_is_taken_to_be_cached_first_when_nobody_says_what_was() -> None:
    usage = usage_of(
        promptTokenCount=1000,
        promptTokensDetails=split(text=300, audio=700),
        cachedContentTokenCount=500,
        candidatesTokenCount=1,
    )
    assert (usage.input_uncached, usage.cache_read) == (0, 300)
    assert (usage.input_audio, usage.cache_read_audio) == (500, 200)


def test_a_document_counts_as_a_picture() -> None:
    usage = usage_of(promptTokenCount=300, promptTokensDetails=split(text=42, document=258), candidatesTokenCount=1)
    assert (usage.input_uncached, usage.input_image) == (42, 258)


def test_written_pictures_and_sound_are_parts_of_the_answer() -> None:
    usage = usage_of(
        promptTokenCount=10,
        candidatesTokenCount=1400,
        candidatesTokensDetails=split(text=10, image=1290, audio=100),
    )
    assert (usage.output_text, usage.output_image, usage.output_audio) == (10, 1290, 100)


def test_an_answer_that_was_all_thoughts_has_no_text() -> None:
    usage = usage_of(promptTokenCount=10, thoughtsTokenCount=90, totalTokenCount=100)
    assert (usage.output_text, usage.output_reasoning, usage.output_tokens) == (0, 90, 90)


def test_a_blocked_prompt_has_no_output() -> None:
    reading = read(
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}}
    )
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (8, 0)
    assert reading.finish_reasons == ("SAFETY",)


def test_an_answer_that_nobody_counted_is_unknown_and_not_nothing() -> None:
    usage = usage_of(promptTokenCount=8)
    assert (usage.input_tokens, usage.output_tokens) == (8, None)
    assert usage_of(promptTokenCount=8, totalTokenCount=20).output_tokens == 12


def test_the_largest_of_every_count_in_a_stream_counts() -> None:
    stream = events(
        answer({"text": "a"}, usageMetadata={"promptTokenCount": 30, "thoughtsTokenCount": 40}),
        answer({"text": "b"}, usageMetadata={"promptTokenCount": 30, "candidatesTokenCount": 9}),
        answer({"text": "c"}, finish="STOP", usageMetadata={"promptTokenCount": 25, "candidatesTokenCount": 12}),
    )
    usage = read(stream, path=STREAM).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_text, usage.output_reasoning) == (30, 12, 40)


@pytest.mark.parametrize(
    ("metadata", "tier"),
    [
        ({"serviceTier": "SERVICE_TIER_FLEX"}, "flex"),
        ({"serviceTier": "priority"}, "priority"),
        ({"serviceTier": "unspecified"}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned"),
        ({"trafficType": "ON_DEMAND_OFFPEAK"}, "on_demand_offpeak"),
    ],
)
def test_the_tier_is_the_one_that_prices_know(metadata: dict[str, str], tier: str | None) -> None:
    reading = read(answer({"text": "Hi"}, usageMetadata={"promptTokenCount": 1} | metadata))
    assert reading.service_tier == tier


def grounded(model: str, *queries: str, images: tuple[str, ...] = ()) -> Reading:
    made = answer({"text": "Hi"}, finish="STOP", usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 1})
    made["modelVersion"] = model
    made["candidates"][0]["groundingMetadata"] = {"webSearchQueries": list(queries), "imageSearchQueries": list(images)}
    return read(made)


def test_searches_are_counted_as_the_model_bills_them() -> None:
    def searches(reading: Reading) -> object:
        assert reading.usage is not None
        return reading.usage.count("web_searches")

    assert searches(grounded("gemini-2.5-flash", "a", "b", "c")) == 1, "billed by the prompt"
    assert searches(grounded("gemini-3-flash-preview", "a", "b", "", images=("c",))) == 3, "billed by the query"
    assert not isinstance(searches(grounded("gemini-3-flash-preview", "")), int), "an empty query is none"


def test_a_query_that_is_repeated_by_every_event_was_made_once() -> None:
    piece = answer({"text": "a"}, finish="STOP", usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 1})
    piece["modelVersion"] = "gemini-3-pro-preview"
    piece["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b"]}
    usage = read(events(piece, piece, piece), path=STREAM).usage
    assert usage is not None
    assert usage.count("web_searches") == 2


@pytest.mark.parametrize("count", [-5, 10**30, "7", 1.5, True, [], {}])
def test_a_count_that_cannot_be_one_is_unknown(count: Any) -> None:
    reading = read(answer({"text": "Hi"}, usageMetadata={"promptTokenCount": count, "candidatesTokenCount": 3}))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (None, 3)
    assert "usage.promptTokenCount" in reading.problems


Counts = st.one_of(st.none(), st.integers(0, 10**6))
Split = st.none() | st.dictionaries(
    st.sampled_from(["text", "audio", "image", "video", "document", "odd"]), st.integers(0, 10**6)
)


@given(Counts, Counts, Counts, Counts, Counts, Split, Split, Split)
def test_totals_come_out_as_reported_and_no_bucket_is_negative(
    prompt: int | None,
    cached: int | None,
    written: int | None,
    thoughts: int | None,
    tools: int | None,
    read_parts: dict[str, int] | None,
    cached_parts: dict[str, int] | None,
    written_parts: dict[str, int] | None,
) -> None:
    counts = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": written,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tools,
        "promptTokensDetails": None if read_parts is None else split(**read_parts),
        "cacheTokensDetails": None if cached_parts is None else split(**cached_parts),
        "candidatesTokensDetails": None if written_parts is None else split(**written_parts),
    }
    usage = usage_of(**{name: value for name, value in counts.items() if value is not None})
    assert usage.input_tokens == (None if prompt is None else prompt + (tools or 0))
    if written is not None or thoughts is not None:
        assert usage.output_tokens == (written or 0) + (thoughts or 0)
    for bucket in (*Usage.INPUT, *Usage.OUTPUT):
        count = usage.count(bucket)
        assert not isinstance(count, int) or count >= 0
