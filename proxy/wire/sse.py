"""Server-sent events, read incrementally: push bytes, pull events.

Lines end in LF, CRLF or CR, also with a CR and its LF in different pieces; a BOM at the very beginning is skipped; an
event without its blank line is delivered at the close, although SDKs drop it, because its usage counts. Whatever the
split of the bytes, the events are the same, and the work is linear in their number.
Nothing is decoded here: a piece may end in the middle of a character.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_BOM: Final = b"\xef\xbb\xbf"
_PLAIN: Final = re.compile(rb"(?::[^\n]*+\n|\n)*+(?:event: ?([^\n]*+)\n)?data: ?([^\n]*+)\n\n")
"""An event as nearly all are, where no line ends in CR: perhaps a name, one line of data. Comments may stand before."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream."""

    name: bytes
    """Value of `event:`; empty: the stream gave none."""
    data: bytes
    """Values of the `data:` lines joined by LF."""
    end_offset: int
    """Offset in the decoded body just after the byte that completed the event: the LF or CR of its blank line."""


class SseParser:
    """Split a body into events. `id:`, `retry:` and comments carry nothing that a record needs and are skipped."""

    def __init__(self, *, start: int = 0, is_torn: bool = False) -> None:
        """Begin at offset `start` of the body; `is_torn`: in the middle of an event, which is then left out."""
        self._offset = start
        self._is_torn = is_torn
        self._is_first_line = start == 0
        self._is_after_cr = False
        self._partial = bytearray()
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body; return the events that they complete."""
        if self._is_after_cr and data:
            self._is_after_cr = False
            if data.startswith(b"\n"):
                self._offset += 1
                data = data[1:]
        if b"\n" not in data and b"\r" not in data:
            self._partial += data
            self._offset += len(data)
            return []
        events = self._take_plain(data)
        if events:
            data = data[events[-1].end_offset - self._offset :]
            self._offset = events[-1].end_offset
        return events + self._take_lines(data) if data else events

    def close(self) -> list[Event]:
        """Say that the body is over; return the event that nothing terminated, if there is one."""
        if self._partial:
            self._take_field(self._whole_line(b""))
        return self._dispatch()

    def _take_plain(self, data: bytes) -> list[Event]:
        """Return the events at the start of `data` that stand there in plain form, without taking them."""
        is_between_events = not (self._partial or self._data or self._name or self._is_torn)
        if not is_between_events or (self._is_first_line and data[:1] == _BOM[:1]) or b"\r" in data:
            return []
        events: list[Event] = []
        match = _PLAIN.match(data)
        while match is not None:
            name, content = match.groups()
            events.append(Event(name or b"", content, self._offset + match.end()))
            match = _PLAIN.match(data, match.end())
        self._is_first_line = self._is_first_line and not events
        return events

    def _take_lines(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for line in data.splitlines(keepends=True):
            self._offset += len(line)
            content = line.rstrip(b"\r\n")
            if len(content) == len(line):
                self._partial += line
                return events
            if self._partial or self._is_first_line:
                content = self._whole_line(content)
            if content:
                self._take_field(content)
            elif self._data or self._is_torn:
                # The CR alone ends the event: whether a LF follows must not depend on how the bytes were split.
                events += self._dispatch(line.endswith(b"\r\n"))
            else:
                self._name = b""
        self._is_after_cr = data.endswith(b"\r")
        return events

    def _whole_line(self, end: bytes) -> bytes:
        line = bytes(self._partial) + end
        self._partial.clear()
        if self._is_first_line:
            self._is_first_line = False
            return line.removeprefix(_BOM)
        return line

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event":
            self._name = value[1:] if value[:1] == b" " else value

    def _dispatch(self, is_crlf: bool = False) -> list[Event]:
        name, data, is_torn = self._name, self._data, self._is_torn
        self._name, self._data, self._is_torn = b"", [], False
        if is_torn or not data:
            return []
        content = data[0] if len(data) == 1 else b"\n".join(data)
        return [Event(name, content, self._offset - is_crlf)]
