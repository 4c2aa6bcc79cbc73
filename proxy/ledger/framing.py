"""Messages as frames: four bytes of little-endian length, then msgpack. Push bytes, pull frames; no I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.errors import LedgerUnavailable

LENGTH: Final = struct.Struct("<I")
MAX_REQUEST: Final = 1024 * 1024
"""Bytes of one message to the ledger: a reservation under a hundred budgets has less than 20 KB."""
MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of one answer: some 500,000 open reservations."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class BadFrame(LedgerUnavailable):
    """The other side does not speak our protocol."""


def frame(message: msgspec.Struct) -> bytes:
    """Return `message` as a frame."""
    payload = _ENCODER.encode(message)
    return LENGTH.pack(len(payload)) + payload


class FrameBuffer:
    """Cuts a stream of bytes into the payloads of frames."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add `data` and yield each payload that is complete. Raises BadFrame for a length above the limit."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= LENGTH.size:
                (length,) = LENGTH.unpack_from(self._buffer, start)
                if length > self._max_bytes:
                    raise BadFrame(f"a frame of {length} bytes")
                end = start + LENGTH.size + length
                if len(self._buffer) < end:
                    break
                payload = bytes(self._buffer[start + LENGTH.size : end])
                start = end
                yield payload
        finally:
            del self._buffer[:start]
