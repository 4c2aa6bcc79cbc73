"""A wire with a listener: forwards TCP connections to a port and keeps what passed in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Passed:
    """What passed over one connection."""

    to_server: bytearray = field(default_factory=bytearray)
    to_client: bytearray = field(default_factory=bytearray)


class Tee:
    """Listens on a free port of 127.0.0.1 and connects each client to `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.passed: list[Passed] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target), timeout=30)
            client.settimeout(120)
            server.settimeout(120)
            passed = Passed()
            self.passed.append(passed)
            self._sockets += [client, server]
            self._start(self._pump, client, server, passed.to_server)
            self._start(self._pump, server, client, passed.to_client)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def bodies(wire: bytes) -> list[bytes]:
    """Return the bodies of the HTTP messages in `wire`, without their chunked coding; none may lack its end."""
    found, rest = [], bytes(wire)
    while rest:
        head, mark, rest = rest.partition(b"\r\n\r\n")
        assert mark, "a head without its end"
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            body = b""
            while True:
                line, _, rest = rest.partition(b"\r\n")
                size = int(line.partition(b";")[0], 16)
                body, rest = body + rest[:size], rest[size + 2 :]
                if size == 0:
                    break
        else:
            lengths = [
                line.partition(b":")[2] for line in lowered.split(b"\r\n") if line.startswith(b"content-length:")
            ]
            size = int(lengths[0]) if lengths else 0
            body, rest = rest[:size], rest[size:]
        found.append(body)
    return found
