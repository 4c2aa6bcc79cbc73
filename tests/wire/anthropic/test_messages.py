from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.records import Reading, ToolCall
from proxy.wire import read, token_times
from tests.wire.anthropic.messages import (
    CASE_5,
    MODEL,
    PING,
    REQUEST,
    STOP,
    block,
    delta,
    events,
    exchange,
    finish,
    read_message,
    start,
)
from tests.wire.exchanges import captured

brotli = pytest.importorskip("brotli")
SAID = [
    start({**CASE_5, "output_tokens": 1}),
    block(0, "thinking", thinking="", signature=""),
    PING,
    delta(0, "thinking", thinking="Hm."),
    delta(0, "signature", signature="c2ln"),
    {"type": "content_block_stop", "index": 0},
    block(1, "text", text=""),
    delta(1, "text", text="It is "),
    delta(1, "text", text="sunny."),
    block(2, "tool_use", id="t1", name="book", input={}),
    delta(2, "input_json", partial_json=""),
    delta(2, "input_json", partial_json='{"day"'),
    delta(2, "input_json", partial_json=":1}"),
    finish({"output_tokens": 800, "output_tokens_details": {"thinking_tokens": 300}}, "tool_use"),
    STOP,
]
WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "text", "text": "It is sunny.", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "book", "input": {"day": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {**CASE_5, "output_tokens": 800, "output_tokens_details": {"thinking_tokens": 300}},
}
USAGE = Usage(
    input_uncached=500,
    cache_read=20000,
    cache_write_5m=3000,
    cache_write_1h=2000,
    output_text=500,
    output_reasoning=300,
)


def end_of(said: list[dict[str, Any]], number: int) -> int:
    """Return the offset at which that event was complete."""
    return len(events(*said[: number + 1]))


def test_the_sdks_own_bytes_are_read() -> None:
    reading = read(captured("anthropic_messages_stream", wire="anthropic", provider="anthropic"))
    assert (reading.reader, reading.problems, reading.is_streaming) == ("anthropic_messages/1", (), True)
    assert (reading.model_requested, reading.model, reading.input_text) == ("claude-sonnet-4-5", MODEL, "hi")
    assert (reading.output_text, reading.finish_reasons, reading.has_ended) == ("Hello!", ("max_tokens",), True)
    assert reading.usage == Usage(input_uncached=8, cache_read=0, cache_write_5m=0, cache_write_1h=0, output_text=5)


@pytest.mark.parametrize("response", [WHOLE, events(*SAID)])
def test_a_message_reads_the_same_whole_and_streamed(response: Any) -> None:
    reading = read_message(response, {**REQUEST, "stream": isinstance(response, bytes)})
    assert (reading.reader, reading.endpoint, reading.problems) == ("anthropic_messages/1", "messages", ())
    assert (reading.model_requested, reading.model, reading.user) == ("claude-sonnet-4-5", MODEL, "u-1")
    assert (reading.response_id, reading.finish_reasons) == ("msg_1", ("tool_use",))
    assert reading.input_text == "Be brief.\nWeather?\nSun"
    assert (reading.output_text, reading.reasoning_text) == ("It is sunny.", "Hm.")
    assert reading.tool_calls == (ToolCall(0, "book", '{"day":1}', "t1"),)
    assert (reading.usage, reading.charges) == (USAGE, ())
    assert (reading.service_tier, reading.region, reading.processing) == ("standard", None, None)
    assert (reading.is_streaming, reading.has_ended) == ((True, True) if isinstance(response, bytes) else (False, None))


def test_the_first_token_is_a_thought_and_neither_a_ping_nor_a_signature() -> None:
    reading = read_message(events(*SAID))
    assert reading.first_token_offset == end_of(SAID, 3)
    assert reading.first_visible_offset == end_of(SAID, 7)
    assert reading.last_token_offset == end_of(SAID, 12)


@pytest.mark.parametrize(
    "said",
    [
        block(0, "tool_use", id="t", name="f", input={}),
        block(0, "server_tool_use", id="t", name="web_search", input={}),
        delta(0, "input_json", partial_json="{"),
        delta(0, "text", text="a"),
        delta(0, "citations", citation={"type": "char_location"}),
    ],
)
def test_what_a_person_or_a_program_sees_is_output(said: dict[str, Any]) -> None:
    whole = [start(), PING, said]
    reading = read_message(events(*whole))
    assert reading.first_token_offset == reading.first_visible_offset == end_of(whole, 2)


@pytest.mark.parametrize(
    "said",
    [
        block(0, "text", text=""),
        delta(0, "text", text=""),
        delta(0, "input_json", partial_json=""),
        PING,
        finish(),
        STOP,
    ],
)
def test_what_holds_no_output_is_none(said: dict[str, Any]) -> None:
    assert read_message(events(start(), said)).first_token_offset is None


@pytest.mark.parametrize(
    "reason", ["max_tokens", "pause_turn", "refusal", "stop_sequence", "model_context_window_exceeded"]
)
def test_every_stop_reason_is_told(reason: str) -> None:
    assert read_message(events(start(), finish(reason=reason), STOP)).finish_reasons == (reason,)
    assert read_message({**WHOLE, "stop_reason": reason}).finish_reasons == (reason,)


def test_an_error_after_the_start_keeps_the_input_that_was_billed() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    reading = read_message(events(start({"input_tokens": 25, "output_tokens": 1}), delta(0, "text", text="It"), error))
    assert (reading.error_type, reading.error_message, reading.has_ended) == ("overloaded_error", "Overloaded", True)
    assert reading.usage == Usage(input_uncached=25, cache_read=None, cache_write=None, output_text=1)
    assert (reading.output_text, reading.response_id) == ("It", "msg_1")


