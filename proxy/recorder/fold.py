"""Fold: frames in, exchanges out.

Of an exchange that is still open only its first header is kept in memory; its body bytes stay in the journal and are
read back when it ends. So ten thousand open streams cost their headers, and a restart needs only the offset at which
the oldest of them begins.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from proxy.journal.frames import LENGTH, FrameKind, Lost, split_payload
from proxy.journal.reader import Frame, Position, Segment
from proxy.records import Begin, Body, End, Exchange, Timeline

_BEGIN: Final = msgspec.msgpack.Decoder(Begin)
_END: Final = msgspec.msgpack.Decoder(End)
_LOST: Final = msgspec.msgpack.Decoder(Lost)
_PAIR: Final = struct.Struct("<QQ")


class _Reference(NamedTuple):
    """Body bytes that are in the journal."""

    segment: Segment
    offset: int
    """Of their frame."""
    start: int
    """Where they begin in its payload; they are the rest of it."""


@dataclass(slots=True)
class _Pending:
    """An exchange that has not ended."""

    begin: Begin
    first: dict[Segment, int]
    """Where its first frame in each segment is."""
    request: list[bytes | _Reference] = field(default_factory=list)
    response: list[bytes | _Reference] = field(default_factory=list)
    notes: list[bytes | _Reference] = field(default_factory=list)
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
        self._positions = positions
        self._pending: dict[tuple[str, int], _Pending] = {}
        self._fresh: list[_Pending] = []

    def take(self, frames: Iterable[Frame]) -> Iterator[Exchange | Unreadable | Lost]:
        """Yield the exchanges that end with these frames."""
        for frame in frames:
            try:
                exchange = self._take(frame)
            except (msgspec.MsgspecError, struct.error, ValueError):
                self._pending.pop((frame.writer, frame.exchange), None)
                if self._is_news(frame):
                    yield Unreadable("unreadable", frame)
            else:
                if exchange is not None:
                    yield exchange
        self._let_go_of_bytes()

    def interrupt(self, writer: str) -> Iterator[Exchange]:
        """Yield what a dead writer left open; call it when the writer is drained."""
        for key in [key for key in self._pending if key[0] == writer]:
            pending = self._pending.pop(key)
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
        needed: dict[Segment, int] = {}
        for pending in self._pending.values():
            for segment, offset in pending.first.items():
                needed[segment] = min(offset, needed.get(segment, offset))
        return needed

    def _take(self, frame: Frame) -> Exchange | Unreadable | Lost | None:
        match frame.kind:
            case FrameKind.BEGIN:
                self._begin(frame)
            case FrameKind.CHUNK_REQUEST | FrameKind.CHUNK_RESPONSE | FrameKind.NOTE:
                self._add(frame)
            case FrameKind.END:
                return self._end(frame)
            case FrameKind.LOST:
                return _LOST.decode(frame.payload) if self._is_news(frame) else None
            case _:
                pass
        return None

    def _begin(self, frame: Frame) -> None:
        header, body = split_payload(frame.payload)
        pending = _Pending(_BEGIN.decode(header), {frame.segment: frame.offset})
        if body:
            pending.request.append(_Reference(frame.segment, frame.offset, LENGTH.size + len(header)))
            pending.request.append(body)
        self._pending[frame.writer, frame.exchange] = pending
        self._fresh.append(pending)

    def _add(self, frame: Frame) -> None:
        pending = self._pending.get((frame.writer, frame.exchange))
        if pending is None or not frame.payload:
            return
        pending.first.setdefault(frame.segment, frame.offset)
        pieces = pending.pieces(frame.kind)
        pieces.append(_Reference(frame.segment, frame.offset, 0))
        pieces.append(frame.payload)
        self._fresh.append(pending)

    def _end(self, frame: Frame) -> Exchange | Unreadable | None:
        pending = self._pending.pop((frame.writer, frame.exchange), None)
        if not self._is_news(frame):
            return None
        header, body = split_payload(frame.payload)
        end = _END.decode(header)
        if pending is not None and pending.notes:
            end = msgspec.structs.replace(end, response_tail=self._bytes(pending.notes))
        if pending is None:
            return Unreadable("no_begin", frame)
        request, response = self._bytes(pending.request), self._bytes(pending.response) + body
        return _exchange(pending.begin, end, request, response)

    def _is_news(self, frame: Frame) -> bool:
        """Say whether an earlier recorder did not see the frame. If it did, it stored the exchange with that position."""
        position = self._positions.get(frame.segment.file_name)
        return position is None or frame.offset >= position.seen

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
        for pending in self._fresh:
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
        timeline=Timeline(tuple((offset, us) for offset, us in _PAIR.iter_unpack(times))),
    )


def _body(head: bytes, size: int, digest: bytes, tail: bytes) -> Body:
    if not digest and not tail and len(head) < size:
        # The writer appended it all, and a piece was in a part of the journal that cannot be read. Where the gap is
        # nobody knows, so nothing of it can be shown as what was said.
        return Body(head=b"", size=size, sha256=b"", tail=b"")
    if not digest and len(head) >= size:
        digest = sha256(head).digest()
    return Body(head=head, size=max(size, len(head)), sha256=digest, tail=tail)
