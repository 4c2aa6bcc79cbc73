"""The least that a relay costs in this language: `python -m benchmarks.bare UPSTREAM_PORT`; prints its own port.

The same loop and the same parser as Glassline's, a pool of connections, callbacks and no coroutine. It looks at no key,
keeps no byte and writes no journal, and it believes whatever it is told: no program for any network. What it costs
beyond nginx is the price of the language; what Glassline costs beyond it is the price of what Glassline does.
"""

import asyncio
import sys
from typing import Any, cast

import httptools
import uvloop

_HOP_BY_HOP = frozenset((b"connection", b"host", b"content-length"))


class _Upstream(asyncio.Protocol):
    """A connection to the upstream, which serves one client at a time."""

    def __init__(self, idle: list["_Upstream"]) -> None:
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self.client: _Client | None = None
        self.transport: asyncio.Transport | None = None
        self._is_complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        client = self.client
        self._parser.feed_data(data)
        if client is not None and client.transport is not None:
            client.transport.write(data)  # heads go on as they came: the provider's say nothing of the connection
        if self._is_complete:
            self._is_complete = False
            self.client = None
            self._idle.append(self)

    def on_message_complete(self) -> None:
        self._is_complete = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if self in self._idle:
            self._idle.remove(self)
        if self.client is not None and self.client.transport is not None:
            self.client.transport.close()


class _Client(asyncio.Protocol):
    """A connection of a client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, idle: list[_Upstream]) -> None:
        self._loop = loop
        self._port = port
        self._idle = idle
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        lines = [b"%b: %b\r\n" % pair for pair in self._headers if pair[0].lower() not in _HOP_BY_HOP]
        head = b"%b %b HTTP/1.1\r\nhost: upstream\r\ncontent-length: %d\r\n%b\r\n" % (
            self._parser.get_method(),
            self._target,
            len(body),
            b"".join(lines),
        )
        self._target, self._headers, self._body = b"", [], []
        if self._idle:
            self._send(self._idle.pop(), head + body)
        else:
            connecting = self._loop.create_connection(lambda: _Upstream(self._idle), "127.0.0.1", self._port)
            self._loop.create_task(connecting).add_done_callback(lambda done: self._connected(done, head + body))

    def _connected(self, done: "asyncio.Task[Any]", message: bytes) -> None:
        if done.exception() is None:
            self._send(done.result()[1], message)
        elif self.transport is not None:
            self.transport.close()

    def _send(self, upstream: _Upstream, message: bytes) -> None:
        upstream.client = self
        if upstream.transport is not None:
            upstream.transport.write(message)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    idle: list[_Upstream] = []
    server = await loop.create_server(lambda: _Client(loop, port, idle), "127.0.0.1", 0, backlog=4096)
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
