"""A stream, event by event: when each came, what it added, and how long the reader waited between them."""

from __future__ import annotations

import binascii
import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from proxy.conversation.document import clean, dict_of, dicts_of, json_text, name_of, read_document, read_whole
from proxy.conversation.gemini import events as gemini_events
from proxy.records import Timeline
from proxy.wire.bedrock.frames import frames
from proxy.wire.decode import OffsetMap
from proxy.wire.draft import Draft
from proxy.wire.json_stream import objects
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript

Added = Literal["text", "thinking", "tool", "other"]
"""What an event added: words, thoughts, a piece of a call; or nothing that a reader sees."""
BOUNDS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Of the buckets of gaps; what is longer is in the last one."""
MOST_EVENTS: Final = 100_000
_LONGEST: Final = 4000
"""Characters of what one event added that are shown."""


class StreamEvent(msgspec.Struct, frozen=True):
    """One event of a stream."""

    name: str
    size: int
    """Bytes, decoded."""
    end_offset: int
    """In the decoded body."""
    at_ms: float | None
    """After the request's head. None: nobody kept the time."""
    gap_ms: float | None
    """After the event before it; 0: they came together."""
    added: Added
    text: str


class Gaps(msgspec.Struct, frozen=True):
    """How long it took from one event with output to the next."""

    counts: list[int]
    """By the bounds of `BOUNDS_MS`; one more than these."""
    median_ms: float | None
    longest_ms: float | None
    longest_at: int | None
    """Number of the event that the reader waited for longest."""


def read_stream(transcript: Transcript, timeline: Timeline, offsets: OffsetMap) -> list[StreamEvent]:
    """Return the events of a stream. An event has come when its last byte has."""
    found: list[StreamEvent] = []
    end = 0
    before: float | None = None
    for event in _events(transcript):
        at_us = timeline.at(offsets.relayed(event.end_offset) - 1) if timeline.pairs else None
        at_ms = None if at_us is None else at_us / 1000
        gap = None if at_ms is None or before is None else round(at_ms - before, 1)
        added, text = added_by(event.data)
        name = event.name.decode("utf-8", "replace") or name_of(dict_of(read_whole(event.data)).get("type")) or ""
        found.append(
            StreamEvent(clean(name)[:100], event.end_offset - end, event.end_offset, at_ms, gap, added, text[:_LONGEST])
        )
        end, before = event.end_offset, at_ms if at_ms is not None else before
        if len(found) == MOST_EVENTS:
            break
    return found


def read_gaps(events: Sequence[StreamEvent]) -> Gaps:
    """Return how long a reader waited between events with output."""
    spoken = [
        (number, event.at_ms)
        for number, event in enumerate(events)
        if event.added != "other" and event.at_ms is not None
    ]
    gaps = [(after - before, number) for (_, before), (number, after) in itertools.pairwise(spoken)]
    counts = [0] * (len(BOUNDS_MS) + 1)
    for gap, _ in gaps:
        counts[bisect_right(BOUNDS_MS, gap)] += 1
    if not gaps:
        return Gaps(counts, None, None, None)
    longest, number = max(gaps)
    ordered = sorted(gap for gap, _ in gaps)
    return Gaps(counts, round(ordered[len(ordered) // 2], 1), round(longest, 1), number)


def added_by(data: bytes) -> tuple[Added, str]:
    """Return what an event added, in the words of whichever API."""
    said = dict_of(read_document(data))
    found: list[tuple[Added, Any]] = []
    for choice in dicts_of(said.get("choices")):
        delta = dict_of(choice.get("delta") or choice.get("message"))
        found += [("thinking", delta.get(name)) for name in ("reasoning_content", "reasoning", "thinking")]
        found += [("text", delta.get(name)) for name in ("content", "refusal")] + [("text", choice.get("text"))]
        found += [
            ("tool", dict_of(call.get("function")).get("arguments")) for call in dicts_of(delta.get("tool_calls"))
        ]
    kind, piece = str(said.get("type") or ""), said.get("delta")
    if isinstance(piece, str):
        is_thought, is_call = "reasoning" in kind, "arguments" in kind or "input" in kind
        found.append(("thinking" if is_thought else "tool" if is_call else "text", piece))
    else:
        found += _of_blocks(dict_of(piece))
    for candidate in dicts_of(said.get("candidates")):
        for part in dicts_of(dict_of(candidate.get("content")).get("parts")):
            found.append(("thinking" if part.get("thought") is True else "text", part.get("text")))
            if "functionCall" in part:
                found.append(("tool", json_text(part["functionCall"])))
    message = dict_of(said.get("message"))
    if "done" in said:
        found += [("thinking", message.get("thinking")), ("text", message.get("content") or said.get("response"))]
    spoken = [(added, text) for added, text in found if isinstance(text, str) and text]
    if not spoken:
        return "other", ""
    return spoken[0][0], clean("".join(text for _, text in spoken))


def _of_blocks(delta: dict[str, Any]) -> list[tuple[Added, Any]]:
    """Return what a delta of Anthropic or of Bedrock holds."""
    thought = dict_of(delta.get("reasoningContent")).get("text")
    call = dict_of(delta.get("toolUse")).get("input")
    return [
        ("thinking", delta.get("thinking") or thought),
        ("text", delta.get("text")),
        ("tool", delta.get("partial_json") or call),
    ]


def _events(transcript: Transcript) -> Iterator[Event]:
    dialect = transcript.operation.dialect
    if transcript.content_type == b"application/vnd.amazon.eventstream":
        for frame in frames(transcript, Draft()):
            packed = dict_of(read_whole(frame.payload)).get("bytes")
            data = _unpacked(packed) if isinstance(packed, str) else frame.payload
            yield Event(frame.kind.encode(), data, frame.end_offset)
    elif dialect == "gemini":
        yield from gemini_events(transcript)
    elif dialect == "ollama":
        yield from objects(transcript)
    else:
        yield from transcript.events()


def _unpacked(packed: str) -> bytes:
    try:
        return binascii.a2b_base64(packed)
    except ValueError:
        return b""
