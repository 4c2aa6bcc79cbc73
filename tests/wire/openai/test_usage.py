from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.providers import PROVIDERS
from proxy.records import Reading
from proxy.wire import read
from proxy.wire.openai.usage import REASONING_APART
from tests.wire.exchanges import make_exchange


def reading_of(usage: Any, provider: str | None = "openai", path: str = "/chat/completions") -> Reading:
    raw = usage if isinstance(usage, str) else json.dumps(usage)
    return read(make_exchange({}, b'{"choices":[],"usage":' + raw.encode() + b"}", provider=provider, path=path))


def usage_of(usage: Any, provider: str | None = "openai", path: str = "/chat/completions") -> Usage:
    reading = reading_of(usage, provider, path)
    assert reading.problems == ()
    assert reading.usage is not None
    return reading.usage


PLAIN = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def test_a_total_without_its_split_is_exact_and_the_split_unknown() -> None:
    usage = usage_of(PLAIN)
    assert (usage.input_tokens, usage.output_tokens) == (100, 50)
    assert (usage.cached_input_tokens, usage.reasoning_tokens, usage.cache_write_tokens) == (None, None, None)
    assert (usage.input_uncached, usage.output_text) == (100, 50)


def test_openai_details_are_parts_of_the_totals() -> None:
    usage = usage_of(
        {
            **PLAIN,
            "prompt_tokens_details": {
                "cached_tokens": 30,
                "cache_write_tokens": 20,
                "audio_tokens": 10,
                "image_tokens": 5,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 25,
                "audio_tokens": 5,
                "accepted_prediction_tokens": 3,
                "rejected_prediction_tokens": 2,
            },
        }
    )
    assert usage == Usage(
        input_uncached=35,
        cache_read=30,
        cache_write=20,
        input_audio=10,
        input_image=5,
        output_text=20,
        output_reasoning=25,
        output_audio=5,
        accepted_prediction=3,
        rejected_prediction=2,
    )
    assert (usage.input_tokens, usage.output_tokens) == (100, 50)


def test_cache_writes_are_split_by_lifetime_where_it_is_told() -> None:
    split = {"ttl_30m_tokens": 10, "ttl_12h_tokens": 5}
    details = {"cached_tokens": 0, "cache_write_tokens": 20, "cache_write_tokens_details": split}
    usage = usage_of({"input_tokens": 100, "output_tokens": 1, "input_tokens_details": details}, path="/responses")
    assert (usage.cache_write_30m, usage.cache_write_12h, usage.cache_write) == (10, 5, 5)
    assert (usage.cache_write_tokens, usage.input_uncached) == (20, 80)


def test_deepseek_counts_hits_and_misses() -> None:
    hits = {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}
    assert usage_of({**PLAIN, **hits}, "deepseek").cache_read == 64
    assert usage_of({"completion_tokens": 1, **hits}, "deepseek").input_tokens == 100


@pytest.mark.parametrize(
    ("total", "provider", "output"),
    [
        (450, "x-ai", 350),  # the total includes the reasoning, the completion does not
        (450, None, 350),
        (150, "x-ai", 50),  # should xAI ever change its mind, its own total says so
        (150, "openai", 50),
        (None, "x-ai", 350),
        (None, "openai", 50),
    ],
)
def test_reasoning_counted_apart_is_added_to_the_output(total: int | None, provider: str | None, output: int) -> None:
    details = {"reasoning_tokens": 300 if output == 350 else 20}
    usage = usage_of({**PLAIN, "total_tokens": total, "completion_tokens_details": details}, provider)
    assert usage.output_tokens == output
    assert usage.reasoning_tokens == details["reasoning_tokens"]


def test_the_table_of_providers_and_the_reader_agree_on_who_counts_reasoning_apart() -> None:
    assert {row.price_id for row in PROVIDERS.values() if row.is_reasoning_apart} == REASONING_APART


def test_mistral_counts_audio_by_the_second() -> None:
    assert usage_of({**PLAIN, "prompt_audio_seconds": 7}, "mistral").input_audio_ms == 7000


def test_perplexity_counts_searches_citations_and_reasoning_apart() -> None:
    extras = {"citation_tokens": 10, "reasoning_tokens": 40, "num_search_queries": 3, "cost": {"total_cost": 0.0123}}
    usage = usage_of({**PLAIN, **extras}, "perplexity")
    assert (usage.output_tokens, usage.output_text, usage.output_citation) == (100, 50, 10)
    assert (usage.web_searches, usage.reported_cost_nano_usd) == (3, 12_300_000)


