"""HTTP on the admin port: every byte is judged here before uvicorn's parser sees it.

The rules are those of the data port (`proxy.framing`). What passes reaches uvicorn and the application one whole
request at a time, so neither has to decide where a request ends, nor to wait for the rest of one: deadlines, sizes and
the number of connections are held here. What is refused is answered, counted and closed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import Any, Final, Literal, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.admin.guard import DEFAULT_CONTENT_POLICY, SECURITY_HEADERS
from proxy.config import Config, Limits, Timeouts
from proxy.crowd import Crowd, peer_address
from proxy.errors import BadRequest
from proxy.framing import ChunkDecoder, RequestHead, find_head_end, is_normal_path, read_request_head

MAX_KEEP_ALIVE_S: Final = 15
MAX_CONNECTIONS: Final = 512
MAX_CONNECTIONS_PER_ADDRESS: Final = 64
MAX_BODY_BYTES: Final = 256 * 1024
"""Far more than any route takes: each has a limit of its own."""
_PIPELINE_BYTES: Final = 64 * 1024
_LINGER_S: Final = 2.0
"""How long a client that is still sending may go on after a refusal; closing at once could destroy the answer."""
_LINGER_BYTES: Final = 256 * 1024
"""How much of it is taken; who sends more is held up and has only a moment left to see the answer."""
_BRIEFLY_S: Final = 0.3
_LOOK_S: Final = 0.25
"""Between two looks at the deadlines of a connection."""
_FOREVER: Final = float("inf")

State = Literal["head", "body", "answer", "over"]
"""What a connection waits for; over: for its end."""


@dataclass(slots=True)
class Port:
    """What the connections of one port have in common."""

    limits: Limits
    timeouts: Timeouts
    crowd: Crowd
    refused: int = 0
    """Requests that were refused before the application saw them."""
    shed: int = 0
    """Connections that were one too many."""

    @classmethod
    def of(cls, config: Config) -> Port:
        """Return a port, nobody inside."""
        crowd = Crowd(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, config.listen.trusted_proxies)
        return cls(config.limits, config.timeouts, crowd)

    @property
    def keep_alive_s(self) -> int:
        """How long a connection may wait for its next request."""
        return min(MAX_KEEP_ALIVE_S, ceil(self.timeouts.keep_alive))

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes a connection with."""
        return cast("type[asyncio.Protocol]", partial(GuardedProtocol, self))


@dataclass(slots=True)
class _Incoming:
    """A request whose body is on its way."""

    wire: bytearray
    """Head and body as they came."""
    decoder: ChunkDecoder | None
    remaining: int
    since: float
    """Beginning of the stretch over which its speed is taken."""
    size: int = 0
    """Bytes of the body, on the wire."""
    size_before: int = field(default=0)
    """The same at that time."""

    def take(self, data: bytes) -> bytes | None:
        """Take a piece; return what follows the end of the body, None when it is not reached. Raises BadRequest."""
        rest = self._find_rest(data)
        taken = data if rest is None else data[: len(data) - len(rest)]
        self.wire += taken
        self.size += len(taken)
        if self.size > MAX_BODY_BYTES:
            raise _too_large()
        return rest

    def _find_rest(self, data: bytes) -> bytes | None:
        if self.decoder is None:
            self.remaining -= len(data)
            return None if self.remaining > 0 else data[len(data) + self.remaining :]
        try:
            self.decoder.feed(data)
        except ValueError as error:
            raise BadRequest(f"the chunked coding is broken: {error}") from error
        return self.decoder.leftover if self.decoder.is_done else None

    def is_too_slow(self, now: float, pace: float, least: int) -> bool:
        """Say whether it came slower than `least` bytes a second over the last `pace` seconds."""
        stretch = now - self.since
        if stretch < pace:
            return False
        came = self.size - self.size_before
        self.since, self.size_before = now, self.size
        return came < least * stretch


