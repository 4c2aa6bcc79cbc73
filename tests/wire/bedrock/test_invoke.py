from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from pricing import Usage
from proxy.wire import read
from tests.wire.bedrock.exchanges import HAIKU, bedrock, chunk, event, failure, read_bedrock

COUNTS = {"x-amzn-bedrock-input-token-count": "11", "x-amzn-bedrock-output-token-count": "7"}
METRICS = {"inputTokenCount": 11, "outputTokenCount": 7, "invocationLatency": 90, "firstByteLatency": 40}
CLAUDE_REQUEST = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 100,
    "system": "Be brief.",
    "metadata": {"user_id": "u-1"},
    "messages": [{"role": "user", "content": "Hello"}],
}
CLAUDE_USAGE = {
    "input_tokens": 500,
    "cache_read_input_tokens": 20000,
    "cache_creation_input_tokens": 5000,
    "cache_creation": {"ephemeral_5m_input_tokens": 3000, "ephemeral_1h_input_tokens": 2000},
    "output_tokens": 1,
}
CLAUDE_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_bdrk_1", "type": "message", "model": "claude-haiku-4-5-20251001", "usage": CLAUDE_USAGE},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 800}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {**METRICS, "inputTokenCount": 500}},
]


def test_claude_is_read_like_anthropics_own_api() -> None:
    body = {
        "id": "msg_bdrk_1",
        "type": "message",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn",
        "usage": {**CLAUDE_USAGE, "output_tokens": 800},
    }
    whole = read_bedrock("invoke", body, CLAUDE_REQUEST, headers=COUNTS)
    streamed = read_bedrock("invoke-with-response-stream", list(map(chunk, CLAUDE_EVENTS)), CLAUDE_REQUEST)
    for reading in (whole, streamed):
        assert (reading.reader, reading.endpoint, reading.problems) == ("bedrock_invoke/1", "invoke", ())
        # The name in the path has the price of its region; the one in the answer has not.
        assert (reading.model_requested, reading.model) == (HAIKU, HAIKU)
        assert (reading.input_text, reading.user, reading.output_text) == ("Be brief.\nHello", "u-1", "Hi.")
        assert (reading.finish_reasons, reading.response_id) == (("end_turn",), "msg_bdrk_1")
        assert reading.usage == Usage(
            input_uncached=500, cache_read=20000, cache_write_5m=3000, cache_write_1h=2000, output_text=800
        )
    first = sum(len(chunk(each)) for each in CLAUDE_EVENTS[:3])
    assert (streamed.is_streaming, streamed.has_ended, streamed.first_token_offset) == (True, True, first)


def test_a_model_whose_path_says_nothing_is_the_one_that_answered() -> None:
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    reading = read_bedrock("invoke-with-response-stream", list(map(chunk, CLAUDE_EVENTS)), model=profile)
    assert (reading.model_requested, reading.model) == (profile, "claude-haiku-4-5-20251001")
    assert reading.output_text == "Hi."


def test_a_stream_that_fails_after_its_start_keeps_the_input() -> None:
    frames = [chunk(CLAUDE_EVENTS[0]), failure("modelStreamErrorException", "The model broke")]
    reading = read_bedrock("invoke-with-response-stream", frames, CLAUDE_REQUEST)
    assert (reading.error_type, reading.error_message) == ("modelStreamErrorException", "The model broke")
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.has_ended) == (25500, True)


FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "amazon.titan-text-lite-v1": (
        {"inputText": "Hello"},
        {"inputTextTokenCount": 11, "results": [{"tokenCount": 7, "outputText": "Hi.", "completionReason": "FINISH"}]},
        "FINISH",
    ),
    "meta.llama3-8b-instruct-v1:0": (
        {"prompt": "Hello"},
        {"generation": "Hi.", "prompt_token_count": 11, "generation_token_count": 7, "stop_reason": "stop"},
        "stop",
    ),
    "mistral.mistral-7b-instruct-v0:2": (
        {"prompt": "Hello"},
        {"outputs": [{"text": "Hi.", "stop_reason": "stop"}]},
        "stop",
    ),
    "mistral.mistral-large-2402-v1:0": (
        {"messages": [{"role": "user", "content": "Hello"}]},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "stop_reason": "stop"}]},
        "stop",
    ),
    "openai.gpt-oss-20b-1:0": (
        {"messages": [{"role": "user", "content": "Hello"}]},
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        },
        "stop",
    ),
    "deepseek.r1-v1:0": ({"prompt": "Hello"}, {"choices": [{"text": "Hi.", "stop_reason": "stop"}]}, "stop"),
    "cohere.command-r-v1:0": (
        {"message": "Hello"},
        {"text": "Hi.", "generation_id": "g", "finish_reason": "COMPLETE", "chat_history": []},
        "COMPLETE",
    ),
    "cohere.command-text-v14": (
        {"prompt": "Hello"},
        {"id": "g", "generations": [{"id": "g", "text": "Hi.", "finish_reason": "COMPLETE"}], "prompt": "Hello"},
        "COMPLETE",
    ),
    "amazon.nova-lite-v1:0": (
        {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18},
        },
        "end_turn",
    ),
}


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("has_headers", [True, False])
def test_every_family_is_read(model: str, has_headers: bool) -> None:
    request, body, reason = FAMILIES[model]
    reading = read_bedrock("invoke", body, request, model=model, headers=COUNTS if has_headers else {})
    assert (reading.input_text, reading.output_text, reading.finish_reasons) == ("Hello", "Hi.", (reason,))
    assert (reading.model, reading.problems, reading.is_streaming) == (model, (), False)
    counts = reading.usage and (reading.usage.input_tokens, reading.usage.output_tokens)
    says_nothing = model.startswith(("mistral.", "deepseek.", "cohere."))
    assert counts == (None if says_nothing and not has_headers else (11, 7))
    assert (reading.usage_raw is None) == (counts is None)


STREAMS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "amazon.titan-text-lite-v1": (
        [
            {
                "outputText": "Hi",
                "index": 0,
                "totalOutputTextTokenCount": 3,
                "completionReason": None,
                "inputTextTokenCount": 11,
            },
            {
                "outputText": ".",
                "index": 0,
                "totalOutputTextTokenCount": 7,
                "completionReason": "FINISH",
                "inputTextTokenCount": None,
            },
        ],
        "FINISH",
    ),
    "meta.llama3-8b-instruct-v1:0": (
        [
            {"generation": "", "prompt_token_count": 11, "generation_token_count": 0, "stop_reason": None},
            {"generation": "Hi", "prompt_token_count": None, "generation_token_count": 3, "stop_reason": None},
            {"generation": ".", "prompt_token_count": None, "generation_token_count": 7, "stop_reason": "stop"},
        ],
        "stop",
    ),
    "mistral.mistral-7b-instruct-v0:2": (
        [
            {"outputs": [{"text": "Hi", "stop_reason": None}]},
            {"outputs": [{"text": ".", "stop_reason": "stop"}]},
        ],
        "stop",
    ),
    "cohere.command-r-v1:0": (
        [
            {"text": "Hi", "is_finished": False, "event_type": "text-generation"},
            {"text": ".", "is_finished": False, "event_type": "text-generation"},
            {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"text": "Hi."}},
        ],
        "COMPLETE",
    ),
    "openai.gpt-oss-20b-1:0": (
        [
            {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]},
            {"id": "c", "choices": [{"index": 0, "delta": {"content": "."}, "finish_reason": "stop"}]},
        ],
        "stop",
    ),
    "amazon.nova-lite-v1:0": (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}},
            {"contentBlockDelta": {"delta": {"text": "."}, "contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18}, "metrics": {}}},
        ],
        "end_turn",
    ),
}


