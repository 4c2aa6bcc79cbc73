"""Fold: frames in, exchanges out.

Of an exchange that is still open only its first header is kept in memory; its body bytes stay in the journal and are
read back when it ends. So ten thousand open streams cost their headers, and a restart needs only the offset at which
the oldest of them begins.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from proxy.journal.frames import LENGTH, FrameKind, Lost, split_payload
from proxy.journal.reader import Frame, Position, Segment
from proxy.records import Begin, Body, End, Exchange, Feedback, Timeline

_BEGIN: Final = msgspec.msgpack.Decoder(Begin)
_END: Final = msgspec.msgpack.Decoder(End)
_LOST: Final = msgspec.msgpack.Decoder(Lost)
_FEEDBACK: Final = msgspec.msgpack.Decoder(Feedback)
_PAIR: Final = struct.Struct("<QQ")
_PIECES: Final = frozenset({FrameKind.CHUNK_REQUEST, FrameKind.CHUNK_RESPONSE, FrameKind.NOTE})
Folded = Exchange | Feedback | Lost
"""What stands in the journal, put together."""
_Key = tuple[str, int]
"""A writer, and the number of one of its exchanges."""


class _Reference(NamedTuple):
    """Body bytes that are in the journal."""

    segment: Segment
    offset: int
    """Of their frame."""
    start: int
    """Where they begin in its payload; they are the rest of it."""


class _Pending(msgspec.Struct):
    """An exchange that has not ended."""

    begin: Begin
    first: dict[Segment, int]
    """Where its first frame in each segment is."""
    request: list[bytes | _Reference]
    response: list[bytes | _Reference]
    notes: list[bytes | _Reference]
    """Of a response that was longer than the capture limit."""

    def pieces(self, kind: FrameKind) -> list[bytes | _Reference]:
        """Return where the payload of a frame of that kind goes."""
        return {FrameKind.CHUNK_REQUEST: self.request, FrameKind.NOTE: self.notes}.get(kind, self.response)


class Unreadable(NamedTuple):
    """A frame that is sound and still makes no exchange."""

    reason: str
    """`no_begin` or `unreadable`: the label of the counter of lost records."""
    frame: Frame


class Fold:
    """The exchanges of all writers that have begun and not ended."""

    def __init__(self, read: Callable[[Segment, int, int], bytes], positions: Mapping[str, Position]) -> None:
        """`read` returns the end of a frame's payload; `positions` is where an earlier recorder had come to."""
        self._read = read
        self._seen = {segment: at.seen for name, at in positions.items() if (segment := Segment.from_file_name(name))}
        self._pending: dict[_Key, _Pending] = {}
        self._fresh: list[_Key] = []
        self._needed: dict[Segment, dict[_Key, int]] = {}
        """The open exchanges that have a frame in a segment, with the offset of the first, ascending."""

    def take(self, frames: Iterable[Frame]) -> Iterator[Folded | Unreadable]:
        """Yield the exchanges that end with these frames, and what is whole in one."""
        for frame in frames:
            try:
                folded = self._take(frame)
            except (msgspec.MsgspecError, struct.error, ValueError):
                self._close((frame.writer, frame.exchange))
                if self._is_news(frame):
                    yield Unreadable("unreadable", frame)
            else:
                if folded is not None:
                    yield folded
        self._let_go_of_bytes()

    def interrupt(self, writer: str) -> Iterator[Exchange]:
        """Yield what a dead writer left open; call it when the writer is drained."""
        for key in [key for key in self._pending if key[0] == writer]:
            pending = self._pending[key]
            self._close(key)
            request, response = self._bytes(pending.request), self._bytes(pending.response)
            notes = self._bytes(pending.notes)
            end = End(
                outcome="interrupted",
                request_size=len(request),
                response_size=len(response) + len(notes),
                response_tail=notes,
            )
            yield _exchange(pending.begin, end, request, response)

    def open_ids(self) -> set[str]:
        """Return the ids of the exchanges that have begun and not ended."""
        return {pending.begin.id for pending in self._pending.values()}

    def is_open(self, writer: str, exchange: int) -> bool:
        """Say whether a writer's exchange has begun and not ended."""
        return (writer, exchange) in self._pending

    def open_begins(self) -> list[Begin]:
        """Return the first halves of the exchanges that have begun and not ended."""
        return [pending.begin for pending in self._pending.values()]

    def oldest_needed(self) -> dict[Segment, int]:
        """Return the offset of the first frame of an open exchange in each segment that has one."""
        return {segment: next(iter(offsets.values())) for segment, offsets in self._needed.items()}

    def _take(self, frame: Frame) -> Folded | Unreadable | None:
        kind = frame.kind
        if kind is FrameKind.END:
            return self._end(frame)
        if kind is FrameKind.BEGIN:
            self._begin(frame)
        elif kind in _PIECES:
            self._add(frame)
        elif kind is FrameKind.LOST and self._is_news(frame):
            return _LOST.decode(frame.payload)
        elif kind is FrameKind.FEEDBACK and self._is_news(frame):
            return _FEEDBACK.decode(frame.payload)
        return None

    def _begin(self, frame: Frame) -> None:
        header, body = split_payload(frame.payload)
        key, segment, offset = (frame.writer, frame.exchange), frame.segment, frame.offset
        request: list[bytes | _Reference] = []
        if body:
            request = [_Reference(segment, offset, LENGTH.size + len(header)), body]
        self._pending[key] = _Pending(_BEGIN.decode(header), {segment: offset}, request, [], [])
        self._needed.setdefault(segment, {})[key] = offset
        self._fresh.append(key)

    def _add(self, frame: Frame) -> None:
        key, segment, offset = (frame.writer, frame.exchange), frame.segment, frame.offset
        pending = self._pending.get(key)
        if pending is None or not frame.payload:
            return
        if segment not in pending.first:
            pending.first[segment] = offset
            self._needed.setdefault(segment, {})[key] = offset
        pending.pieces(frame.kind).extend((_Reference(segment, offset, 0), frame.payload))
        self._fresh.append(key)

    def _end(self, frame: Frame) -> Exchange | Unreadable | None:
        pending = self._close((frame.writer, frame.exchange))
        if not self._is_news(frame):
            return None
        header, body = split_payload(frame.payload)
        end = _END.decode(header)
        if pending is None:
            return Unreadable("no_begin", frame)
        if pending.notes:
            end = msgspec.structs.replace(end, response_tail=self._bytes(pending.notes))
        response = self._bytes(pending.response) + body if pending.response else body
        return _exchange(pending.begin, end, self._bytes(pending.request), response)

    def _close(self, key: _Key) -> _Pending | None:
        """Forget an exchange that has ended."""
        pending = self._pending.pop(key, None)
        for segment in pending.first if pending is not None else ():
            offsets = self._needed[segment]
            del offsets[key]
            if not offsets:
                del self._needed[segment]
        return pending

    def _is_news(self, frame: Frame) -> bool:
        """Say whether an earlier recorder did not see the frame. If it did, it stored the exchange with that position."""
        return frame.offset >= self._seen.get(frame.segment, 0)

    def _bytes(self, pieces: list[bytes | _Reference]) -> bytes:
        """Join pieces: each is a reference, followed by its bytes as long as they are at hand."""
        parts: list[bytes] = []
        for index, piece in enumerate(pieces):
            if isinstance(piece, bytes):
                parts.append(piece)
            elif index + 1 == len(pieces) or not isinstance(pieces[index + 1], bytes):
                parts.append(self._read(*piece))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _let_go_of_bytes(self) -> None:
        for key in self._fresh:
            pending = self._pending.get(key)
            if pending is not None:
                for pieces in (pending.request, pending.response, pending.notes):
                    pieces[:] = [piece for piece in pieces if not isinstance(piece, bytes)]
        self._fresh.clear()


def _exchange(begin: Begin, end: End, request: bytes, response: bytes) -> Exchange:
    times = end.times[: len(end.times) // _PAIR.size * _PAIR.size]
    return Exchange(
        begin=begin,
        end=end,
        request=_body(request, end.request_size, end.request_sha256, end.request_tail),
        response=_body(response, end.response_size, end.response_sha256, end.response_tail),
        timeline=Timeline(tuple(_PAIR.iter_unpack(times))),
    )


def _body(head: bytes, size: int, digest: bytes, tail: bytes) -> Body:
    if len(head) == size and not digest and not tail:
        return Body(head, size, sha256(head).digest())
    if not digest and not tail and len(head) < size:
        # The writer appended it all, and a piece was in a part of the journal that cannot be read. Where the gap is
        # nobody knows, so nothing of it can be shown as what was said.
        return Body(head=b"", size=size, sha256=b"", tail=b"")
    if not digest and len(head) >= size:
        digest = sha256(head).digest()
    return Body(head=head, size=max(size, len(head)), sha256=digest, tail=tail)
