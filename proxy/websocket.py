"""WebSocket framing (RFC 6455) and message compression (RFC 7692) as functions over bytes: no socket, no clock.

The gateway relays frames as bytes and looks at a copy; the readers see the same copy later. So the parser only watches:
push bytes, pull messages. Fragments are joined, control frames in their midst come out where they stood, compressed
messages are inflated. Of a long message only both ends are kept. What breaks the protocol sets `problem` and ends the
watching, never the relaying; whatever the split of the bytes, the messages are the same.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

__all__ = ["Deflate", "FrameParser", "Message", "Opcode", "close_frame", "encode_frame", "read_extensions", "unmask"]

MESSAGE_LIMIT: Final = 64 * 1024 * 1024
"""No message is inflated further: four times the longest that any provider takes."""
_PIECE_BYTES: Final = 256 * 1024
_SYNC: Final = b"\x00\x00\xff\xff"
"""What a sender cuts off the end of each compressed message (RFC 7692 §7.2.1)."""
_MAX_CONTROL: Final = 125


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY})
_CONTROL: Final = frozenset({Opcode.CLOSE, Opcode.PING, Opcode.PONG})


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, or a control frame."""

    opcode: Opcode
    head: bytes
    """Its first bytes, unmasked and inflated; all of them when `is_whole`."""
    tail: bytes
    """Its last bytes, when it was longer than what is kept."""
    size: int
    """Bytes, inflated."""
    end_offset: int
    """Offset in the relayed bytes just after its last frame."""

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is missing between head and tail."""
        return self.size == len(self.head)

    @property
    def close_code(self) -> int | None:
        """Return the code of a close frame; None: it is none, or names no code."""
        return int.from_bytes(self.head[:2], "big") if self.opcode is Opcode.CLOSE and self.size >= 2 else None

    @property
    def close_reason(self) -> str:
        """Return the reason of a close frame."""
        return self.head[2:].decode("utf-8", "replace") if self.opcode is Opcode.CLOSE else ""


@dataclass(frozen=True, slots=True)
class Deflate:
    """`permessage-deflate` as negotiated, for one direction."""

    keeps_context: bool = True
    """A message may refer to the ones before it."""


def read_extensions(value: bytes, *, is_server: bool) -> Deflate | None:
    """Return how a side compresses by the server's `Sec-WebSocket-Extensions`; None: not at all.

    `is_server`: the side is the server. Raises ValueError for an extension that nobody here can undo.
    """
    found: Deflate | None = None
    side = b"server" if is_server else b"client"
    for offer in value.split(b","):
        name, *parameters = (part.strip().lower() for part in offer.split(b";"))
        if not name:
            continue
        if name != b"permessage-deflate" or found is not None:
            raise ValueError(f"the extension {name[:40].decode('ascii', 'replace')} is not known here")
        found = Deflate(keeps_context=side + b"_no_context_takeover" not in parameters)
    return found


def unmask(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    """Apply the mask of a frame to the bytes at `offset` of its payload; twice gives the bytes back."""
    if not data or mask == b"\0\0\0\0":
        return data
    turn = offset % 4
    pattern = (mask[turn:] + mask[:turn]) * (len(data) // 4 + 1)
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(pattern[: len(data)], "little")
    return mixed.to_bytes(len(data), "little")


def encode_frame(
    opcode: Opcode, payload: bytes, *, mask: bytes | None = None, is_final: bool = True, is_compressed: bool = False
) -> bytes:
    """Return one frame; `mask` None: unmasked, as servers send."""
    first = opcode | (0x80 if is_final else 0) | (0x40 if is_compressed else 0)
    size, masked = len(payload), 0x80 if mask is not None else 0
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, masked | 126, size)
    else:
        head = struct.pack(">BBQ", first, masked | 127, size)
    return head + payload if mask is None else head + mask + unmask(payload, mask)


def close_frame(code: int, reason: str, *, mask: bytes | None = None) -> bytes:
    """Return a close frame; a reason that is too long is cut."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode("utf-8", "ignore").encode()
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + text, mask=mask)


class _Broken(Exception):
    """The bytes are not WebSocket frames; the message is the name of the problem."""


@dataclass(slots=True)
class _Assembly:
    """A message on its way."""

    opcode: Opcode
    is_compressed: bool
    size: int = 0
    head: list[bytes] = field(default_factory=list)
    head_bytes: int = 0
    tail: bytes = b""

    def add(self, piece: bytes, keep_head: int, keep_tail: int) -> None:
        """Take more of it, inflated."""
        self.size += len(piece)
        if self.size > MESSAGE_LIMIT and self.is_compressed:
            raise _Broken("message_too_large")
        room = keep_head - self.head_bytes
        if room > 0:
            self.head.append(piece[:room])
            self.head_bytes += len(self.head[-1])
        if len(piece) > room and keep_tail:
            self.tail = (self.tail + piece[room:])[-keep_tail:]

    def finish(self, end_offset: int) -> Message:
        """Return the message."""
        return Message(self.opcode, b"".join(self.head), self.tail, self.size, end_offset)


