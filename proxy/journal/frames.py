"""The format of a journal segment: a run of frames, nothing else.

    magic   2 bytes  b"GL"
    kind    1 byte   FrameKind
    version 1 byte   1, or 2: the payload is encrypted
    length  4 bytes  of the payload
    exchange 8 bytes number of the exchange, unique within its writer
    crc     4 bytes  CRC-32 of everything else in the frame

All integers are little-endian. The payload of BEGIN and END is a length-prefixed msgpack header and the raw bytes of
a body after it; that of a CHUNK is raw body bytes alone. CRC-32 rather than CRC-32C because it is in the standard
library as C code, and what it guards against is a torn write, not an adversary. It covers an encrypted payload as it
lies in the file, so damage is found without the key.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final
from zlib import crc32

import msgspec

from proxy.encryption import FRAME_OVERHEAD, FrameCipher

MAGIC: Final = b"GL"
VERSION: Final = 1
SEALED_VERSION: Final = 2
PREFIX: Final = struct.Struct("<2sBBIQ")
CRC: Final = struct.Struct("<I")
HEADER: Final = struct.Struct("<2sBBIQI")
"""Both."""
HEADER_SIZE: Final = HEADER.size
LENGTH: Final = struct.Struct("<I")
MAX_PAYLOAD: Final = 128 * 1024 * 1024
"""No frame is longer: twice the default body limit and its header. A longer length is a broken frame."""


class FrameKind(IntEnum):
    """What a frame holds."""

    OPEN = 1
    """First frame of a segment: writer id, process id, format."""
    BEGIN = 2
    CHUNK_REQUEST = 3
    """More bytes of the request body."""
    CHUNK_RESPONSE = 4
    """More bytes of the response body."""
    END = 5
    CLOSE = 6
    """Last frame of a writer that stopped in good order."""
    NOTE = 7
    """A piece of a response worth keeping although it lies beyond the capture limit; takes the place of its tail."""
    ERASED = 8
    """What was here is stored, and overwritten with zeros; never encrypted."""
    LOST = 9
    """Records that were not kept: a `Lost`."""
    FEEDBACK = 10
    """What somebody says of an answer: a `Feedback`, whole in one frame."""


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """Exchanges of which no record could be kept while the disk was full."""

    count: int
    first_ms: int
    """When the first of them began, Unix ms."""
    last_ms: int


CHUNK_REQUEST: Final = FrameKind.CHUNK_REQUEST
CHUNK_RESPONSE: Final = FrameKind.CHUNK_RESPONSE
NOTE: Final = FrameKind.NOTE


def frame(kind: int, exchange: int, payload: bytes, cipher: FrameCipher | None = None) -> bytes:
    """Return a whole frame, encrypted when there is a cipher."""
    if cipher is None:
        prefix = PREFIX.pack(MAGIC, kind, VERSION, len(payload), exchange)
    else:
        prefix = PREFIX.pack(MAGIC, kind, SEALED_VERSION, len(payload) + FRAME_OVERHEAD, exchange)
        payload = cipher.seal(payload, prefix)
    return b"".join((prefix, CRC.pack(crc32(payload, crc32(prefix))), payload))


def message(kind: int, exchange: int, header: bytes, body: bytes, cipher: FrameCipher | None = None) -> bytes:
    """Return the frame of a BEGIN or END: the body, which may be long, is copied once."""
    if cipher is not None:
        return frame(kind, exchange, join_payload(header, body), cipher)
    size = LENGTH.pack(len(header))
    prefix = PREFIX.pack(MAGIC, kind, VERSION, LENGTH.size + len(header) + len(body), exchange)
    checksum = crc32(body, crc32(header, crc32(size, crc32(prefix))))
    return b"".join((prefix, CRC.pack(checksum), size, header, body))


def join_payload(header: bytes, body: bytes) -> bytes:
    """Return a BEGIN or END payload: the msgpack header, its length before it, and the raw body."""
    return b"".join((LENGTH.pack(len(header)), header, body))


def split_payload(payload: bytes) -> tuple[bytes, bytes]:
    """Return the msgpack header and the raw body of a BEGIN or END payload."""
    (size,) = LENGTH.unpack_from(payload)
    end = LENGTH.size + size
    return payload[LENGTH.size : end], payload[end:]
