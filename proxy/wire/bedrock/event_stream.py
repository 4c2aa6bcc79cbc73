"""The binary event stream of AWS (`application/vnd.amazon.eventstream`), read and written.

A message is: total length, length of the headers, CRC of those eight bytes; headers; payload; CRC of all before it.
Numbers are big-endian, CRCs are CRC-32 as in gzip. A header is its name with one byte of length, one byte of type, and
the value; those that matter are strings (type 7, two bytes of length). Source: AWS documentation, “Amazon Transcribe,
event stream encoding”; botocore/eventstream.py for the limits; 2026-11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

CONTENT_TYPE: Final = b"application/vnd.amazon.eventstream"
_PRELUDE: Final = struct.Struct(">III")
_WORD: Final = struct.Struct(">I")
_LARGEST: Final = 25 * 1024 * 1024
_STRING: Final = 7
_WIDTHS: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by type; of the others the length is written."""


class Message(NamedTuple):
    """One message of a stream."""

    headers: Mapping[str, str]
    """Those with text."""
    payload: bytes
    end_offset: int
    """Offset behind it in the body."""
    is_intact: bool
    """Its checksums are right."""

    @property
    def kind(self) -> str:
        """Name of the event or of the exception."""
        return self.headers.get(":event-type") or self.headers.get(":exception-type") or ""

    @property
    def is_exception(self) -> bool:
        """Say whether the stream ends with it."""
        return self.headers.get(":message-type") in ("exception", "error")


def messages(body: bytes) -> Iterator[Message]:
    """Yield the whole messages of a body. Where the framing itself is damaged nothing more can be found."""
    position = 0
    while position + _PRELUDE.size <= len(body):
        total, header_size, check = _PRELUDE.unpack_from(body, position)
        end = position + total
        if not 16 <= total <= _LARGEST or header_size > total - 16 or end > len(body):
            return
        is_intact = zlib.crc32(body[position : position + 8]) == check
        is_intact &= zlib.crc32(body[position : end - 4]) == _WORD.unpack_from(body, end - 4)[0]
        start = position + _PRELUDE.size
        headers = dict(_headers(body[start : start + header_size]))
        yield Message(headers, body[start + header_size : end - 4], end, is_intact)
        position = end


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a message with text headers."""
    packed = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    whole = prelude + _WORD.pack(zlib.crc32(prelude)) + packed + payload
    return whole + _WORD.pack(zlib.crc32(whole))


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(data):
        name_end = position + 1 + data[position]
        if name_end >= len(data):
            return
        name, kind = data[position + 1 : name_end].decode("utf-8", "replace"), data[name_end]
        position = name_end + 1
        if kind in _WIDTHS:
            position += _WIDTHS[kind]
            continue
        size = int.from_bytes(data[position : position + 2], "big")
        value = data[position + 2 : position + 2 + size]
        position += 2 + size
        if kind == _STRING:
            yield name, value.decode("utf-8", "replace")
