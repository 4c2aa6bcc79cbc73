"""The provider's side: connections to one origin, kept alive, and the reading of responses from them.

A connection is used again only after a response that was framed cleanly, with nothing behind it; after any anomaly it
is closed, so that one caller's bytes can never become another's. Redirects are data like any other answer.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from proxy.errors import BadResponse, UpstreamError
from proxy.framing import ChunkDecoder, ResponseHead, has_no_body, read_response_head
from proxy.gateway.addresses import require_allowed
from proxy.gateway.routing import Origin

if TYPE_CHECKING:
    from proxy.gateway.relay import Relay
    from proxy.gateway.socket.relay import SocketRelay

MAX_HEAD_BYTES: Final = 32 * 1024
_STRIDE: Final = 16 * 1024
"""Of a body in tiny chunks so much is read in one turn of the loop: a read of 256 KB would keep everybody waiting."""
_MANY_PIECES: Final = 512
"""In so many bytes there are that many only when the chunks are tiny."""
_LONG_READ: Final = 64 * 1024
"""A read of that size is rarely the last: the loop would go on reading 32 of them before it looks at anybody else."""
_TCP_INFO: Final = struct.Struct("=120xQ72xQQ")
"""Of Linux's `struct tcp_info` (linux/tcp.h): bytes that the peer's kernel has acknowledged, the SYN included; bytes
sent, and how many of those for the second time."""
_FAREWELL_S: Final = 2.0
"""How long a peer may take to read the last bytes of a WebSocket."""
MAX_INFORMATIONAL: Final = 10
"""1xx responses before the real one; a hostile provider could send them for ever."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to a provider; serves one relay at a time."""

    __slots__ = (
        "_backlog",
        "_buffer",
        "_decoder",
        "_informational",
        "_is_bodiless",
        "_is_giving_way",
        "_is_paused",
        "_poll",
        "_pool",
        "_remaining",
        "_until_close",
        "got_bytes",
        "head",
        "idle_since",
        "is_reused",
        "relay",
        "transport",
        "tunnel",
        "was_unheard",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._poll = select.poll()
        self.transport: asyncio.Transport | None = None
        self.relay: Relay | None = None
        self.is_reused = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._buffer = b""
        self._decoder: ChunkDecoder | None = None
        self._remaining = 0
        self._until_close = self._is_bodiless = False
        self._informational = 0
        self._backlog = b""
        """Bytes of the body that wait for the next turn of the loop."""
        self._is_giving_way = False
        self._is_paused = False
        self.was_unheard = False
        """The peer closed without having read the whole request, so that nobody has acted on it."""
        self.head: ResponseHead | None = None
        self.got_bytes = False
        self.tunnel: SocketRelay | None = None
        """Takes every byte since the connection became a WebSocket; None: it speaks HTTP."""

    def attach(self, relay: Relay) -> None:
        """Serve `relay` from now on."""
        self._reset()
        self.relay = relay

    def detach(self) -> None:
        """Drop the relay and the connection: what still arrives belongs to nobody."""
        self.relay = None
        if self.transport is not None:
            self.transport.abort()

    def finish(self, last: bytes) -> None:
        """Drop the relay; send what is left and the last bytes, then close. A peer that takes nothing gets a moment."""
        self.relay = self.tunnel = None
        transport = self.transport
        if transport is not None:
            transport.write(last)
            transport.close()
            self._pool.abort_later(transport)

    def write(self, data: bytes) -> None:
        """Send request bytes."""
        if self.transport is not None:
            self.transport.write(data)

    def pause(self) -> None:
        """Stop reading: the client cannot take more."""
        self._is_paused = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        if self._is_giving_way:
            return
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    @property
    def is_silent(self) -> bool:
        """Say whether the kernel holds nothing of the peer that we have not read: neither bytes nor its farewell."""
        return not self._poll.poll(0)

    def data_received(self, data: bytes) -> None:
        relay = self.relay
        if relay is None:
            self.detach()
            return
        self.got_bytes = True
        if self.tunnel is not None:
            self.tunnel.frames_from_upstream(data)
            if len(data) >= _LONG_READ:
                self._give_way()
            return
        try:
            if self.head is None:
                self._begin(relay, data)
            elif self._decoder is not None and len(data) > _STRIDE:
                self._read_in_turns(relay, self._decoder, data)
            else:
                self._read_body(relay, data)
            if len(data) >= _LONG_READ:
                self._give_way()
        except BadResponse as error:
            self.detach()
            relay.upstream_broke(str(error), is_clean=False)
        except ValueError as error:
            self.detach()
            relay.upstream_broke(f"its chunked coding is broken: {error}", is_clean=False)

    def _begin(self, relay: Relay, data: bytes) -> None:
        """Read the head and what there is of the body behind it."""
        rest = self._read_head(relay, data)
        if rest is None:
            return
        if self._decoder is not None and len(rest) > _STRIDE:
            self._read_in_turns(relay, self._decoder, rest)
        else:
            self._read_body(relay, rest)
        if self.relay is not None:
            relay.flush_head()

    def _read_head(self, relay: Relay, data: bytes) -> bytes | None:
        """Return the bytes behind the head; None: the head is not complete or the response is over."""
        buffer = self._buffer + data if self._buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(buffer) > MAX_HEAD_BYTES:
                    raise BadResponse("its head is larger than 32 KB")
                self._buffer = buffer
                return None
            if end > MAX_HEAD_BYTES:
                raise BadResponse("its head is larger than 32 KB")
            head = read_response_head(buffer[: end + 4])
            buffer = buffer[end + 4 :]
            if head.status >= 200 or head.status == 101:
                break
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise BadResponse("it sent informational responses without an end")
        self._buffer = b""
        self.head = head
        if head.status == 101:
            self.tunnel = relay.upgraded(head)
            self.tunnel.frames_from_upstream(buffer)
            return None
        if has_no_body(relay.method, head.status):
            self._is_bodiless = True
            relay.response_began(head)
            self._complete(relay, [], leftover=buffer)
            return None
        if head.is_chunked:
            self._decoder = ChunkDecoder()
        elif head.content_length is not None:
            self._remaining = head.content_length
        else:
            self._until_close = True
        relay.response_began(head)
        if head.content_length == 0:
            self._complete(relay, [], leftover=buffer)
            return None
        if head.content_length == len(buffer):
            self._complete(relay, [buffer], leftover=b"")
            return None
        return buffer

    def _read_in_turns(self, relay: Relay, decoder: ChunkDecoder, data: bytes) -> None:
        """Read a long piece of a chunked body, in several turns of the loop if its chunks are tiny."""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not decoder.is_done and len(pieces) < _MANY_PIECES:
            pieces += decoder.feed(data[position : position + _STRIDE])
            position += _STRIDE
        rest = data[position:]
        if decoder.is_done:
            self._complete(relay, pieces, leftover=decoder.leftover + rest)
            return
        self._backlog = rest
        relay.response_body(pieces if len(pieces) < _MANY_PIECES else [b"".join(pieces)])
        if rest:
            self._give_way()

    def _give_way(self) -> None:
        """Read on in the next turn of the loop only."""
        if not self._is_giving_way and self.relay is not None and self.transport is not None:
            self._is_giving_way = True
            self.transport.pause_reading()
            self._pool.soon(self._read_on)

    def _read_on(self) -> None:
        self._is_giving_way = False
        data, self._backlog = self._backlog, b""
        if data:
            self.data_received(data)
        if not (self._is_giving_way or self._is_paused) and self.transport is not None:
            self.transport.resume_reading()

    def _read_body(self, relay: Relay, data: bytes) -> None:
        decoder = self._decoder
        if decoder is not None:
            pieces = decoder.feed(data) if data else []
            if decoder.is_done:
                self._complete(relay, pieces, leftover=decoder.leftover)
            else:
                relay.response_body(pieces, decoder.wire)
        elif self._until_close:
            relay.response_body([data] if data else [])
        else:
            size = len(data)
            if size < self._remaining:
                self._remaining -= size
                relay.response_body([data] if size else [])
            else:
                leftover = data[self._remaining :]
                piece = data[: self._remaining] if leftover else data
                self._remaining = 0
                self._complete(relay, [piece], leftover=leftover)

    def _complete(self, relay: Relay, pieces: list[bytes], *, leftover: bytes) -> None:
        head = self.head
        self.relay = None
        # Behind an answer without a body there has been a body, now and then: who comes next must not get it.
        is_clean = head is not None and head.keep_alive and not (leftover or self._is_bodiless or self._is_paused)
        reusable = is_clean and relay.request_is_sent
        if reusable:
            self._pool.release(self)
        elif self.transport is not None:
            self.transport.abort()
        relay.response_ended(pieces)

    def eof_received(self) -> bool:
        self.was_unheard = self._lacks_acknowledgement()
        relay = self.relay
        if relay is not None and self._until_close and self.head is not None:
            self.relay = None
            if self.transport is not None:
                self.transport.close()
            relay.response_ended([])
        return False

    def _lacks_acknowledgement(self) -> bool:
        """Say whether the peer's system had not taken all that was written when it said farewell.

        A farewell acknowledges all that came before it, so this is no matter of timing.
        """
        try:
            connection = self.transport.get_extra_info("socket") if self.transport is not None else None
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) if connection is not None else b""
            acknowledged, sent, repeated = _TCP_INFO.unpack_from(info)
        except (OSError, AttributeError, struct.error):
            return False  # another system, or an older kernel
        return bool(acknowledged - 1 < sent - repeated)

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, BrokenPipeError):  # it closed, and then refused what was written
            self.was_unheard = self._lacks_acknowledgement()
        elif isinstance(exc, ConnectionResetError):
            # A system that closes with bytes unread resets; where a process had read them all, it says farewell.
            self.was_unheard = True
        self.transport = None
        self._pool.forget(self)
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.upstream_lost(self, is_clean=exc is None)

    def pause_writing(self) -> None:
        if self.relay is not None:
            self.relay.pause_request()

    def resume_writing(self) -> None:
        if self.relay is not None:
            self.relay.resume_request()


