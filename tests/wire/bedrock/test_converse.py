from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from proxy.records import ToolCall
from proxy.wire import read
from tests.wire.bedrock.exchanges import HAIKU, bedrock, event, failure, read_bedrock
from tests.wire.exchanges import captured

REQUEST = {
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
    "messages": [
        {"role": "user", "content": [{"text": "Weather?"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "get", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "Sun"}, {"json": {}}]}}]},
    ],
}
USAGE = {
    "inputTokens": 500,
    "outputTokens": 800,
    "totalTokens": 26300,
    "cacheReadInputTokens": 20000,
    "cacheWriteInputTokens": 5000,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 3000}, {"ttl": "1h", "inputTokens": 2000}],
}
ANSWER = {
    "metrics": {"latencyMs": 421},
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                {"text": "It is sunny."},
                {"toolUse": {"toolUseId": "t2", "name": "book", "input": {"day": 1}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": USAGE,
    "serviceTier": {"type": "default"},
    "performanceConfig": {"latency": "standard"},
}
START = event("messageStart", {"role": "assistant"})
THOUGHT = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}})
SIGNATURE = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}})
TEXT = event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "It is sunny."}})
TOOL = event("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t2", "name": "book"}}})
ARGUMENTS = [
    event("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": piece}}})
    for piece in ("", '{"day"', ":1}")
]
STOP = event("messageStop", {"stopReason": "tool_use"})
METADATA = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 421}, "serviceTier": {"type": "default"}})
STREAM = [START, THOUGHT, SIGNATURE, TEXT, TOOL, *ARGUMENTS, STOP, METADATA]


@pytest.mark.parametrize("name", ["bedrock_converse_stream", "bedrock_invoke"])
def test_the_sdks_own_bytes_are_read(name: str) -> None:
    reading = read(captured(name, wire="bedrock", provider="aws"))
    assert (reading.problems, reading.is_streaming) == ((), name.endswith("stream"))
    assert (reading.model, reading.input_text, reading.output_text) == (HAIKU, "hi", "Hello!")
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (8, 5)


@pytest.mark.parametrize(("action", "response"), [("converse", ANSWER), ("converse-stream", STREAM)])
def test_an_answer_reads_the_same_whole_and_streamed(action: str, response: Any) -> None:
    reading = read_bedrock(action, response, REQUEST)
    assert (reading.reader, reading.endpoint, reading.problems) == ("bedrock_converse/1", "converse", ())
    assert (reading.model_requested, reading.model) == (HAIKU, HAIKU)
    assert reading.input_text == "Be brief.\nWeather?\nSun"
    assert (reading.output_text, reading.reasoning_text) == ("It is sunny.", "Hm.")
    [call] = reading.tool_calls
    assert (call.name, call.id, call.arguments.replace(" ", "")) == ("book", "t2", '{"day":1}')
    assert (reading.finish_reasons, reading.service_tier) == (("tool_use",), "default")
    assert reading.is_streaming == (action == "converse-stream")
    usage = reading.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (25500, 800)
    assert (usage.input_uncached, usage.cache_read, usage.cache_write) == (500, 20000, UNSET)
    assert (usage.cache_write_5m, usage.cache_write_1h) == (3000, 2000)


def test_the_first_token_is_a_thought_and_what_a_person_sees_comes_later() -> None:
    reading = read_bedrock("converse-stream", STREAM, REQUEST)
    ends = [sum(map(len, STREAM[: number + 1])) for number in range(len(STREAM))]
    # Neither the start, a signature, empty arguments nor the end are output.
    assert (reading.first_token_offset, reading.first_visible_offset, reading.last_token_offset) == (
        ends[1],
        ends[3],
        ends[7],
    )
    assert reading.has_ended is True


def test_a_tools_name_is_output() -> None:
    reading = read_bedrock("converse-stream", [START, TOOL, ARGUMENTS[0]])
    assert reading.first_token_offset == reading.last_token_offset == len(START + TOOL)


@pytest.mark.parametrize("usage", [{}, {"cacheWriteInputTokens": 7}])
def test_caches_that_are_not_told_by_lifetime_stay_unsplit(usage: dict[str, int]) -> None:
    reading = read_bedrock("converse", {"usage": {"inputTokens": 10, "outputTokens": 1, **usage}})
    assert reading.usage is not None
    assert reading.usage.cache_write == usage.get("cacheWriteInputTokens")
    assert reading.usage.input_tokens == 10 + usage.get("cacheWriteInputTokens", 0)


def test_a_stream_cut_before_its_metadata_has_no_usage_and_no_end() -> None:
    reading = read_bedrock("converse-stream", STREAM[:-1])
    assert (reading.usage, reading.has_ended, reading.finish_reasons) == (None, False, ("tool_use",))
    assert reading.problems == ()


def test_an_exception_in_a_stream_is_its_end() -> None:
    reading = read_bedrock("converse-stream", [START, TEXT, failure("throttlingException", "Too many tokens")])
    assert (reading.error_type, reading.error_message) == ("throttlingException", "Too many tokens")
    assert (reading.has_ended, reading.output_text) == (True, "It is sunny.")