class FrameParser:
    """Watches one direction of a connection."""

    __slots__ = (
        "_control",
        "_deflate",
        "_header",
        "_in_frame",
        "_inflater",
        "_is_final",
        "_keep_head",
        "_keep_tail",
        "_mask",
        "_message",
        "_offset",
        "_position",
        "_remaining",
        "problem",
    )

    def __init__(
        self, *, deflate: Deflate | None = None, keep_head: int = MESSAGE_LIMIT, keep_tail: int = 0, start: int = 0
    ) -> None:
        """Keep of each message `keep_head` bytes of its beginning and, if it is longer, `keep_tail` of its end.

        With neither, payloads are not even unmasked. `start`: offset of the first byte in the relayed bytes.
        """
        self.problem: str | None = None
        """Why there is no use in watching any more; None: all is well."""
        self._deflate = deflate
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._keep_head = keep_head
        self._keep_tail = keep_tail
        self._offset = start
        self._header = b""
        self._in_frame = False
        self._remaining = 0
        self._mask: bytes | None = None
        self._position = 0
        self._is_final = False
        self._message: _Assembly | None = None
        self._control: _Assembly | None = None

    @property
    def is_between_frames(self) -> bool:
        """Say whether the last frame is complete, so that another could follow here."""
        return not self._in_frame and not self._header and self.problem is None

    @property
    def is_between_messages(self) -> bool:
        """Say whether the last message is complete."""
        return self.is_between_frames and self._message is None

    def feed(self, data: bytes) -> list[Message]:
        """Take the next relayed bytes; return the messages and control frames that they complete."""
        messages: list[Message] = []
        if self.problem is None:
            try:
                self._feed(data, messages)
            except _Broken as problem:
                self.problem = str(problem)
                self._message = self._control = None
        return messages

    def _feed(self, data: bytes, messages: list[Message]) -> None:
        position, end = 0, len(data)
        while position < end or (self._in_frame and not self._remaining):
            if not self._in_frame:
                taken = self._take_header(data[position : position + 14])
                position += taken
                self._offset += taken
                continue
            stop = min(end, position + self._remaining)
            self._take_payload(data[position:stop] if position or stop < end else data)
            self._remaining -= stop - position
            self._offset += stop - position
            position = stop
            if not self._remaining:
                self._end_frame(messages)

    def _take_header(self, data: bytes) -> int:
        """Read a frame header that may come in pieces; return how many of the bytes belong to it."""
        known = len(self._header)
        header = self._header + data
        size = _header_size(header)
        if size is None or len(header) < size:
            self._header = header
            return len(data)
        self._header = b""
        self._begin_frame(header[:size])
        return size - known

    def _begin_frame(self, header: bytes) -> None:
        first, second = header[0], header[1]
        length = second & 0x7F
        position = 2
        if length >= 126:
            position = 4 if length == 126 else 10
            length = int.from_bytes(header[2:position], "big")
        self._mask = header[position:] if second & 0x80 else None
        self._remaining = length
        self._position = 0
        self._is_final = bool(first & 0x80)
        self._in_frame = True
        self._open(first & 0x0F, is_compressed=bool(first & 0x40), has_reserved=bool(first & 0x30))

    def _open(self, code: int, *, is_compressed: bool, has_reserved: bool) -> None:
        if has_reserved or (is_compressed and self._deflate is None):
            raise _Broken("reserved_bits")
        if self._remaining >= 1 << 63:
            raise _Broken("frame_length")
        if code == Opcode.CONTINUATION:
            if self._message is None or is_compressed:
                raise _Broken("continuation")
        elif code in _DATA:
            if self._message is not None:
                raise _Broken("unfinished_message")
            self._message = _Assembly(Opcode(code), is_compressed)
        elif code in _CONTROL:
            if not self._is_final or self._remaining > _MAX_CONTROL or is_compressed:
                raise _Broken("control_frame")
            self._control = _Assembly(Opcode(code), is_compressed=False)
        else:
            raise _Broken("opcode")

    def _take_payload(self, data: bytes) -> None:
        if self._control is not None:
            self._control.add(self._plain(data), _MAX_CONTROL, 0)
            return
        message = self._message
        if message is None:
            return
        if not self._keep_head and not self._keep_tail:
            message.size += len(data)
        elif message.is_compressed:
            self._inflate(message, self._plain(data))
        else:
            message.add(self._plain(data), self._keep_head, self._keep_tail)

    def _plain(self, data: bytes) -> bytes:
        if self._mask is None:
            return data
        plain = unmask(data, self._mask, self._position)
        self._position += len(data)
        return plain

    def _inflate(self, message: _Assembly, data: bytes) -> None:
        try:
            piece = data
            # A full piece may have more behind it, although all of the input is taken.
            while data or len(piece) == _PIECE_BYTES:
                piece = self._inflater.decompress(data, _PIECE_BYTES)
                message.add(piece, self._keep_head, self._keep_tail)
                data = self._inflater.unconsumed_tail
                if self._inflater.eof:  # a final block: nothing forbids it, and what follows starts afresh
                    data = self._inflater.unused_data
                    self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        except zlib.error as error:
            raise _Broken("deflate") from error

    def _end_frame(self, messages: list[Message]) -> None:
        self._in_frame = False
        if self._control is not None:
            messages.append(self._control.finish(self._offset))
            self._control = None
        elif self._message is not None and self._is_final:
            message, self._message = self._message, None
            if message.is_compressed and (self._keep_head or self._keep_tail):
                self._inflate(message, _SYNC)
                if self._deflate is not None and not self._deflate.keeps_context:
                    self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            messages.append(message.finish(self._offset))


def _header_size(header: bytes) -> int | None:
    """Return the bytes of a frame header; None: too few are there to tell."""
    if len(header) < 2:
        return None
    second = header[1]
    length = second & 0x7F
    return 2 + (8 if length == 127 else 2 if length == 126 else 0) + (4 if second & 0x80 else 0)