@pytest.mark.parametrize(
    ("fields", "provider", "nano_usd"),
    [
        ('"cost":0.00014500', "openrouter", 145_000),
        ('"cost":0', "openrouter", 0),
        ('"cost":1e-9', "openrouter", 1),
        ('"cost":0.001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.02}', "openrouter", 21_000_000),
        ('"cost":0.001,"is_byok":false,"cost_details":{"upstream_inference_cost":0.02}', "openrouter", 1_000_000),
        ('"cost_in_usd_ticks":37756000', "x-ai", 3_775_600),
        ('"cost":0.5', None, 500_000_000),
        ('"cost":0.5', "openai", None),  # nobody's currency
        ('"cost":-1', "openrouter", None),
        ('"cost":1e308', "openrouter", None),
        ('"cost":null', "openrouter", None),
    ],
)
def test_a_reported_cost_is_exact_or_unknown(fields: str, provider: str | None, nano_usd: int | None) -> None:
    usage = usage_of('{"prompt_tokens":1,"completion_tokens":1,' + fields + "}", provider)
    assert usage.reported_cost_nano_usd == nano_usd


def test_openrouter_counts_searches() -> None:
    assert usage_of({**PLAIN, "server_tool_use_details": {"web_search_requests": 2}}, "openrouter").web_searches == 2


def test_embeddings_have_no_output() -> None:
    usage = usage_of({"prompt_tokens": 8, "total_tokens": 8}, path="/embeddings")
    assert usage == Usage(input_uncached=8, cache_read=None)
    assert usage_of({"total_tokens": 8}, path="/embeddings").input_tokens == 8


@pytest.mark.parametrize(
    "odd", ["-1", '"12"', "1e308", "12.5", "true", "[]", "{}", "9" * 5000, '"\\ud800"', "99999999999999999999"]
)
def test_an_implausible_count_is_unknown_and_named_and_the_others_stay(odd: str) -> None:
    reading = reading_of(
        '{"prompt_tokens":' + odd + ',"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":3}}'
    )
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (None, 7)
    assert reading.usage.cache_read == 3
    assert reading.problems == ("usage",)


def test_not_a_number_breaks_only_its_own_count() -> None:
    reading = reading_of('{"prompt_tokens":NaN,"completion_tokens":7}')
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.problems) == (None, 7, ("usage",))


@pytest.mark.parametrize("usage", ["[]", '"free"', "5", "{}", '{"prompt_tokens":null}'])
def test_a_usage_that_says_nothing_is_no_usage(usage: str) -> None:
    reading = reading_of(usage)
    assert (reading.usage, reading.problems) == (None, ("usage",))


def test_no_usage_is_no_problem() -> None:
    reading = reading_of("null")
    assert (reading.usage, reading.usage_raw, reading.problems) == (None, None, ())


def test_parts_larger_than_their_total_are_unknown_and_the_total_stays() -> None:
    reading = reading_of({**PLAIN, "prompt_tokens_details": {"cached_tokens": 101}})
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.cached_input_tokens) == (100, None)
    assert reading.problems == ("usage",)


def test_the_raw_usage_is_the_providers_own_bytes() -> None:
    raw = '{ "completion_tokens":7,\n"prompt_tokens" : 5, "unheard_of": {"a":[1.50, "\\u00e9"]} }'
    assert reading_of(raw).usage_raw == raw.encode()


NAMES = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cost",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "reasoning_tokens",
        "audio_tokens",
        "cost_in_usd_ticks",
        "cache_write_tokens",
        "is_byok",
        "citation_tokens",
    ]
)
ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=5))


@given(st.dictionaries(NAMES, TREES, max_size=8), st.sampled_from(["openai", "openrouter", "x-ai", "perplexity", None]))
def test_no_usage_object_raises_or_makes_a_negative_count(usage: dict[str, Any], provider: str | None) -> None:
    reading = reading_of(usage, provider)
    assert "reader" not in reading.problems
    if reading.usage is not None:
        counts = [reading.usage.count(bucket) for bucket in (*Usage.INPUT, *Usage.OUTPUT)]
        assert all(count >= 0 for count in counts if isinstance(count, int))