def test_a_damaged_frame_costs_its_own_content_and_is_noted() -> None:
    bad = bytearray(TEXT)
    bad[-5] ^= 1
    reading = read_bedrock("converse-stream", [START, THOUGHT, bytes(bad), STOP, METADATA])
    assert reading.problems == ("event_frame",)
    assert (reading.reasoning_text, reading.output_text) == ("Hm.", None)
    assert reading.usage is not None
    assert reading.has_ended is True


def test_the_end_of_a_long_stream_is_found_in_its_tail() -> None:
    stream = [START, *[TEXT] * 50, STOP, METADATA]
    reading = read_bedrock("converse-stream", stream, capture_limit=900)
    assert reading.problems == ("response_cut",)
    assert reading.usage is not None
    assert (reading.usage.output_tokens, reading.finish_reasons, reading.has_ended) == (800, ("tool_use",), True)
    assert reading.last_token_offset == sum(map(len, stream)) - len(STOP + METADATA)


@pytest.mark.parametrize(
    ("body", "headers", "kind", "message"),
    [
        (
            b'{"message":"m"}',
            {"x-amzn-ErrorType": "ThrottlingException:http://internal.amazon.com/"},
            "ThrottlingException",
            "m",
        ),
        (b'{"Message":"m"}', {"x-amzn-ErrorType": "AccessDeniedException"}, "AccessDeniedException", "m"),
        (b'{"__type":"aws.bedrock#ValidationException","message":"m"}', {}, "ValidationException", "m"),
        (b'{"message":"m"}', {}, None, "m"),
        (b"upstream connect error", {}, None, "upstream connect error"),
        (b'{"error":{"type":"budget","message":"m"}}', {}, "budget", "m"),
        (b"", {"x-amzn-ErrorType": "InternalServerException"}, "InternalServerException", None),
    ],
)
@pytest.mark.parametrize(
    "action", ["converse", "converse-stream", "invoke", "invoke-with-response-stream", "count-tokens"]
)
def test_errors_are_read_in_every_shape(
    action: str, body: bytes, headers: dict[str, str], kind: str | None, message: str | None
) -> None:
    reading = read_bedrock(action, body, headers=headers, status=400)
    assert (reading.error_type, reading.error_message, reading.usage) == (kind, message, None)
    assert (reading.model_requested, reading.is_streaming) == (HAIKU, False)


SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (HAIKU, HAIKU),
        (f"arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2F{SONNET}", SONNET),
        (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.{SONNET}", f"global.{SONNET}"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", None),
        ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123", None),
    ],
)
def test_the_model_is_the_name_under_which_it_is_sold(path: str, name: str | None) -> None:
    assert read_bedrock("converse", ANSWER, model=path).model == name


def test_a_router_tells_which_model_it_chose() -> None:
    router = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1"
    chosen = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}"
    answer = {**ANSWER, "trace": {"promptRouter": {"invokedModelId": chosen}}}
    reading = read_bedrock("converse", answer, model=router)
    assert (reading.model_requested, reading.model) == (router, f"us.{SONNET}")


def test_a_faster_tier_is_told() -> None:
    answer = {**ANSWER, "serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "optimized"}}
    reading = read_bedrock("converse", answer)
    assert (reading.service_tier, reading.speed) == ("flex", "optimized")


def test_citations_and_a_providers_tools_are_output() -> None:
    content = [
        {"citationsContent": {"content": [{"text": "Cited."}], "citations": []}},
        {"toolResult": {"toolUseId": "s1", "content": [{"text": "Found."}]}},
    ]
    assert read_bedrock("converse", {"output": {"message": {"content": content}}}).output_text == "Cited.\nFound."
    deltas: list[dict[str, Any]] = [{"citation": {"title": "t"}}, {"toolResult": [{"text": "Found."}]}]
    for delta in deltas:
        frame = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})
        assert read_bedrock("converse-stream", [START, frame]).first_token_offset == len(START + frame)


@given(st.binary(max_size=400))
def test_hostile_bytes_are_never_fatal(noise: bytes) -> None:
    for action, kind in (("converse", b"application/json"), ("converse-stream", b"application/vnd.amazon.eventstream")):
        reading = read(bedrock(action, noise, content_type=kind))
        assert "reader" not in reading.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    st.sampled_from(["output", "usage", "stopReason", "serviceTier", "trace", "delta", "start", "contentBlockIndex"]),
    JSON,
)
def test_odd_values_cost_only_themselves(field: str, value: Any) -> None:
    whole = read_bedrock("converse", {**ANSWER, field: value})
    streamed = read_bedrock(
        "converse-stream", [START, event("contentBlockDelta", {field: value}), TEXT, STOP, METADATA]
    )
    for reading in (whole, streamed):
        assert "reader" not in reading.problems
    assert "It is sunny." in (streamed.output_text or "")
    assert streamed.usage is not None
    assert streamed.usage.output_tokens == 800


def test_tool_calls_of_a_whole_answer_are_written_as_json() -> None:
    assert read_bedrock("converse", ANSWER).tool_calls == (ToolCall(0, "book", '{"day":1}', "t2"),)
