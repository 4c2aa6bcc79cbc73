"""The application's side of a connection: reads requests one after the other, writes what the relay hands it.

Requests that arrive before the answer to the last one wait as bytes, and reading pauses.

A client that closes its side may have left or only have said all it will: the two look alike until it is sent
something. So before the answer begins it is sent an interim `100 Continue`, which every client of HTTP/1.1 passes over:
one that has left resets the connection, one that waits does not. HTTP/1.0 knows no such thing and is taken to wait.
Who closes while the answer comes, or over TLS, has left, which saves the money that the rest of it would cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final, cast

from proxy.crowd import peer_address
from proxy.errors import BadRequest
from proxy.framing import ChunkDecoder, find_head_end
from proxy.gateway.opening import Opening

if TYPE_CHECKING:
    from proxy.gateway.relay import Relay
    from proxy.gateway.service import Gateway
    from proxy.gateway.socket.relay import SocketRelay

_LONG_READ: Final = 64 * 1024
"""A read of that size is rarely the last: the loop would go on reading 32 of them before it looks at anybody else."""
_PIPELINE_BYTES: Final = 64 * 1024
"""Bytes of following requests that may wait before reading pauses."""
_LINGER_S: Final = 2.0
"""How long a client that is still sending may go on after an early answer; closing at once could destroy the answer."""
_LINGER_BYTES: Final = 256 * 1024
"""How much of it is taken; who sends more is held up and has only a moment left to see the answer."""
_BRIEFLY_S: Final = 0.3
_MANY_CHUNKS: Final = 10_000
_TINY_BYTES: Final = 16
"""A body in more than so many chunks of less than so many bytes, on average, costs more to read than it says."""
_FOREVER: Final = float("inf")
_PROBE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LOOK_AFTER_S: Final = 0.05
"""From a probe to the look at what came of it; more than the way there and back, mostly."""
_PROBE_EVERY_S: Final = 1.0
_TCP_CLOSE: Final = 7
"""State of a connection that was reset (`TCP_CLOSE` in linux/tcp_states.h)."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Of `SO_LINGER`: what closes then is reset (socket(7))."""


