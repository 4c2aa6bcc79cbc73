"""The door: the handshake and the frames of a WebSocket, up to the messages of a session.

uvicorn hands over the connection with the head of the request. Compression is agreed to when a client offers it, a
ping is sent to greet, and the directives that break streams break sessions, counted in messages.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from proxy.simulator.directives import Directives
from proxy.simulator.rejection import RejectionError
from proxy.simulator.sockets.session import Bill, Goodbye, Opened, Session, Spoken
from proxy.websocket import Deflate, FrameParser, Opcode, close_frame, encode_frame

if TYPE_CHECKING:
    from uvicorn import Config

    from proxy.simulator.app import Simulator

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PING: Final = encode_frame(Opcode.PING, b"simulated")
_SMALL: Final = 64
"""Bytes below which a message is not worth compressing."""


class SocketDoor(asyncio.Protocol):
    """One connection. uvicorn makes it for each request that asks for a WebSocket."""

    def __init__(self, config: Config, **_: object) -> None:
        self._sockets = cast("Simulator", config.app).sockets
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._opened: Opened | None = None
        self._session: Session | None = None
        self._parser = FrameParser()
        self._deflater: Any = None
        self._to_say: deque[Spoken] = deque()
        self._speaker: asyncio.Task[None] | None = None
        self._said = 0
        self._protocol = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take the head of the request first, frames after it."""
        if self._session is not None:
            self._hear(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._open(head)
            self._hear(rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        """Stop talking."""
        self._transport = None
        if self._speaker is not None:
            self._speaker.cancel()
        if self._opened is not None:
            self._sockets.closed(self._opened.request, self._said)

    # --- the handshake -----------------------------------------------------------------------------------------

    def _open(self, head: bytes) -> None:
        line, *lines = head.split(b"\r\n")
        method, target, _ = line.decode("latin-1").split(" ")
        headers = {
            name.decode().lower(): value.strip().decode("latin-1")
            for name, _, value in (each.partition(b":") for each in lines)
        }
        try:
            self._opened, self._session = self._sockets.open(method, target, headers)
        except RejectionError as rejection:
            self._refuse(rejection)
            return
        self._write(self._granted(headers))
        self._write(_PING)
        self._speak(self._session.greet())

    def _refuse(self, rejection: RejectionError) -> None:
        kind = rejection.kind or "invalid_request_error"
        error = {"message": rejection.message, "type": kind, "param": rejection.param, "code": rejection.code}
        body = rejection.body or msgspec.json.encode({"error": error})
        head = (
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        )
        self._write(head % (rejection.status, len(body)) + body)
        if self._transport is not None:
            self._transport.close()

    def _granted(self, headers: Mapping[str, str]) -> bytes:
        key = headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 says so
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"upgrade: websocket",
            b"connection: Upgrade",
            b"sec-websocket-accept: " + accept,
        ]
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
        if offered:
            lines.append(b"sec-websocket-protocol: " + offered[0].encode())
        if "permessage-deflate" in headers.get("sec-websocket-extensions", ""):
            lines.append(b"sec-websocket-extensions: permessage-deflate")
            self._parser = FrameParser(deflate=Deflate())
            self._deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # --- frames ------------------------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> None:
        for message in self._parser.feed(data):
            if message.opcode is Opcode.PING:
                self._write(encode_frame(Opcode.PONG, message.head))
            elif message.opcode is Opcode.CLOSE:
                self._end(encode_frame(Opcode.CLOSE, message.head[:2]))
            elif message.opcode is not Opcode.PONG and self._session is not None:
                self._speak(self._session.hear(_read_object(message.head)))
        if self._parser.problem is not None:
            self._end(close_frame(1002, self._parser.problem))

    def _speak(self, spoken: Iterable[Spoken]) -> None:
        self._to_say.extend(spoken)
        if self._speaker is None or self._speaker.done():
            self._speaker = asyncio.get_running_loop().create_task(self._say_all())

    async def _say_all(self) -> None:
        wishes, opened = self._wishes, self._opened
        if wishes.ttft is not None and opened is not None:
            await asyncio.sleep(wishes.ttft.draw(opened.dice("ttft")))
        while self._to_say and self._transport is not None and opened is not None:
            each = self._to_say.popleft()
            if isinstance(each, Bill):
                self._sockets.consumed(opened.request, each)
            elif isinstance(each, Goodbye):
                self._end(close_frame(each.code, each.reason))
            elif not await self._breaks(wishes):
                self._say(msgspec.json.encode(each))
                if wishes.pace is not None:
                    await asyncio.sleep(1 / wishes.pace.draw(opened.dice("pace")))

    @property
    def _wishes(self) -> Directives:
        return self._opened.wishes if self._opened is not None else Directives()

    async def _breaks(self, wishes: Directives) -> bool:
        """Break the session off if it is time to."""
        transport = self._transport
        if transport is None:
            return True
        if wishes.cut is not None and self._said >= wishes.cut:
            await _reset(transport)
        elif wishes.fin is not None and self._said >= wishes.fin:
            transport.close()
        elif wishes.hang_up is not None and self._said >= (wishes.eof or 1):
            self._end(close_frame(wishes.hang_up, "as told"))
        else:
            return wishes.stall is not None and self._said >= wishes.stall
        self._transport = None
        return True

    def _say(self, text: bytes) -> None:
        self._said += 1
        opcode = Opcode.BINARY if self._session is not None and self._session.is_binary else Opcode.TEXT
        if self._deflater is None or len(text) < _SMALL:
            self._write(encode_frame(opcode, text))
        else:
            packed = self._deflater.compress(text) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
            self._write(encode_frame(opcode, packed[:-4], is_compressed=True))

    def _end(self, last: bytes) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(last)
            transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _read_object(text: bytes) -> Mapping[str, object]:
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return message if isinstance(message, dict) else {}


async def _reset(transport: asyncio.Transport) -> None:
    """Break the connection off once everything written has reached the kernel."""
    # asyncio says when little is left in a buffer, never when nothing is.
    while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    # Linger for no time at all: close(2) then sends RST instead of FIN (socket(7), SO_LINGER).
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
