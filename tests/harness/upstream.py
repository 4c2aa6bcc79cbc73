"""A provider that does what a script says, down to the byte; and remembers what it received.

One thread a connection. A script gets the connection after a whole request was read and may send, stall, close or
reset. Without a script it answers a small chat completion.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

CHAT = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)


def with_length(body: bytes, *, status: str = "200 OK", headers: bytes = b"") -> bytes:
    """Return a response framed by its length."""
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status.encode(),
        headers,
        len(body),
        body,
    )


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(text: str) -> bytes:
    """Return one event of a chat stream, as a chunk."""
    data = b'data: {"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    return chunk(data % text.encode())


class Connection:
    """What a script may do."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.request = b""
        """Head and body of the last request."""
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send bytes; a peer that is gone is no error."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def reset(self) -> None:
        """End the connection with a reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def wait_closed(self, timeout_s: float = 20.0) -> bool:
        """Wait until the peer ends the connection; say whether it did."""
        self.socket.settimeout(timeout_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def read_request(self) -> bool:
        """Read one request into `request`; False: the peer ended the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return False
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            while not rest.endswith(b"0\r\n\r\n"):
                if not self._more():
                    return False
                rest = self._buffer.partition(b"\r\n\r\n")[2]
            self.request, self._buffer = head + b"\r\n\r\n" + rest, b""
            return True
        size = 0
        for line in lowered.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        while len(rest) < size:
            if not self._more():
                return False
            rest = self._buffer.partition(b"\r\n\r\n")[2]
        self.request, self._buffer = head + b"\r\n\r\n" + rest[:size], rest[size:]
        return True

    def take_rest(self) -> bytes:
        """Return what came behind the last request, for who goes on reading from the socket."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self._buffer += data
        return bool(data)


Script = Callable[[Connection], None]


def answer_chat(connection: Connection) -> None:
    """Answer a small chat completion."""
    connection.send(with_length(CHAT))


class ScriptedUpstream:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, script: Script = answer_chat) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end every connection, wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        with self._lock:
            open_now = list(self._open)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(30)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        connection = Connection(raw)
        try:
            while connection.read_request():
                with self._lock:
                    self.requests.append(connection.request)
                self.script(connection)
                if raw.fileno() < 0:
                    return
        finally:
            with self._lock:
                self._open.discard(raw)
            raw.close()