class Pool:
    """The connections to one origin."""

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        *,
        connect_timeout: float,
        keep_alive: float,
        max_connections: int,
    ) -> None:
        self._origin = origin
        self._loop = loop
        self._connect_timeout = connect_timeout
        self._keep_alive = keep_alive
        self._max = max_connections
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Relay] = deque()
        # Made when an origin is used for the first time: each costs some 50 ms.
        self._tls = _client_tls(origin) if origin.is_secure else None

    def take(self, relay: Relay) -> UpstreamConnection | None:
        """Return an idle connection attached to `relay`; None: there is none."""
        oldest = self._loop.time() - self._keep_alive
        while self._idle:
            connection = self._idle.pop()
            transport = connection.transport
            if transport is None or transport.is_closing():
                continue
            if connection.idle_since < oldest or not connection.is_silent:
                transport.abort()
                continue
            connection.is_reused = True
            connection.attach(relay)
            return connection
        return None

    def connect(self, relay: Relay) -> None:
        """Open a connection for `relay`, which hears of it through `connected` or `connect_failed`."""
        if len(self._open) + len(self._connecting) >= self._max:
            self._waiting.append(relay)
            return
        task = self._loop.create_task(self._connect(relay))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, relay: Relay) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._open_connection()
        except (OSError, UpstreamError, ssl.SSLError, TimeoutError) as error:
            # Its place is free from now on, not only when the task is over.
            self._connecting.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self._serve_waiting()
            relay.connect_failed(_why(error))
            return
        self._open.add(connection)
        if relay.is_over:
            self.release(connection)
        else:
            connection.attach(relay)
            relay.connected(connection)

    async def _open_connection(self) -> UpstreamConnection:
        origin = self._origin
        found = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = [(family, str(socket_address[0])) for family, _, _, _, socket_address in found]
        require_allowed((address for _, address in addresses), origin.host, allow_private=origin.allow_private)
        failure: OSError = OSError("no address")
        for family, address in addresses:
            try:
                _, protocol = await self._loop.create_connection(
                    self._factory,
                    address,
                    origin.port,
                    family=family,
                    ssl=self._tls,
                    server_hostname=origin.host if self._tls is not None else None,
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
                continue
            return protocol
        raise failure

    def _factory(self) -> UpstreamConnection:
        return UpstreamConnection(self)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose response is over."""
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._waiting:
            self._serve_waiting()

    def forget(self, connection: UpstreamConnection) -> None:
        """Drop a connection that is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting:
            relay = self._waiting.popleft()
            if relay.is_over:
                continue
            connection = self.take(relay)
            if connection is not None:
                relay.connected(connection)
            else:
                self.connect(relay)
            return

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the loop."""
        self._loop.call_soon(call)

    def abort_later(self, transport: asyncio.Transport) -> None:
        """End a connection that is closing, should the peer not take what is left."""
        self._loop.call_later(_FAREWELL_S, transport.abort)

    @property
    def is_empty(self) -> bool:
        """Say whether nobody uses or waits for a connection, and none is kept."""
        return not (self._open or self._connecting or self._waiting)

    def close_idle(self) -> None:
        """Close connections that nobody used for as long as they may be kept."""
        older_than = self._loop.time() - self._keep_alive
        for connection in [c for c in self._idle if c.idle_since < older_than]:
            if connection.transport is not None:
                connection.transport.abort()


def _client_tls(origin: Origin) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if origin.ca_file is not None:
        context.load_verify_locations(cafile=origin.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    return str(error) if isinstance(error, UpstreamError) else f"connecting failed: {type(error).__name__}"
