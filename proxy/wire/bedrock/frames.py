"""The frames of a response, and the models' own events inside them.

InvokeModelWithResponseStream packs each event of the model into a frame of its own: `{"bytes": "<base64>"}`. Unpacked,
the response reads as the model's own API would have sent it, at the offsets at which it came.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.wire.bedrock.error import take_failure
from proxy.wire.draft import Draft
from proxy.wire.eventstream import CONTENT_TYPE, EventStreamParser, Frame
from proxy.wire.lenient import LenientDecoder
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript


class _Chunk(msgspec.Struct):
    bytes: str = ""


_CHUNK: Final = LenientDecoder(_Chunk)


def is_stream(transcript: Transcript) -> bool:
    """Say whether the response is a stream of frames."""
    return transcript.is_success and transcript.content_type == CONTENT_TYPE


def frames(transcript: Transcript, draft: Draft) -> Iterator[Frame]:
    """Yield the frames with events; note the failure that ends them, and damage."""
    parser = EventStreamParser()
    yield from _events(parser.feed(transcript.response), draft)
    if transcript.response_tail:
        is_damaged = parser.is_damaged
        parser = EventStreamParser(start=transcript.tail_start, is_torn=True)
        yield from _events(parser.feed(transcript.response_tail), draft)
        parser.is_damaged |= is_damaged
    if "response_cut" not in draft.problems:
        parser.close()
    if parser.is_damaged:
        draft.problems.add("event_frame")


class Unpacked(Transcript, frozen=True):
    """A response stream of the model's own events."""

    own_events: tuple[Event, ...]

    @classmethod
    def of_stream(cls, transcript: Transcript, draft: Draft) -> Unpacked:
        """Unpack the frames of a response."""
        chunks = (frame for frame in frames(transcript, draft) if frame.kind == "chunk")
        events = tuple(Event(b"", _unpacked(frame, draft), frame.end_offset) for frame in chunks)
        return cls(**msgspec.structs.asdict(transcript), own_events=events)

    def is_event_stream(self, *, asked: bool) -> bool:
        """Say that it is, whatever the request's body says: the path asked for it."""
        del asked
        return True

    def events(self) -> Iterator[Event]:
        """Yield the model's own events."""
        return iter(self.own_events)


def _events(found: list[Frame], draft: Draft) -> Iterator[Frame]:
    for frame in found:
        if frame.is_failure:
            take_failure(frame, draft)
        else:
            yield frame


def _unpacked(frame: Frame, draft: Draft) -> bytes:
    try:
        return binascii.a2b_base64(_CHUNK.decode(frame.payload, set()).bytes)
    except ValueError:
        draft.problems.add("event.bytes")
        return b""
