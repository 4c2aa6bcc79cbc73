"""Content codings undone on a copy of a body, in bounded memory.

What is relayed stays as it was; this is for reading. A broken or cut stream yields what could be decoded and the name
of a problem, never an exception. Each piece fed in adds a point to an offset map, so that a place in the decoded body
can be found in the relayed one, whose arrival times are known.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import brotli
import msgspec
import zstandard

OUTPUT_LIMIT: Final = 64 * 1024 * 1024
"""No body is decoded further: above the default body limit, and what one recorder may spend on one exchange."""
_ALWAYS_BYTES: Final = 1024 * 1024
_LARGE_BYTES: Final = 10 * 1024 * 1024
_BOMB_RATIO: Final = 100
"""Streams of small events shrink to a thirtieth, a bomb to a thousandth. Beyond the first megabyte this tells them apart."""
_LARGE_RATIO: Final = 10
"""Beyond 10 MB: lists of numbers and pictures in base64 shrink to a third at best, and their usage stands at the end."""
_PIECE_BYTES: Final = 64 * 1024
_INPUT_BYTES: Final = 16 * 1024
_ZSTD_PIECE_BYTES: Final = 512
"""zstandard offers no output limit: an RLE block makes 128 KB of four bytes, so this bounds a step to 16 MB."""
_ZSTD_WINDOW: Final = 8 * 1024 * 1024
"""What RFC 9659 allows for the coding `zstd`."""


class _Undecodable(Exception):
    """A coding cannot be undone; the message is the name of the problem."""


class OffsetMap(msgspec.Struct, frozen=True):
    """Where places of the decoded body stand in the relayed one."""

    points: tuple[tuple[int, int], ...] | None = None
    """(offset decoded, offset relayed) after each piece, ascending; None: the body is not encoded."""

    def relayed(self, offset: int) -> int:
        """Return the end of the first relayed piece with which `offset` decoded bytes were complete."""
        if self.points is None:
            return offset
        index = bisect_left(self.points, offset, key=lambda point: point[0])
        if index < len(self.points):
            return self.points[index][1]
        return self.points[-1][1] if self.points else 0


_AS_RELAYED: Final = OffsetMap()
_NAME_SIZE: Final = len(b"content-encoding")


class Decoded(msgspec.Struct, frozen=True):
    """A body without its content codings."""

    data: bytes
    problem: str | None
    """None, `encoding_truncated`, `encoding_broken`, `encoding_too_large` or `encoding_<name>` for an unknown one."""
    offsets: OffsetMap


class ContentDecoder:
    """Undo the codings of one body fed in pieces."""

    def __init__(self, codings: Sequence[bytes], *, limit: int = OUTPUT_LIMIT) -> None:
        """Take the values of `Content-Encoding` in the order in which they were applied."""
        self.problem: str | None = None
        self._limit = limit
        self._relayed = 0
        self._decoded = 0
        self._points: list[tuple[int, int]] = []
        self._steps: list[_Step] = []
        try:
            self._steps = [_step(coding) for coding in reversed(codings)]
        except _Undecodable as problem:
            self.problem = str(problem)

    @property
    def offsets(self) -> OffsetMap:
        """The map of what was fed so far."""
        return OffsetMap(tuple(self._points))

    def feed(self, data: bytes) -> bytes:
        """Take the next relayed bytes; return the decoded ones they give."""
        relayed = self._relayed + len(data)
        output: list[bytes] = []
        try:
            if self.problem is None:
                # In slices, because what may come out depends on what went in so far.
                for start in range(0, len(data), _INPUT_BYTES):
                    self._take(data[start : start + _INPUT_BYTES], output)
        except _Undecodable as problem:
            self.problem = str(problem)
        self._relayed = relayed
        self._points.append((self._decoded, self._relayed))
        return b"".join(output)

    def close(self) -> None:
        """Say that the body is over; a stream that is not sets the problem."""
        if self.problem is None and self._relayed and not all(step.is_complete for step in self._steps):
            self.problem = "encoding_truncated"

    def _take(self, data: bytes, output: list[bytes]) -> None:
        self._relayed += len(data)
        allowed = self._allowed()
        for piece in _through(self._steps, data):
            output.append(piece[: allowed - self._decoded])
            self._decoded += len(output[-1])
            if len(output[-1]) < len(piece):
                raise _Undecodable("encoding_too_large")

    def _allowed(self) -> int:
        """Return how much may have come out of what was relayed so far."""
        ordinary = max(_ALWAYS_BYTES, min(_LARGE_BYTES, _BOMB_RATIO * self._relayed))
        return min(self._limit, max(ordinary, _LARGE_RATIO * self._relayed))


def decode(body: bytes, codings: Sequence[bytes], *, ends: Sequence[int] = (), limit: int = OUTPUT_LIMIT) -> Decoded:
    """Decode a body in one go; `ends` are the offsets in it between which the offset map shall distinguish."""
    if not codings:
        return Decoded(body, None, _AS_RELAYED)
    decoder = ContentDecoder(codings, limit=limit)
    output: list[bytes] = []
    start = 0
    for end in (*ends, len(body)):
        if start < end <= len(body):
            output.append(decoder.feed(body[start:end]))
            start = end
    decoder.close()
    return Decoded(b"".join(output), decoder.problem, decoder.offsets)


def content_codings(headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """Return the content codings of a message in the order in which they were applied, without `identity`."""
    values = [value for name, value in headers if len(name) == _NAME_SIZE and name.lower() == b"content-encoding"]
    if not values:
        return ()
    names = (name.strip().lower() for value in values for name in value.split(b","))
    return tuple(name for name in names if name not in (b"", b"identity"))


class _Step(Protocol):
    """One coding being undone."""

    @property
    def is_complete(self) -> bool:
        """Its stream has reached its own end."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes in pieces of bounded size; raise _Undecodable."""


