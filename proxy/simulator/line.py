"""The line to one client, for the time of one response.

ASGI reports a client that leaves only through `receive()`, so a watcher listens there and wakes whoever waits.
Everything that waits or writes raises `ClientGoneError` as soon as the client has left.

ASGI has no word for breaking a connection. Our own server hands its transport over as the extension named here;
under any other server, `reset` and `hang_up` fail loudly.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from starlette.types import Receive, Scope, Send

TRANSPORT = "glassline.transport"
"""Name of the ASGI extension that holds the asyncio transport."""


class ClientGoneError(Exception):
    """The client closed the connection before the response was complete."""


class Line:
    """Writes to the client and notices when it leaves."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = (scope.get("extensions") or {}).get(TRANSPORT)
        self._watcher: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_gone = False
        self._is_complete = False

    async def open(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a part of the body; waits while the client is slow to read."""
        self._check()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        self._check()
        self._is_complete = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def watch(self) -> None:
        """Begin to listen for the client's leaving. Only for responses that take their time: it costs a task."""
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._listen())

    async def wait(self, seconds: float) -> None:
        """Wait, or raise ClientGoneError as soon as the client leaves."""
        self.watch()
        self._check()
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
        self._check()

    async def wait_until_gone(self) -> None:
        """Keep the connection open in silence until the client leaves, then raise ClientGoneError."""
        await self._until_closed()
        raise ClientGoneError

    async def reset(self) -> None:
        """Break the connection with a TCP reset, once everything written has reached the kernel."""
        transport = self._own_transport()
        while transport.get_write_buffer_size() and not self._is_gone:
            await self.wait(0.001)
        # Linger for no time at all: close(2) then sends RST instead of FIN (socket(7), SO_LINGER).
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self._until_closed()

    async def hang_up(self) -> None:
        """Close the connection with FIN, whatever was announced of the body."""
        self._own_transport().close()
        await self._until_closed()

    async def close(self) -> None:
        """Join the watcher: the server ends its waiting once the response is complete or the connection closed."""
        if self._watcher is None:
            return
        try:
            await self._watcher
        except asyncio.CancelledError:
            self._watcher.cancel()
            raise

    def _check(self) -> None:
        if self._is_gone:
            raise ClientGoneError

    def _own_transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("only the simulator's own server can break a connection")
        return self._transport

    async def _until_closed(self) -> None:
        self.watch()
        if self._watcher is not None:
            # Waited for, not awaited: a cancelled response must not cancel the watcher.
            await asyncio.wait({self._watcher})

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = not self._is_complete
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
