"""The application's side of a connection: reads requests one after the other, writes what the relay hands it.

Requests that arrive before the answer to the last one wait as bytes, and reading pauses. A client that closes its
side has left: like nginx we cannot tell a half-closed socket from a closed one before it is too late to save money.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy.errors import BadRequest
from proxy.gateway.framing import ChunkDecoder
from proxy.gateway.opening import Opening

if TYPE_CHECKING:
    from proxy.gateway.relay import Relay
    from proxy.gateway.service import Gateway
    from proxy.gateway.socket.relay import SocketRelay

_PIPELINE_BYTES: Final = 64 * 1024
"""Bytes of following requests that may wait before reading pauses."""
_LINGER_S: Final = 2.0
"""How long a client that is still sending may go on after an early answer; closing at once could destroy the answer."""
_FOREVER: Final = float("inf")


class ClientConnection(asyncio.Protocol):
    """One connection of an application."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_gateway",
        "_is_held",
        "_is_lingering",
        "_is_next_due",
        "_is_reading_paused",
        "_remaining",
        "_request_is_open",
        "deadline",
        "last_read",
        "paused_since",
        "relay",
        "transport",
        "tunnel",
    )

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.transport: asyncio.Transport | None = None
        self.relay: Relay | None = None
        self.tunnel: SocketRelay | None = None
        """Takes every byte since the connection became a WebSocket; None: it speaks HTTP."""
        self.deadline = _FOREVER
        """Monotonic time at which `expire` is called."""
        self.last_read = 0.0
        self.paused_since: float | None = None
        """Since when the client takes no more bytes; None: it takes them."""
        self._buffer = b""
        self._decoder: ChunkDecoder | None = None
        self._remaining = 0
        self._request_is_open = False
        self._is_held = False
        self._is_lingering = False
        self._is_next_due = False
        self._is_reading_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._gateway.clients.add(self)
        if len(self._gateway.clients) > self._gateway.limits.connections:
            self._gateway.answer_unrecorded(self, "overloaded", 503, "too many connections")
            return
        self.deadline = self._gateway.now() + self._gateway.timeouts.header

    def data_received(self, data: bytes) -> None:
        self.last_read = self._gateway.now()
        if self._is_lingering:
            return
        if self.tunnel is not None:
            self.tunnel.frames_from_client(data)
        elif self._request_is_open:
            self._read_body(data)
        elif self._is_free and not self._is_next_due:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_head()
        else:
            self._buffer += data
            self._pause_when_full()

    @property
    def _is_free(self) -> bool:
        """Say whether the next request may be read."""
        return self.relay is None and not self._request_is_open and not self._is_held and self.paused_since is None

    def _pause_when_full(self) -> None:
        if len(self._buffer) > _PIPELINE_BYTES:
            self.pause_reading()

    def _read_head(self) -> None:
        buffer = self._buffer.lstrip(b"\r\n") if self._buffer[:1] in (b"\r", b"\n") else self._buffer
        gateway = self._gateway
        self.deadline = min(self.deadline, self.last_read + gateway.timeouts.header)
        end = buffer.find(b"\r\n\r\n")
        limits = gateway.limits
        try:
            if end < 0:
                _judge_unfinished_head(buffer, limits.url_bytes, limits.header_bytes)
                self._buffer = buffer
                return
            if end > limits.header_bytes + limits.url_bytes:
                if buffer.find(b"\r\n") > limits.url_bytes:
                    raise BadRequest("the URL is too long", status=414, code="too_large")
                raise BadRequest("the request head is too large", status=431, code="too_large")
            opening, length = gateway.openings.find(buffer[: end + 4])
        except BadRequest as error:
            self._buffer = b""
            gateway.answer_unrecorded(self, error.code, error.status, str(error), error.envelope)
            return
        self._buffer = b""
        self.deadline = _FOREVER
        self._open_request(opening, length, buffer[end + 4 :])

    def _open_request(self, opening: Opening, length: int | None, rest: bytes) -> None:
        head = opening.head
        self._request_is_open = head.is_chunked or bool(length)
        self._decoder = ChunkDecoder() if head.is_chunked else None
        self._remaining = length or 0
        relay = self._gateway.accept(self, opening, length)
        if relay is not None:
            self.relay = relay
            relay.open()
        if relay is None or relay.is_over:
            # Answered from its head alone: what follows is the next request, unless it is a body nobody wants.
            if rest and not self._is_lingering:
                self._buffer = rest
                self._next_soon()
            return
        if head.expects_continue and self._request_is_open and not rest:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._request_is_open:
            self._buffer = rest
            relay.request_ended()
        elif rest:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        relay = self.relay
        if relay is None:
            return
        decoder = self._decoder
        if decoder is None:
            size = len(data)
            if size < self._remaining:
                self._remaining -= size
                relay.request_body(data)
                return
            piece, rest = (data, b"") if size == self._remaining else (data[: self._remaining], data[self._remaining :])
            pieces = [piece]
        else:
            try:
                pieces = decoder.feed(data)
            except ValueError as error:
                relay.refuse_bad_request(BadRequest(f"the chunked coding is broken: {error}"))
                return
            if not decoder.is_done:
                for piece in pieces:
                    relay.request_body(piece)
                return
            rest = decoder.leftover
        self._request_is_open = False
        self._buffer = rest
        for piece in pieces:
            relay.request_body(piece)
        relay.request_ended()

    @property
    def request_is_open(self) -> bool:
        """Say whether body bytes of the current request are still to come."""
        return self._request_is_open

    @property
    def is_tls(self) -> bool:
        """Say whether the client speaks TLS to us."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    @property
    def is_reading_paused(self) -> bool:
        """Say whether the client is made to wait: it is not at fault when nothing comes."""
        return self._is_reading_paused

    def write(self, data: bytes) -> None:
        """Send response bytes at once."""
        if self.transport is not None:
            self.transport.write(data)

    def exchange_over(self, *, keep_alive: bool) -> None:
        """Go on to the next request, or close."""
        self.relay = None
        self._is_held = False
        transport = self.transport
        if transport is None:
            return
        if self._request_is_open:
            self._linger()
        elif not keep_alive or self._gateway.is_draining:
            self._close(transport)
        else:
            timeouts = self._gateway.timeouts
            patience = timeouts.keep_alive if self.paused_since is None else timeouts.write_stall
            self.deadline = self._gateway.now() + patience
            self.resume_reading()
            if self._buffer:
                self._next_soon()

    def _next_soon(self) -> None:
        """Read the request that waits in the next turn of the loop, once: answers made here must not recurse."""
        self._pause_when_full()
        if not self._is_next_due:
            self._is_next_due = True
            self._gateway.loop.call_soon(self._next_request)

    def _next_request(self) -> None:
        self._is_next_due = False
        if self.transport is not None and self._is_free and self._buffer:
            self.last_read = self._gateway.now()
            self.deadline = _FOREVER
            if len(self._buffer) <= _PIPELINE_BYTES:
                self.resume_reading()
            self._read_head()

    def hold(self) -> None:
        """Read no further request before `exchange_over`: its answer takes a moment."""
        self._is_held = True

    def switch(self, tunnel: SocketRelay) -> None:
        """Hand every byte to `tunnel` from now on; what waited since the request goes first."""
        self.tunnel = tunnel
        self.resume_reading()
        waiting, self._buffer = self._buffer, b""
        if waiting:
            tunnel.frames_from_client(waiting)

    def say_goodbye(self, last: bytes) -> None:
        """Send the last bytes of a tunnel; what the client still sends is dropped until it has read them."""
        self.relay = self.tunnel = None
        self.write(last)
        self._linger()

    def _linger(self) -> None:
        """Take and drop what the client still sends, so that it can read the answer before the connection goes."""
        self._is_lingering = True
        self._request_is_open = False
        self.deadline = self._gateway.now() + _LINGER_S
        self.resume_reading()
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def break_off(self, *, is_framed: bool) -> None:
        """End the connection so that the client knows the response is incomplete.

        With framing (a length or chunks) a plain close tells, and what was sent still arrives; without, only a reset does.
        """
        self.relay = self.tunnel = None
        if self.transport is not None:
            if is_framed:
                self._close(self.transport)
            else:
                self.transport.abort()

    def _close(self, transport: asyncio.Transport) -> None:
        """Close once everything is sent, or when the client has not taken it in time."""
        transport.close()
        self.deadline = self._gateway.now() + self._gateway.timeouts.write_stall

    def expire(self) -> None:
        """Close a connection whose deadline has passed."""
        self.deadline = _FOREVER
        if self.transport is None:
            return
        if self._buffer and self._is_free and not self._is_lingering and not self.transport.is_closing():
            self._gateway.answer_unrecorded(self, "bad_request", 408, "the request head took too long")
        else:
            self.transport.abort()

    def pause_reading(self) -> None:
        """Stop reading: the upstream cannot take more, or requests queue up."""
        if not self._is_reading_paused and self.transport is not None and not self.transport.is_closing():
            self._is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._is_reading_paused and self.transport is not None and not self.transport.is_closing():
            self._is_reading_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.paused_since = self._gateway.now()
        if self.relay is not None:
            self.relay.pause_response()

    def resume_writing(self) -> None:
        self.paused_since = None
        if self.relay is not None:
            self.relay.resume_response()
        elif (
            self._is_free and not self._is_lingering and self.transport is not None and not self.transport.is_closing()
        ):
            self.deadline = self._gateway.now() + self._gateway.timeouts.keep_alive
            if self._buffer:
                self._next_soon()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        self.transport = None
        self.paused_since = None  # nobody is waited for any more
        self.deadline = _FOREVER
        self._gateway.clients.discard(self)
        relay, self.relay, self.tunnel = self.relay, None, None
        if relay is not None:
            relay.client_left()


def _judge_unfinished_head(buffer: bytes, max_url: int, max_head: int) -> None:
    """Refuse what can no longer become a head. Raises BadRequest."""
    line_end = buffer.find(b"\n")
    if line_end < 0 and len(buffer) > max_url + 64:
        raise BadRequest("the URL is too long", status=414, code="too_large")
    if len(buffer) > max_head + max_url:
        raise BadRequest("the request head is too large", status=431, code="too_large")
    if b"\n\n" in buffer or (buffer[line_end - 1 : line_end] not in (b"\r", b"") and line_end > 0):
        raise BadRequest("lines of the request head must end with CRLF")
    if b" HTTP/" not in buffer[: line_end + 1] and line_end > 0:
        raise BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here", status=505)