def _through(steps: Sequence[_Step], data: bytes) -> Iterator[bytes]:
    if not steps:
        yield data
        return
    for piece in steps[0].pieces(data):
        yield from _through(steps[1:], piece)


class _Zlib:
    """gzip with any number of members, or deflate with or without the zlib header that some servers leave out."""

    def __init__(self, *window_bits: int) -> None:
        """Take the formats to try, in order, as zlib's window bits."""
        self._formats = list(window_bits)
        self._first_byte = b""
        self._decompressor = zlib.decompressobj(self._formats[0])

    @property
    def is_complete(self) -> bool:
        return self._decompressor.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        # In slices, because zlib copies what it leaves over: a body of many tiny members would take quadratic time.
        for start in range(0, len(data), _INPUT_BYTES):
            yield from self._members(data[start : start + _INPUT_BYTES])

    def _members(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._decompressor.eof:
                if not data.strip(b"\0"):
                    return  # zero padding after the last member, as some servers leave it
                self._decompressor = zlib.decompressobj(self._formats[0])
            piece = self._step(data)
            data = self._decompressor.unconsumed_tail or self._decompressor.unused_data
            if piece:
                yield piece

    def _step(self, data: bytes) -> bytes:
        try:
            piece = self._decompressor.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if len(self._formats) == 1:
                raise _Undecodable("encoding_broken") from error
            del self._formats[0]
            self._decompressor = zlib.decompressobj(self._formats[0])
            return self._step(self._first_byte + data)
        if len(self._formats) > 1:
            self._settle(data)
        return piece

    def _settle(self, data: bytes) -> None:
        """Give up the other formats once the two bytes of a header were accepted."""
        if len(self._first_byte + data) >= 2:
            del self._formats[1:]
        else:
            self._first_byte = data


class _Zstd:
    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    @property
    def is_complete(self) -> bool:
        return self._decompressor.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_PIECE_BYTES):
            yield from self._frames(data[start : start + _ZSTD_PIECE_BYTES])

    def _frames(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._decompressor.eof:
                self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            try:
                piece = self._decompressor.decompress(data)
            except zstandard.ZstdError as error:
                raise _Undecodable("encoding_broken") from error
            data = self._decompressor.unused_data if self._decompressor.eof else b""
            if piece:
                yield piece


class _Brotli:
    def __init__(self) -> None:
        self._decompressor: Any = brotli.Decompressor()

    @property
    def is_complete(self) -> bool:
        return bool(self._decompressor.is_finished())

    def pieces(self, data: bytes) -> Iterator[bytes]:
        try:
            yield self._decompressor.process(data, output_buffer_limit=_PIECE_BYTES)
            while not self._decompressor.can_accept_more_data():
                yield self._decompressor.process(b"", output_buffer_limit=_PIECE_BYTES)
        except brotli.error as error:
            raise _Undecodable("encoding_broken") from error


_STEPS: Final[dict[bytes, Callable[[], _Step]]] = {
    b"gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    b"x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    b"deflate": lambda: _Zlib(zlib.MAX_WBITS, -zlib.MAX_WBITS),
    b"zstd": _Zstd,
    b"br": _Brotli,
}


def _step(coding: bytes) -> _Step:
    make = _STEPS.get(coding)
    if make is None:
        raise _Undecodable(f"encoding_{coding[:20].decode('ascii', 'replace')}")
    return make()