def test_a_stream_that_breaks_off_has_no_end() -> None:
    reading = read_message(events(*SAID[:-2]))
    assert (reading.has_ended, reading.output_text, reading.finish_reasons) == (False, "It is sunny.", ())
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (25500, 1)


def test_half_of_a_tools_arguments_is_kept() -> None:
    reading = read_message(events(*SAID[:12]))
    assert reading.tool_calls == (ToolCall(0, "book", '{"day"', "t1"),)


def test_search_results_and_their_tools_are_read() -> None:
    said = [
        start(),
        block(0, "server_tool_use", id="s1", name="web_search", input={}),
        delta(0, "input_json", partial_json='{"query":"x"}'),
        block(
            1,
            "web_search_tool_result",
            tool_use_id="s1",
            content=[{"type": "web_search_result", "title": "t", "url": "u"}],
        ),
        block(2, "text", text=""),
        delta(2, "citations", citation={"type": "web_search_result_location", "cited_text": "c"}),
        delta(2, "text", text="Found."),
        finish({"output_tokens": 7, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}),
        STOP,
    ]
    reading = read_message(events(*said))
    assert (reading.output_text, reading.problems) == ("Found.", ())
    assert reading.tool_calls == (ToolCall(0, "web_search", '{"query":"x"}', "s1"),)
    assert reading.usage is not None
    assert reading.usage.web_searches == 2


def test_the_first_output_is_timed_through_a_compressed_stream() -> None:
    packer = gzip.compress
    first, rest = events(*SAID[:4]), events(*SAID[4:])
    body = packer(first) + packer(rest)
    made = exchange(
        body, content_type=b"text/event-stream", coding=b"gzip", times=((len(packer(first)), 100), (len(body), 900))
    )
    assert token_times(made, read(made)) == (100, 900, 900)


@pytest.mark.parametrize("wire", ["vertex", "openai", "bedrock", "ollama", "azure"])
def test_other_wires_speak_the_same_messages(wire: str) -> None:
    assert read_message(events(*SAID), wire=wire).usage == USAGE


def test_vertex_names_the_model_in_its_path() -> None:
    path = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"
    request = {"anthropic_version": "vertex-2023-10-16", "messages": REQUEST["messages"], "stream": True}
    reading = read_message(events(*SAID), request, wire="vertex", path=path)
    assert (reading.model_requested, reading.model) == ("claude-sonnet-4-5@20250929", MODEL)
    assert (reading.usage, reading.is_streaming) == (USAGE, True)


CODERS: dict[bytes, Any] = {
    b"gzip": gzip.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
}
SHAPES = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6)


def reading_of(body: bytes, **changes: Any) -> Reading:
    return read_message(body, content_type=b"text/event-stream", **changes)


@given(TEXTS, SHAPES, st.sampled_from(sorted(CODERS)), st.booleans())
def test_line_ends_comments_and_codings_change_nothing(
    texts: list[str], end: str, coding: bytes, has_comments: bool
) -> None:
    said = [start(), *(delta(0, "text", text=text) for text in texts), finish(), STOP]
    body = events(*said, end=end)
    if has_comments:
        body = body.replace(b"event: content", b": kept alive" + end.encode() + b"event: content")
    plain = reading_of(body)
    assert (plain.output_text, plain.problems, plain.has_ended) == (
        "".join(texts).replace("\0", "\ufffd") or None,
        (),
        True,
    )
    assert reading_of(CODERS[coding](body), coding=coding) == plain


@given(st.integers(0, 2000))
def test_wherever_a_stream_is_cut_nothing_is_invented(length: int) -> None:
    body = events(*SAID)[:length]
    reading = reading_of(body)
    assert "reader" not in reading.problems
    assert "It is sunny.".startswith(reading.output_text or "")
    if reading.usage is not None:
        assert reading.usage.input_tokens in (25500, None)


@given(st.integers(100, 700))
def test_the_middle_of_a_long_stream_may_be_missing(limit: int) -> None:
    said = [
        start({**CASE_5, "output_tokens": 1}),
        *(delta(0, "text", text="word ") for _ in range(50)),
        finish({"output_tokens": 800}),
        STOP,
    ]
    reading = reading_of(events(*said), capture_limit=max(limit, len(events(said[0]))))
    assert (reading.problems, reading.has_ended, reading.finish_reasons) == (("response_cut",), True, ("end_turn",))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (25500, 800)


@given(st.binary(max_size=300))
def test_hostile_bytes_are_never_fatal(noise: bytes) -> None:
    for changes in ({"content_type": b"text/event-stream"}, {"content_type": b"application/json"}, {"status": 529}):
        assert "reader" not in read_message(noise, noise, **changes).problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
FIELDS = [
    "type",
    "index",
    "message",
    "content_block",
    "delta",
    "usage",
    "error",
    "content",
    "stop_reason",
    "model",
    "id",
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), JSON)
def test_odd_values_cost_only_themselves(odd: dict[str, Any], turns: Any) -> None:
    line = b"data: " + json.dumps(odd).encode() + b"\n\n"
    reading = reading_of(events(*SAID[:-2]) + line + events(*SAID[-2:]), request={**REQUEST, "messages": turns})
    assert "reader" not in reading.problems
    assert "It is sunny." in (reading.output_text or "")
    assert "reader" not in read_message(odd, {**REQUEST, "metadata": turns}).problems
