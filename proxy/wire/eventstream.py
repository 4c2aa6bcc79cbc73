"""Amazon's binary event stream (`application/vnd.amazon.eventstream`), read incrementally: push bytes, pull frames.

A frame is two lengths and their CRC, headers, a payload, and the CRC of all of it. A frame whose CRC is wrong is left
out, since nothing in it can be believed; where even the lengths are wrong the next frame is looked for, byte by byte,
by a CRC that fits. So a damaged stream costs the damaged frames, and reading may begin in the middle of one.
Nothing here raises, and whatever the split of the bytes, the frames are the same.
Source: Smithy 2.0, "Amazon Event Stream Specification", 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

CONTENT_TYPE: Final = b"application/vnd.amazon.eventstream"
_PRELUDE: Final = Struct(">III")
_CRC: Final = Struct(">I")
_OVERHEAD: Final = _PRELUDE.size + _CRC.size
_MAX_HEADERS: Final = 128 * 1024
_MAX_FRAME: Final = (24 << 20) + _MAX_HEADERS + _OVERHEAD
"""Both limits are botocore's; the specification says 16 MiB of payload."""
_MAX_GUESSES: Final = 200_000
"""Places at which a stream is searched for its next frame: a second of work, far more than damage makes of a real one."""
_PLAUSIBLE: Final = re.compile(rb"(?!\x00\x00\x00[\x00-\x0f])[\x00\x01]...\x00[\x00-\x02]", re.DOTALL)
"""How lengths begin that are within the limits."""

_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type, for the types of one size."""
_BYTES: Final = 6
_TEXT: Final = 7


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame."""

    headers: dict[str, str]
    """Its headers that are text, which all those with a meaning are; names as sent, such as `:event-type`."""
    payload: bytes
    end_offset: int
    """Offset in the decoded body just after the frame."""

    @property
    def kind(self) -> str:
        """Name of the event or of the exception; empty: it has none."""
        return self.headers.get(":event-type") or self.headers.get(":exception-type") or ""

    @property
    def is_failure(self) -> bool:
        """Say whether it ends the stream with an error."""
        return self.headers.get(":message-type") in ("exception", "error")


class EventStreamParser:
    """Split a body into frames."""

    def __init__(self, *, start: int = 0, is_torn: bool = False) -> None:
        """Begin at offset `start` of the body; `is_torn`: in the middle of a frame, which is then left out."""
        self.is_damaged = False
        """A frame was left out or cut short because its CRC, a length or a header was wrong, or the body ended in it."""
        self._offset = start
        self._buffer = bytearray()
        self._is_searching = is_torn
        self._guesses = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the body; return the frames that they complete."""
        self._buffer += data
        return list(self._frames())

    def close(self) -> None:
        """Say that the body is over."""
        self.is_damaged |= bool(self._buffer) and not self._is_searching

    def _frames(self) -> Iterator[Frame]:
        begin = 0
        view = bytes(self._buffer) if self._has_frame() else b""
        while len(view) - begin >= _OVERHEAD:
            size = _frame_size(view, begin)
            if size == 0:
                begin = self._search(view, begin)
                continue
            if len(view) - begin < size:
                break
            self._is_searching = False
            frame = self._frame(view[begin : begin + size], self._offset + begin + size)
            begin += size
            if frame is not None:
                yield frame
        del self._buffer[:begin]
        self._offset += begin

    def _has_frame(self) -> bool:
        """Say whether more can be done than wait; cheap, because it is asked for every piece of a large frame."""
        if len(self._buffer) < _OVERHEAD:
            return False
        size = _frame_size(self._buffer, 0)
        return size == 0 or len(self._buffer) >= size

    def _search(self, view: bytes, begin: int) -> int:
        """Return where the next frame may begin."""
        self.is_damaged |= not self._is_searching
        self._is_searching = True
        self._guesses += 1
        match = _PLAUSIBLE.search(view, begin + 1) if self._guesses <= _MAX_GUESSES else None
        # The last bytes may be the beginning of lengths that are not complete yet.
        return match.start() if match else max(begin + 1, len(view) - _OVERHEAD + 1)

    def _frame(self, text: bytes, end_offset: int) -> Frame | None:
        _, header_size, _ = _PRELUDE.unpack_from(text)
        if _CRC.unpack_from(text, len(text) - _CRC.size)[0] != crc32(text[: -_CRC.size]):
            self.is_damaged = True
            return None
        middle = _PRELUDE.size + header_size
        headers, is_whole = _headers(text[_PRELUDE.size : middle])
        self.is_damaged |= not is_whole
        return Frame(headers, text[middle : -_CRC.size], end_offset)


def encode_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Return the bytes of a frame whose headers are all text."""
    written = b"".join(
        b"%c%b%c%b%b"
        % (len(name.encode()), name.encode(), _TEXT, len(value.encode()).to_bytes(2, "big"), value.encode())
        for name, value in headers.items()
    )
    lengths = _PRELUDE.pack(_OVERHEAD + len(written) + len(payload), len(written), 0)[:8]
    frame = lengths + _CRC.pack(crc32(lengths)) + written + payload
    return frame + _CRC.pack(crc32(frame))


def _frame_size(view: bytes | bytearray, begin: int) -> int:
    """Return the size of the frame at `begin`; 0: none begins there."""
    size, header_size, crc = _PRELUDE.unpack_from(view, begin)
    if not (_OVERHEAD + header_size <= size <= _MAX_FRAME) or header_size > _MAX_HEADERS:
        return 0
    return int(size) if crc32(view[begin : begin + 8]) == crc else 0


def _headers(text: bytes) -> tuple[dict[str, str], bool]:
    """Return the headers that are text, and whether all of them could be read."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        name_end = at + 1 + text[at]
        if name_end >= len(text):
            return found, False
        kind, value = text[name_end], name_end + 1
        if kind in (_BYTES, _TEXT):
            value += 2
            end = value + int.from_bytes(text[value - 2 : value], "big")
        elif kind in _SIZES:
            end = value + _SIZES[kind]
        else:
            return found, False
        if end > len(text):
            return found, False
        if kind == _TEXT:
            found[text[at + 1 : name_end].decode("utf-8", "replace")] = text[value:end].decode("utf-8", "replace")
        at = end
    return found, True
