"""The meter never counts less than the text; the allowance never passes on what is not covered, at any split."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.gateway.meter import EVERYTHING, EXTEND_AHEAD, Allowance, Meter
from proxy.gateway.meter.units import LONGEST_LINE
from proxy.gateway.refusal import Refusal

OVERHEAD = 64
EVENTS = b"text/event-stream; charset=utf-8"
OBJECTS = b"application/x-ndjson"
FRAMES = b"application/vnd.amazon.eventstream"


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(edges)]


def counted(pieces: list[bytes], content_type: bytes = EVENTS) -> int:
    meter = Meter(1, content_type)
    units = [unit for piece in pieces for unit in meter.feed(piece)] + meter.close()
    assert b"".join(unit for unit, _ in units) == b"".join(pieces)
    assert [total for _, total in units] == sorted(total for _, total in units)
    return meter.output_tokens - OVERHEAD


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def frame(payload: bytes) -> bytes:
    headers = b"\x0b:event-type\x07\x00\x05chunk"
    return (
        (16 + len(headers) + len(payload)).to_bytes(4, "big")
        + len(headers).to_bytes(4, "big")
        + b"crc_"
        + (headers + payload + b"crc_")
    )


def chat(text: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": text}}]}


def claude(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def gemini(text: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}], "usageMetadata": {"x": 1}}


DIALECTS = {
    "chat": (EVENTS, lambda text: event(chat(text))),
    "anthropic": (EVENTS, lambda text: b"event: content_block_delta\n" + event(claude(text))),
    "gemini": (EVENTS, lambda text: event(gemini(text)).replace(b"\n", b"\r\n")),
    "responses": (
        EVENTS,
        lambda text: (
            b"event: response.output_text.delta\n"
            + event({"type": "response.output_text.delta", "item_id": "m", "sequence_number": 4, "delta": text})
        ),
    ),
    "ollama": (OBJECTS, lambda text: json.dumps({"model": "m", "message": {"content": text}}).encode() + b"\n"),
    "converse": (FRAMES, lambda text: frame(json.dumps({"delta": {"text": text}, "p": "abcdefgh"}).encode())),
    "invoke": (
        FRAMES,
        lambda text: frame(
            json.dumps({"bytes": base64.b64encode(json.dumps(claude(text)).encode()).decode(), "p": "abc"}).encode()
        ),
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@given(texts=st.lists(st.text(max_size=20), max_size=20), cuts=st.lists(st.integers(0, 4000), max_size=20))
def test_every_dialect_counts_exactly_its_text_at_any_split(dialect: str, texts: list[str], cuts: list[int]) -> None:
    content_type, spell = DIALECTS[dialect]
    body = b"".join(map(spell, texts))
    want = sum(len(text.encode("utf-8", "replace")) for text in texts)
    assert counted(split(body, cuts), content_type) == want


@pytest.mark.parametrize(
    ("value", "least"),
    [
        ({"choices": [{"delta": {"tool_calls": [{"id": "c", "function": {"name": "find", "arguments": "{}"}}]}}]}, 6),
        ({"choices": [{"text": "hello"}]}, 5),
        ({"choices": [{"delta": {"reasoning": "abc", "reasoning_content": "abcd"}}]}, 4),
        ({"choices": [{"delta": {"content": [{"type": "text", "text": "hello"}]}}]}, 5),
        ({"choices": [{"message": {"content": "whole answer"}}]}, 12),
        ({"choices": [{"delta": {"a_field_of_tomorrow": "hello"}}]}, 5),
        ({"something": {"else": ["hello", "world"]}}, 10),
        ({"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"id": "hello", "model": "x"}}}]}}, 7),
        ({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"type": "hello"}}}]}}]}, 6),
        ({"type": "response.function_call_arguments.delta", "delta": "hello"}, 5),
        ({"type": "response.completed", "response": {"output": [{"content": [{"text": "hello"}]}]}}, 5),
        ({"type": "response.output_item.done", "item": {"content": [{"text": "hello"}]}}, 5),
        ({"type": "response.output_text.done", "text": "hello"}, 5),
        (["hello"], 5),
        (12345678, 8),
    ],
)
def test_output_under_any_name_counts(value: object, least: int) -> None:
    assert counted([event(value)]) >= least


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 5}}},
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": {"a": 1}}},
        {"type": "ping"},
        {"type": "response.created", "response": {"instructions": "be kind", "output": [], "tools": ["x"]}},
        {"model": "m", "done": True, "done_reason": "stop", "context": [1, 2, 3], "eval_count": 7},
    ],
)
def test_what_stands_beside_the_output_counts_nothing(value: object) -> None:
    assert counted([event(value)]) == 0


def test_what_the_responses_api_tells_four_times_counts_once() -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "hello"}]}
    told = [
        {"type": "response.output_text.delta", "delta": "hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.output_text.done", "text": "hello"},
        {"type": "response.content_part.done", "part": {"type": "output_text", "text": ""}},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"output": [item], "instructions": "x"}},
    ]
    assert counted([b"".join(map(event, told))]) == 5


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"no stream at all"}}]}',
        b"data: not JSON at all\n\n",
        b'data: {"choices":[{"delta":{"content":"cut',
        b"\x1f\x8b\x08compressed",
        b"content without a field name\n",
        b"datum: x\n",
    ],
)
def test_what_is_no_event_counts_with_its_whole_length(body: bytes) -> None:
    assert counted([body]) >= len(body.removeprefix(b"data: ").rstrip())


def test_comments_and_fields_without_data_count_nothing() -> None:
    assert counted([b": OPENROUTER PROCESSING\n\nevent: ping\nid: 5\nretry: 3\r\n\r\ndata: [DONE]\n\n"]) == 0


def test_a_line_without_an_end_is_counted_and_passed_on_in_linear_time() -> None:
    meter, passed = Meter(1), 0
    started = time.perf_counter()
    for _ in range(200_000):
        passed += sum(len(unit) for unit, _ in meter.feed(b"0123456789"))
    assert time.perf_counter() - started < 5, "200,000 pieces of 10 bytes take 0.2 s; quadratic time would be minutes"
    assert 2_000_000 - passed <= LONGEST_LINE
    assert meter.output_tokens >= passed
    # The line that ends it is not taken for an event of its own.
    assert meter.feed(b"\n: comment\n")[-1][1] == 2_000_001 + OVERHEAD


def test_a_frame_of_an_absurd_length_is_counted_byte_by_byte() -> None:
    assert counted([b"\xff\xff\xff\xff" + b"x" * 100, b"y" * 50], FRAMES) == 154


@given(st.lists(st.binary(max_size=200), max_size=10), st.sampled_from([EVENTS, OBJECTS, FRAMES]))
@settings(max_examples=300)
def test_no_bytes_raise_and_none_are_lost(pieces: list[bytes], content_type: bytes) -> None:
    counted(pieces, content_type)


# The allowance


def allowance(granted: int, content_type: bytes = EVENTS, *, is_encoded: bool = False) -> Allowance:
    made = Allowance(granted, 1)
    made.begin(content_type, is_encoded=is_encoded)
    return made


def text_in(passed: bytes) -> int:
    """Return the bytes of text that a client can have read."""
    lines = [line for line in passed.split(b"\n") if line.startswith(b"data: {")]
    return sum(len(json.loads(line[6:])["choices"][0]["delta"]["content"].encode()) for line in lines)


@given(
    sizes=st.lists(st.integers(0, 3_000), max_size=30),
    cuts=st.lists(st.integers(0, 60_000), max_size=30),
    grants=st.lists(st.none() | st.integers(0, 4_000), max_size=30),
    first=st.integers(OVERHEAD, 3_000),
)
@settings(max_examples=400)
def test_no_split_of_any_burst_passes_what_is_not_covered(
    sizes: list[int], cuts: list[int], grants: list[int], first: int
) -> None:
    body = b"".join(event(chat("é" * (size // 2))) for size in sizes) + b"data: [DONE]\n\n"
    stream = allowance(first)
    answers = iter(grants)
    passed = bytearray()
    covered = first

    def settle_question() -> None:
        nonlocal covered
        asked = stream.tokens_to_ask()
        while asked is not None:
            assert asked > covered
            more = next(answers, "no")
            if more == "no":
                stream.refusal = Refusal("budget_exceeded", 429, "used up")
                return
            covered = asked + more if isinstance(more, int) else EVERYTHING
            passed.extend(b"".join(stream.grant(covered if covered < EVERYTHING else None)))
            asked = stream.tokens_to_ask()

    for piece in split(body, cuts):
        passed += b"".join(stream.take([piece]))
        assert covered == EVERYTHING or text_in(bytes(passed)) <= covered - OVERHEAD
        settle_question()
        assert covered == EVERYTHING or text_in(bytes(passed)) <= covered - OVERHEAD
    passed += b"".join(stream.close())
    settle_question()
    assert body.startswith(passed)
    assert stream.is_holding is (len(passed) < len(body))
    if stream.is_holding:
        assert stream.refusal is not None
        assert sum(sizes) + OVERHEAD > covered


def test_more_is_asked_for_before_it_is_needed_and_once_only() -> None:
    stream = allowance(1024)
    assert stream.take([event(chat("x" * 400))]) != []
    assert stream.tokens_to_ask() is None
    stream.take([event(chat("x" * 100))])
    assert stream.tokens_to_ask() == 500 + OVERHEAD + EXTEND_AHEAD
    assert stream.tokens_to_ask() is None
    assert not stream.is_holding


def test_a_complete_event_is_not_held_back_and_half_a_line_is() -> None:
    stream = allowance(1024)
    whole = event(chat("hello"))
    assert b"".join(stream.take([whole + whole[:20]])) == whole
    assert b"".join(stream.take([whole[20:]])) == whole


@pytest.mark.parametrize(
    ("content_type", "is_encoded"),
    [(b"application/json", False), (EVENTS, True), (b"", False), (b"text/html", False), (FRAMES, True)],
)
def test_what_cannot_be_read_waits_until_everything_is_covered(content_type: bytes, is_encoded: bool) -> None:
    stream = allowance(1024, content_type, is_encoded=is_encoded)
    assert stream.is_blind
    assert stream.take([b"x"]) == []
    asked = stream.tokens_to_ask()
    assert asked is not None
    assert asked >= 2**53
    assert stream.take([b"y"]) == []
    assert stream.tokens_to_ask() is None
    assert stream.grant(None) == [b"xy"]
    assert stream.take([b"z"]) == [b"z"]


def test_after_a_refusal_what_is_covered_may_still_pass() -> None:
    stream = allowance(1024)
    stream.refusal = Refusal("budget_exceeded", 429, "used up")
    assert stream.take([event(chat("x" * 900))]) != []
    assert stream.take([event(chat("x" * 100))]) == []
    assert stream.is_holding
    assert stream.tokens_to_ask() is None