def _too_large() -> BadRequest:
    return BadRequest(f"the body is larger than {MAX_BODY_BYTES} bytes", status=413, code="too_large")


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        port: Port,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._port = port
        self._state: State = "head"
        self._buffer = b""
        self._incoming: _Incoming | None = None
        self._is_last = False
        """The client said that no further request follows."""
        self._dropped_bytes = 0
        self._deadline = _FOREVER
        self._paused_since = _FOREVER
        self._closing_since = _FOREVER
        self._look: asyncio.TimerHandle | None = None

    # --- from the client ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._look = self.loop.call_later(_LOOK_S, self._check_deadlines)
        reached = self._port.crowd.enter(self, peer_address(transport.get_extra_info("peername")))
        if reached is not None:
            self._port.shed += 1
            self._refuse(BadRequest("too many connections are open", status=503, code="overloaded"))
            return
        self._deadline = self.loop.time() + self._port.timeouts.header

    def data_received(self, data: bytes) -> None:
        if self._state == "body":
            self._read_body(data)
        elif self._state == "head":
            self._buffer += data
            self._read_head()
        elif self._state == "answer":
            self._buffer += data
            if len(self._buffer) > _PIPELINE_BYTES:
                self.flow.pause_reading()
        else:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _LINGER_BYTES:
                self.flow.pause_reading()
                self._deadline = min(self._deadline, self.loop.time() + _BRIEFLY_S)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's own never keeps a connection
        return self._is_last and self._state == "answer"

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = "over"
        self._port.crowd.leave(self)
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    # --- one request -------------------------------------------------------------------------------------------

    def _read_head(self) -> None:
        self._buffer = self._buffer.lstrip(b"\r\n")
        if not self._buffer:
            return
        self._unset_keepalive_if_required()
        self._deadline = min(self._deadline, self.loop.time() + self._port.timeouts.header)
        limits = self._port.limits
        try:
            end = find_head_end(self._buffer, max_head=limits.header_bytes, max_url=limits.url_bytes)
            if end is None:
                return
            raw, rest = self._buffer[:end], self._buffer[end:]
            head = self._judge(raw)
        except BadRequest as error:
            self._refuse(error)
            return
        self._buffer = b""
        self._is_last = not head.keep_alive
        if not head.is_chunked and not head.content_length:
            self._serve(raw, rest)
            return
        now, decoder = self.loop.time(), ChunkDecoder() if head.is_chunked else None
        self._incoming = _Incoming(bytearray(raw), decoder, head.content_length or 0, since=now)
        self._state = "body"
        self._deadline = now + self._port.timeouts.body_idle
        if rest:
            self._read_body(rest)
        elif head.expects_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _judge(self, raw: bytes) -> RequestHead:
        limits = self._port.limits
        head = read_request_head(raw, max_lines=limits.header_lines, max_url=limits.url_bytes)
        if len(raw) - len(head.target) > limits.header_bytes:
            raise BadRequest("the request head is too large", status=431, code="too_large")
        path, _, query = head.target.partition(b"?")
        if not is_normal_path(path) or b"#" in query:
            raise BadRequest("the path is not in normal form")
        if b"upgrade" in head.lowered:
            raise BadRequest("no other protocol is spoken here", status=501)
        if (head.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        return head

    def _read_body(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        try:
            rest = incoming.take(data)
        except BadRequest as error:
            self._refuse(error)
            return
        if rest is None:
            self._deadline = self.loop.time() + self._port.timeouts.body_idle
        else:
            self._incoming = None
            self._serve(bytes(incoming.wire), rest)

    def _serve(self, request: bytes, rest: bytes) -> None:
        """Hand a whole request to uvicorn; `rest` waits for its answer."""
        self._state = "answer"
        self._deadline = _FOREVER
        self._buffer = rest
        super().data_received(request)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["port"] = self._port

    def on_header(self, name: bytes, value: bytes) -> None:
        # Some take an underscore for a hyphen; and what is expected was granted here.
        if b"_" not in name and name.lower() != b"expect":
            super().on_header(name, value)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._state == "answer" and not self.transport.is_closing():
            self._state = "head"
            if self._buffer:
                self.loop.call_soon(self._next_request)

    def _next_request(self) -> None:
        if self._state == "head" and not self.transport.is_closing():
            self._read_head()

    # --- endings -----------------------------------------------------------------------------------------------

    def _refuse(self, error: BadRequest) -> None:
        self._port.refused += 1
        self.transport.write(_refusal(error))
        self._linger()

    def _linger(self) -> None:
        """Take and drop what still comes, so that the client can read the answer before the connection goes."""
        self._state = "over"
        self._buffer, self._incoming = b"", None
        self._unset_keepalive_if_required()
        self._deadline = self.loop.time() + _LINGER_S
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()

    def pause_writing(self) -> None:
        self._paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._paused_since = _FOREVER
        super().resume_writing()

    def _check_deadlines(self) -> None:
        self._look = self.loop.call_later(_LOOK_S, self._check_deadlines)
        now, timeouts, incoming = self.loop.time(), self._port.timeouts, self._incoming
        if self.transport.is_closing():
            self._closing_since = min(self._closing_since, now)
        least = self._port.limits.body_bytes_per_second
        if now - min(self._paused_since, self._closing_since) > timeouts.write_stall:
            self.transport.abort()
        elif incoming is not None and (now > self._deadline or incoming.is_too_slow(now, timeouts.body_pace, least)):
            self._refuse(BadRequest("the request body took too long", status=408))
        elif now > self._deadline and self._state == "head" and self._buffer:
            self._refuse(BadRequest("the request head took too long", status=408))
        elif now > self._deadline:
            self.transport.abort()


def _refusal(error: BadRequest) -> bytes:
    body = msgspec.json.encode({"error": {"code": error.code, "message": str(error)}})
    lines = [
        b"HTTP/1.1 %d %b" % (error.status, HTTPStatus(error.status).phrase.encode()),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
        *(b"%b: %b" % each for each in (*SECURITY_HEADERS, DEFAULT_CONTENT_POLICY)),
    ]
    return b"\r\n".join((*lines, b"", body))
