"""How a stream falls into pieces that can be counted, and passed on or held back, one by one: lines, or frames.

Any split of the bytes gives the same pieces, and the pieces are the bytes. What grows without an end is handed out as
it comes, to be counted byte by byte: memory and time stay linear whatever an upstream sends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LONGEST_LINE: Final = 256 * 1024
"""Bytes of a line that are kept to be read; a picture in a stream is larger, and no text is."""
_LONGEST_FRAME: Final = 1 << 24
"""Bytes; Bedrock's frames have at most a few hundred thousand."""
_SHORTEST_FRAME: Final = 16
_PRELUDE: Final = 12


class Unit(NamedTuple):
    """A piece of a stream."""

    data: bytes
    is_whole: bool
    """False: a part of something too long to be read."""


class Lines:
    """Lines that end with CR, LF or both."""

    __slots__ = ("_is_long", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_long = False
        """The line under way was handed out in part."""

    def feed(self, data: bytes) -> list[Unit]:
        """Return what is complete now."""
        units: list[Unit] = []
        for line in data.splitlines(keepends=True):
            if line.endswith((b"\n", b"\r")):
                units.append(self._completed(line))
            else:
                self._rest += line
        if self._is_long or len(self._rest) > LONGEST_LINE:
            self._is_long = True
            units += self.close()
        return units

    def _completed(self, line: bytes) -> Unit:
        whole, self._is_long = not self._is_long, False
        if self._rest:
            line = bytes(self._rest) + line
            self._rest.clear()
        return Unit(line, whole)

    def close(self) -> list[Unit]:
        """Return what is left when the stream is over."""
        if not self._rest:
            return []
        rest = bytes(self._rest)
        self._rest.clear()
        return [Unit(rest, not self._is_long)]


class Frames:
    """Messages of `application/vnd.amazon.eventstream`: a length, headers, a payload, a checksum."""

    __slots__ = ("_is_broken", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_broken = False

    def feed(self, data: bytes) -> list[Unit]:
        """Return what is complete now."""
        self._rest += data
        units: list[Unit] = []
        start = 0
        while not self._is_broken and len(self._rest) - start >= 4:
            size = int.from_bytes(self._rest[start : start + 4], "big")
            if not _SHORTEST_FRAME <= size <= _LONGEST_FRAME:
                self._is_broken = True
            elif len(self._rest) - start < size:
                break
            else:
                units.append(Unit(bytes(self._rest[start : start + size]), True))
                start += size
        del self._rest[:start]
        return units + self.close() if self._is_broken else units

    def close(self) -> list[Unit]:
        """Return what is left when the stream is over."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [Unit(rest, False)] if rest else []


def payload_of(frame: bytes) -> bytes:
    """Return the payload of a frame; the whole frame when its headers do not fit into it."""
    headers = int.from_bytes(frame[4:8], "big")
    end = len(frame) - 4
    return frame[_PRELUDE + headers : end] if _PRELUDE + headers <= end else frame
