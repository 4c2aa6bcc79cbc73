from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.conversation import transcript_of
from proxy.conversation.stream import BOUNDS_MS, StreamEvent, added_by, read_gaps, read_stream
from proxy.records import Timeline
from proxy.wire.decode import OffsetMap
from tests.wire.exchanges import captured, delta, make_exchange, sse

STREAMS = [
    *(
        "openai_chat_stream",
        "anthropic_messages_stream",
        "openai_responses_stream",
        "gemini_stream",
        "ollama_chat_stream",
    ),
    *("bedrock_converse_stream", "openrouter_error_stream"),
]


def events_of(body: bytes, times: tuple[tuple[int, int], ...]) -> list[StreamEvent]:
    exchange = make_exchange({"stream": True}, body, times=times)
    return read_stream(transcript_of(exchange)[0], exchange.timeline, OffsetMap())


def test_an_event_has_come_when_its_last_byte_has() -> None:
    first, second, third = (sse(delta({"content": text})) for text in "abc")
    body = first + second + third
    times = ((len(first) + 5, 1000), (len(body) - 1, 41_000), (len(body), 50_000))
    events = events_of(body, times)
    assert [event.at_ms for event in events] == [1, 41, 50]
    assert [event.gap_ms for event in events] == [None, 40, 9]
    assert [(event.added, event.text) for event in events] == [("text", "a"), ("text", "b"), ("text", "c")]
    gaps = read_gaps(events)
    assert (gaps.longest_ms, gaps.longest_at, gaps.median_ms) == (40, 1, 40)
    assert sum(gaps.counts) == 2
    assert gaps.counts[3] == gaps.counts[5] == 1


def test_without_times_events_are_known_and_gaps_are_not() -> None:
    events = events_of(sse(delta({"content": "a"}), delta({"content": "b"})), ())
    assert [(event.at_ms, event.gap_ms) for event in events] == [(None, None)] * 2
    assert read_gaps(events).longest_ms is None
    assert sum(read_gaps(events).counts) == 0


@pytest.mark.parametrize("name", STREAMS)
def test_the_events_of_a_capture_are_all_of_its_bytes(name: str) -> None:
    exchange = captured(name)
    events = read_stream(transcript_of(exchange)[0], Timeline(((exchange.response.size, 7000),)), OffsetMap())
    assert events
    assert events[-1].end_offset <= exchange.response.size
    assert sum(event.size for event in events) == events[-1].end_offset
    assert {event.at_ms for event in events} == {7}
    msgspec.json.encode(events)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=8), st.lists(st.integers(1, 60), max_size=40))
def test_however_the_bytes_were_split_time_does_not_go_back_and_the_texts_are_the_same(
    texts: list[str], sizes: list[int]
) -> None:
    body = sse(*[delta({"content": text}) for text in texts])
    times, end = [], 0
    for number, size in enumerate(sizes):
        end = min(end + size, len(body))
        times.append((end, number * 700))
    times.append((len(body), len(sizes) * 700))
    events = events_of(body, tuple(times))
    assert [event.text for event in events] == [
        t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts
    ]
    seen = [event.at_ms for event in events]
    assert seen == sorted(seen, key=lambda at: at or 0)
    assert all((event.gap_ms or 0) >= 0 for event in events)
    spoken = [event for event in events if event.added != "other"]
    assert sum(read_gaps(events).counts) == max(0, len(spoken) - 1)


@pytest.mark.parametrize(
    ("event", "added"),
    [
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, ("text", "a")),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}, ("thinking", "a")),
        ({"type": "content_block_delta", "delta": {"partial_json": "{"}}, ("tool", "{")),
        ({"type": "response.output_text.delta", "delta": "a"}, ("text", "a")),
        ({"type": "response.reasoning_summary_text.delta", "delta": "a"}, ("thinking", "a")),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, ("tool", "{")),
        ({"candidates": [{"content": {"parts": [{"text": "a", "thought": True}]}}]}, ("thinking", "a")),
        ({"message": {"content": "a"}, "done": False}, ("text", "a")),
        ({"delta": {"toolUse": {"input": "{"}}, "contentBlockIndex": 0}, ("tool", "{")),
        ({"choices": [{"delta": {"reasoning_content": "a"}}]}, ("thinking", "a")),
        ({"type": "message_start", "message": {"content": []}}, ("other", "")),
        ([], ("other", "")),
    ],
)
def test_what_an_event_adds_is_seen_in_every_api(event: Any, added: tuple[str, str]) -> None:
    assert added_by(json.dumps(event).encode()) == added


def test_gaps_are_counted_between_the_bounds() -> None:
    def at(ms: float) -> StreamEvent:
        return StreamEvent("", 1, 1, ms, None, "text", "x")

    counts = read_gaps([at(0), at(0.5), at(1.5), at(9001.5)]).counts
    assert len(counts) == len(BOUNDS_MS) + 1
    assert (counts[0], counts[1], counts[-1]) == (1, 1, 1)
