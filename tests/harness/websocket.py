"""Both ends of a WebSocket as bare sockets: they send the bytes they are told to and hash what comes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.harness.client import RawClient
from tests.harness.upstream import Connection, Script

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="


def upgrade(path: str, *headers: str, key: str = "sk-raw-0123456789abcdef") -> bytes:
    """Return a request that asks for a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {key}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def switching(request: bytes, *headers: bytes) -> bytes:
    """Return the head with which a server grants what `request` asks for."""
    key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 says so
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass
class Ear:
    """What one end heard."""

    keeps: bool = True
    """All of it, not its hash and size alone."""
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    is_reset: bool = False
    is_over: threading.Event = field(default_factory=threading.Event)
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    _moved: threading.Condition = field(default_factory=threading.Condition)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that came."""
        return self._hash.hexdigest()

    def listen(self, connection: socket.socket, first: bytes = b"", size: int = 1 << 16) -> None:
        """Take everything until the other end closes."""
        try:
            data = first or connection.recv(size)
            while data:
                self.hear(data)
                data = connection.recv(size)
        except OSError:
            self.is_reset = True
        finally:
            self.is_over.set()
            with self._moved:
                self._moved.notify_all()

    def hear(self, data: bytes) -> None:
        """Take some bytes."""
        with self._moved:
            self._hash.update(data)
            self.size += len(data)
            if self.keeps:
                self.data += data
            self._moved.notify_all()

    def wait_for(self, size: int, timeout_s: float = 30.0) -> bool:
        """Wait until so many bytes have come."""
        with self._moved:
            return self._moved.wait_for(lambda: self.size >= size or self.is_over.is_set(), timeout_s)


class Server:
    """A script for `ScriptedUpstream`: grants every WebSocket, sends its frames, hears the rest. One ear a session."""

    def __init__(
        self,
        pieces: Iterable[bytes] = (),
        *,
        headers: tuple[bytes, ...] = (),
        then: Callable[[Connection, Ear], None] | None = None,
        keeps: bool = True,
    ) -> None:
        self.ears: list[Ear] = []
        self._pieces = list(pieces)
        self._headers = headers
        self._then = then
        self._keeps = keeps

    @property
    def script(self) -> Script:
        """Return what an upstream plays."""
        return self._play

    def _play(self, connection: Connection) -> None:
        ear = Ear(self._keeps)
        self.ears.append(ear)
        head, waiting = connection.request, connection.take_rest()
        connection.send(switching(head, *self._headers))
        listener = threading.Thread(target=ear.listen, args=(connection.socket, waiting), daemon=True)
        listener.start()
        for piece in self._pieces:
            connection.send(piece)
        if self._then is not None:
            self._then(connection, ear)
        listener.join(60)
        with contextlib.suppress(OSError):
            connection.socket.close()


class SocketClient(RawClient):
    """A client of one WebSocket."""

    def __init__(self, port: int, request: bytes, *, timeout_s: float = 30.0) -> None:
        super().__init__(port, timeout_s=timeout_s)
        self.ear = Ear()
        self.send(request)
        self.head, _, self.rest = self.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        self._listener: threading.Thread | None = None

    @property
    def status(self) -> int:
        """Status of the answer to the handshake."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    def listen(self) -> None:
        """Hear what comes, beside what is sent."""
        self._listener = threading.Thread(target=self.ear.listen, args=(self.socket, self.rest), daemon=True)
        self._listener.start()

    def hang_up(self) -> None:
        """Close the sending side and wait until the other end has closed, too."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        if self._listener is not None:
            self._listener.join(30)