class ClientConnection(asyncio.Protocol):
    """One connection of an application."""

    __slots__ = (
        "_body_bytes",
        "_buffer",
        "_chunks",
        "_decoder",
        "_dropped_bytes",
        "_ends_after_answer",
        "_gateway",
        "_has_answered",
        "_has_said_all",
        "_is_giving_way",
        "_is_held",
        "_is_http_1_0",
        "_is_lingering",
        "_is_next_due",
        "_is_reading_paused",
        "_pace_bytes",
        "_pace_since",
        "_remaining",
        "deadline",
        "last_read",
        "paused_since",
        "relay",
        "request_is_open",
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
        self._chunks = self._body_bytes = 0
        self._pace_bytes = 0
        self._pace_since = _FOREVER
        self._ends_after_answer = False
        self._has_answered = False
        self._has_said_all = False
        self.request_is_open = False
        """Body bytes of the current request are still to come."""
        self._is_held = False
        self._is_http_1_0 = False
        self._is_lingering = False
        self._dropped_bytes = 0
        self._is_next_due = False
        self._is_reading_paused = False
        self._is_giving_way = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        gateway = self._gateway
        gateway.clients.add(self)
        reached = gateway.crowd.enter(self, peer_address(transport.get_extra_info("peername")))
        if reached is None:
            self.deadline = gateway.now() + gateway.timeouts.header
        else:
            gateway.turn_away(self, reached)

    def data_received(self, data: bytes) -> None:
        self.last_read = self._gateway.now()
        if self._is_lingering:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _LINGER_BYTES:
                self.pause_reading()
                self.deadline = min(self.deadline, self.last_read + _BRIEFLY_S)
            return
        if len(data) >= _LONG_READ:
            self._give_way()
        if self.tunnel is not None:
            self.tunnel.frames_from_client(data)
        elif self.request_is_open:
            self._read_body(data)
        elif self.relay is None and self.paused_since is None and not (self._is_held or self._is_next_due):
            self._buffer = self._buffer + data if self._buffer else data
            self._read_head()
        else:
            self._buffer += data
            self._pause_when_full()

    @property
    def _is_free(self) -> bool:
        """Say whether the next request may be read."""
        return self.relay is None and not self.request_is_open and not self._is_held and self.paused_since is None

    def _give_way(self) -> None:
        """Read on in the next turn of the loop only."""
        if self.transport is not None and not self.transport.is_closing():
            self._is_giving_way = True
            self.transport.pause_reading()
            self._gateway.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._is_giving_way = False
        if not self._is_reading_paused and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _pause_when_full(self) -> None:
        if len(self._buffer) > _PIPELINE_BYTES:
            self.pause_reading()

    def _read_head(self) -> None:
        buffer = self._buffer.lstrip(b"\r\n") if self._buffer[:1] in (b"\r", b"\n") else self._buffer
        gateway = self._gateway
        end: int | None = buffer.find(b"\r\n\r\n") + 4
        if end and (known := gateway.openings.recall(buffer[:end])) is not None:
            self._open_request(*known, buffer[end:])
            return
        self.deadline = min(self.deadline, self.last_read + gateway.timeouts.header)
        limits = gateway.limits
        try:
            end = find_head_end(buffer, max_head=limits.header_bytes, max_url=limits.url_bytes)
            if end is None:
                self._buffer = buffer
                return
            opening, length = gateway.openings.find(buffer[:end])
        except BadRequest as error:
            gateway.answer_unrecorded(self, error.code, error.status, str(error))
            return
        self._open_request(opening, length, buffer[end:])

    def _open_request(self, opening: Opening, length: int | None, rest: bytes) -> None:
        head = opening.head
        self._buffer = b""
        self.deadline = _FOREVER
        self._decoder = ChunkDecoder() if head.is_chunked else None
        remaining = self._remaining = length or 0
        self.request_is_open = head.is_chunked or remaining > len(rest)
        self._ends_after_answer = not head.keep_alive
        self._is_http_1_0 = head.is_http_1_0
        self._has_answered = False
        if self.request_is_open:
            self._chunks = self._body_bytes = self._pace_bytes = 0
            self._pace_since = self.last_read
            self.resume_reading()  # paused, perhaps, while it waited behind another
        relay = self._gateway.accept(self, opening, length)
        if relay is not None:
            self.relay = relay
            relay.open()
        if relay is None or relay.is_over:
            # Answered from its head alone: what follows is the next request, unless it is a body nobody wants.
            if len(rest) > remaining and not self._is_lingering and not self._ends_after_answer:
                self._buffer = rest[remaining:]
                self._next_soon()
            return
        if head.expects_continue and self.request_is_open and not rest:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._has_answered = False
        if not self.request_is_open:
            self._buffer = rest[remaining:]
            relay.request_body(rest[:remaining], is_last=True)
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
                self._body_bytes += size
                relay.request_body(data, is_last=False)
                return
            piece, rest = (data, b"") if size == self._remaining else (data[: self._remaining], data[self._remaining :])
        else:
            try:
                pieces = decoder.feed(data)
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                self._chunks += len(pieces)
                self._body_bytes += len(piece)
                if self._chunks > _MANY_CHUNKS and self._body_bytes < self._chunks * _TINY_BYTES:
                    raise ValueError("too many tiny chunks")
            except ValueError as error:
                relay.refuse_bad_request(BadRequest(f"the chunked coding is broken: {error}"))
                return
            if not decoder.is_done:
                relay.request_body(piece, is_last=False)
                return
            rest = decoder.leftover
        self.request_is_open = False
        self._buffer = rest
        relay.request_body(piece, is_last=True)

    def is_too_slow(self, now: float) -> bool:
        """Say whether the body comes slower than it must, over the last stretch in which the client could send."""
        if self._is_reading_paused:
            self._pace_since = _FOREVER
            return False
        pace = self._gateway.timeouts.body_pace
        if self._pace_since == _FOREVER:
            self._pace_since, self._pace_bytes = now, self._body_bytes
        if now - self._pace_since < pace:
            return False
        came, self._pace_bytes = self._body_bytes - self._pace_bytes, self._body_bytes
        least = self._gateway.limits.body_bytes_per_second * (now - self._pace_since)
        self._pace_since = now
        return came < least

    @property
    def is_tls(self) -> bool:
        """Say whether the client speaks TLS to us."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    @property
    def is_reading_paused(self) -> bool:
        """Say whether the client is made to wait: it is not at fault when nothing comes."""
        return self._is_reading_paused

    @property
    def untaken_bytes(self) -> int:
        """Bytes written that the client has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def write(self, data: bytes) -> None:
        """Send response bytes at once."""
        self._has_answered = True
        if self.transport is not None:
            self.transport.write(data)

    def exchange_over(self, *, keep_alive: bool) -> None:
        """Go on to the next request, or close."""
        self.relay = None
        self._is_held = False
        transport = self.transport
        if transport is None:
            return
        if self._is_lingering:
            return
        if self.request_is_open:
            self._linger()
        elif not keep_alive or (self._has_said_all and not self._buffer):
            self._close(transport)
        else:
            gateway = self._gateway
            patience = gateway.keep_alive_s if self.paused_since is None else gateway.timeouts.write_stall
            self.deadline = gateway.now() + patience
            if self._is_reading_paused:
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

    def hurry(self) -> None:
        """Give an idle connection a moment for its last request: the gateway drains."""
        if self._is_free and not self._is_lingering:
            self.deadline = min(self.deadline, self._gateway.now() + self._gateway.keep_alive_s)

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

    def refuse(self, answer: bytes) -> None:
        """Send an answer to what was not read to its end, and close."""
        self.write(answer)
        self._linger()

    def _linger(self) -> None:
        """Take and drop what the client still sends, so that it can read the answer before the connection goes."""
        self._is_lingering = True
        self.request_is_open = False
        self._buffer = b""
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
                _reset(self.transport)

    def fail(self) -> None:
        """Break off after an error of ours, as the event loop does with a connection whose own callback fails."""
        if self.transport is not None:
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
            if not self._is_giving_way:
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
            self.deadline = self._gateway.now() + self._gateway.keep_alive_s
            if self._buffer:
                self._next_soon()

    def eof_received(self) -> bool:
        """Say whether the answer under way may still be wanted. TLS knows no half-closed connection."""
        is_waiting = (self.relay is not None or self._is_held) and not self._has_answered
        if self.transport is None or self.request_is_open or not is_waiting or self.is_tls:
            return False
        if not self._is_http_1_0:
            if not sys.platform.startswith("linux"):  # nothing would tell that it was reset
                return self._ends_after_answer
            self._probe()
        self._has_said_all = True
        return True

    def _probe(self) -> None:
        """Send a client that closed its side what makes it tell whether it has left."""
        if self.transport is not None and not self._has_answered:
            self.transport.write(_PROBE)
            self._gateway.loop.call_later(_LOOK_AFTER_S, self._look)

    def _look(self) -> None:
        """End the connection of a client that has left; ask one that waits again later."""
        if self.transport is None or self._has_answered:
            return
        connection = self.transport.get_extra_info("socket")
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
            self.transport.abort()
        else:
            self._gateway.loop.call_later(_PROBE_EVERY_S, self._probe)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        self.transport = None
        self.paused_since = None  # nobody is waited for any more
        self.deadline = _FOREVER
        self._gateway.clients.discard(self)
        self._gateway.crowd.leave(self)
        relay, self.relay, self.tunnel = self.relay, None, None
        if relay is not None:
            relay.client_left()


def _reset(transport: asyncio.Transport) -> None:
    """End a connection by a reset: a close would look like the end of what has no other."""
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
