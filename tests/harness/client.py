"""A bare HTTP/1.1 client over sockets: says exactly what it is told to, and reports exactly what came back."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Answer:
    """What a server sent on one connection."""

    raw: bytes
    is_reset: bool
    """The connection ended with a reset instead of a close."""

    @property
    def status(self) -> int:
        """Status of the first response; 0: there was none."""
        parts = self.raw.split(b" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/") else 0

    @property
    def head(self) -> bytes:
        """Head of the first response, lower case."""
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        """Everything behind the first head, as it stood on the wire."""
        return self.raw.partition(b"\r\n\r\n")[2]


class RawClient:
    """One connection."""

    def __init__(self, port: int, *, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that hung up already is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def read_all(self) -> Answer:
        """Read until the server ends the connection."""
        parts: list[bytes] = []
        try:
            while data := self.socket.recv(65536):
                parts.append(data)
        except ConnectionResetError:
            return Answer(b"".join(parts), is_reset=True)
        return Answer(b"".join(parts), is_reset=False)

    def read_until(self, mark: bytes) -> bytes:
        """Read until `mark` has come, or the end."""
        data = b""
        while mark not in data:
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def reset(self) -> None:
        """End the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()


def exchange(port: int, request: bytes, *, timeout_s: float = 10.0) -> Answer:
    """Send one request on a connection of its own and read to the end."""
    with RawClient(port, timeout_s=timeout_s) as client:
        client.send(request)
        return client.read_all()


def post(
    path: str, body: bytes, *, key: str = "sk-raw-0123456789abcdef", headers: tuple[str, ...] = (), close: bool = True
) -> bytes:
    """Return a POST request with a JSON body."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        *(("Connection: close",) if close else ()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