@pytest.mark.parametrize("model", STREAMS)
def test_every_familys_stream_is_read(model: str) -> None:
    own, reason = STREAMS[model]
    own = [*own[:-1], {**own[-1], "amazon-bedrock-invocationMetrics": METRICS}]
    frames = list(map(chunk, own))
    reading = read_bedrock("invoke-with-response-stream", frames, FAMILIES[model][0], model=model)
    assert (reading.output_text, reading.finish_reasons, reading.problems) == ("Hi.", (reason,), ())
    assert (reading.is_streaming, reading.has_ended, reading.model) == (True, True, model)
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (11, 7)
    first = next(number for number, each in enumerate(own) if "Hi" in str(each))
    assert reading.first_token_offset == sum(map(len, frames[: first + 1]))
    # Without its last chunk a stream has not ended.
    assert read_bedrock("invoke-with-response-stream", frames[:-1], model=model).has_ended is False


@pytest.mark.parametrize(
    ("model", "request_body", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "Hello"}, {"embedding": [0.1], "inputTextTokenCount": 11}),
        (
            "cohere.embed-english-v3",
            {"texts": ["Hello"], "input_type": "search_query"},
            {"embeddings": [[0.1]], "id": "e"},
        ),
    ],
)
def test_embeddings_have_no_output(model: str, request_body: dict[str, Any], body: dict[str, Any]) -> None:
    headers = {"x-amzn-bedrock-input-token-count": "11"}
    reading = read_bedrock("invoke", body, request_body, model=model, headers=headers)
    assert reading.usage == Usage(input_uncached=11)
    assert reading.usage.output_text is UNSET
    assert (reading.input_text, reading.output_text) == ("Hello", None)


def test_events_that_are_no_chunks_are_passed_over() -> None:
    frames = [event("initial-response", {}), *map(chunk, CLAUDE_EVENTS)]
    reading = read_bedrock("invoke-with-response-stream", frames, CLAUDE_REQUEST)
    assert (reading.output_text, reading.problems, reading.has_ended) == ("Hi.", (), True)


def test_what_the_headers_say_of_caches_tier_and_speed_is_read() -> None:
    headers = {
        **COUNTS,
        "X-Amzn-Bedrock-Cache-Read-Input-Token-Count": "100",
        "X-Amzn-Bedrock-Cache-Write-Input-Token-Count": "50",
        "X-Amzn-Bedrock-Service-Tier": "flex",
        "X-Amzn-Bedrock-PerformanceConfig-Latency": "optimized",
    }
    reading = read_bedrock("invoke", {"outputs": [{"text": "Hi."}]}, {"prompt": "Hello"}, headers=headers)
    assert reading.usage == Usage(input_uncached=11, cache_read=100, cache_write=50, output_text=7)
    assert (reading.service_tier, reading.speed) == ("flex", "optimized")


@pytest.mark.parametrize("count", ["-1", "1e3", "", "9" * 40])
def test_an_odd_count_in_a_header_is_unknown(count: str) -> None:
    headers = {"x-amzn-bedrock-input-token-count": count}
    assert read_bedrock("invoke", {"outputs": []}, headers=headers).usage is None


@given(st.binary(max_size=300), st.sampled_from(["invoke", "invoke-with-response-stream"]))
def test_hostile_bytes_are_never_fatal(noise: bytes, action: str) -> None:
    kind = b"application/vnd.amazon.eventstream" if "stream" in action else b"application/json"
    packed = event("chunk", {"bytes": base64.b64encode(noise).decode()})
    for body in (noise, packed, event("chunk", {"bytes": 7}), event("chunk", {"bytes": "?"})):
        assert "reader" not in read(bedrock(action, body, content_type=kind)).problems


SCALARS = st.none() | st.integers() | st.text(max_size=4)
JSON = st.recursive(SCALARS, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=4), i, max_size=3))
FIELDS = ["type", "output", "choices", "outputs", "results", "messageStart", "amazon-bedrock-invocationMetrics", "text"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_odd_bodies_are_never_fatal(own: dict[str, Any]) -> None:
    assert "reader" not in read_bedrock("invoke", own).problems
    assert "reader" not in read_bedrock("invoke-with-response-stream", [chunk(own), chunk(own)]).problems
