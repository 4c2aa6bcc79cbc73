"""HTTP/1.1 by hand: what the SDKs hide, such as the difference between an ending and a broken connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
STREAM: dict[str, Any] = CHAT | {"stream": True}

Ending = Literal["open", "fin", "rst"]


class Exchange:
    """One connection and everything received on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = b""
        self.ending: Ending = "open"

    def post(self, body: Mapping[str, Any], path: str = "/v1/chat/completions", **headers: str) -> None:
        """Send a JSON request."""
        content = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: simulator", "content-type: application/json"]
        lines += [f"content-length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    def read_until(self, mark: bytes) -> bytes:
        """Receive until `mark` has come; return everything received so far."""
        while mark not in self.received and self._receive():
            pass
        assert mark in self.received, self.received
        return self.received

    def read_to_end(self) -> bytes:
        """Receive until the connection ends or the response is complete by its framing."""
        while not self._is_complete() and self._receive():
            pass
        return self.received

    def read_for(self, seconds: float) -> bytes:
        """Receive until nothing came for so long."""
        self.socket.settimeout(seconds)
        try:
            while self._receive():
                pass
        except TimeoutError:
            pass
        return self.received

    @property
    def head(self) -> bytes:
        """The response's head, in lower case."""
        return self.received.partition(b"\r\n\r\n")[0].lower()

    @property
    def status(self) -> int:
        """The response's status."""
        return int(self.received.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        """The body received so far, with the framing taken off."""
        return b"".join(self.chunks) if b"transfer-encoding: chunked" in self.head else self._content

    @property
    def chunks(self) -> list[bytes]:
        """The complete chunks of a chunked body, without the last, empty one."""
        return list(_read_chunks(self._content))

    @property
    def events(self) -> list[bytes]:
        """The complete server-sent events received so far."""
        return [event for event in self.body.split(b"\n\n") if event]

    @property
    def _content(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]

    def _is_complete(self) -> bool:
        if b"\r\n\r\n" not in self.received:
            return False
        if b"transfer-encoding: chunked" in self.head:
            return self._content.endswith(b"0\r\n\r\n")
        length = int(self.head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return len(self._content) >= length

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            self.ending = "rst"
            return False
        if not data:
            self.ending = "fin"
        self.received += data
        return bool(data)


@contextmanager
def connect(port: int) -> Iterator[Exchange]:
    """Open a connection that gives up after ten seconds of silence."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield Exchange(connection)


def exchange(port: int, body: Mapping[str, Any], path: str = "/v1/chat/completions", **headers: str) -> Exchange:
    """Send one request and receive the response until it is complete or the connection ends."""
    with connect(port) as opened:
        opened.post(body, path, **headers)
        opened.read_to_end()
        return opened


def _read_chunks(content: bytes) -> Iterator[bytes]:
    while b"\r\n" in content:
        size, _, rest = content.partition(b"\r\n")
        length = int(size, 16)
        if length == 0 or len(rest) < length + 2:
            return
        yield rest[:length]
        content = rest[length + 2 :]
