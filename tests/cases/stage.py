"""One Glassline in front of an upstream that sends what a test tells it to, and the sums on both ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httptools

from proxy.store.templates import as_text
from tests.harness import Glassline
from tests.harness.client import Answer, exchange, post
from tests.harness.tee import bodies
from tests.harness.upstream import Connection, Script, ScriptedUpstream, chunk

KEY = "sk-caller-0123456789abcdef"
SSE = b"content-type: text/event-stream\r\n"
_numbers = count(1)


def plain(body: bytes, headers: bytes = b"content-type: application/json\r\n", status: bytes = b"200 OK") -> bytes:
    """Return a response framed by its length."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def streamed(pieces: Iterable[bytes], headers: bytes = SSE) -> bytes:
    """Return a response whose pieces are a chunk each."""
    head = b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % headers
    return head + b"".join(chunk(piece) for piece in pieces if piece) + b"0\r\n\r\n"


def split(data: bytes, size: int = 1) -> list[bytes]:
    """Cut `data` into pieces of `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def sending(data: bytes) -> Script:
    """Make a script that sends `data`."""
    return lambda connection: connection.send(data)


class Sink:
    """An upstream that takes bodies of any size, keeps their hash only and answers with a file object."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._size = 0
        self._moved = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that came."""
        return self._hash.hexdigest()

    def wait_for(self, size: int) -> bool:
        """Wait until more than `size` bytes of a body have come."""
        with self._moved:
            return self._moved.wait_for(lambda: self._size >= size, timeout=20)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        self._is_complete = False
        parser = httptools.HttpRequestParser(self)
        connection.settimeout(60)
        while not self._is_complete and (data := connection.recv(1 << 18)):
            parser.feed_data(data)
        connection.sendall(plain(b'{"id":"file-1","object":"file"}', b"connection: close\r\n"))

    def on_body(self, data: bytes) -> None:
        """Take a piece; called by the parser."""
        with self._moved:
            self._hash.update(data)
            self._size += len(data)
            self._moved.notify_all()

    def on_message_complete(self) -> None:
        """Note the end; called by the parser."""
        self._is_complete = True


@dataclass(frozen=True)
class Played:
    """One exchange, as each of the three saw it: the client, the upstream, the record."""

    answer: Answer
    row: dict[str, Any]
    asked: bytes
    """The request as it reached the upstream, head and body."""
    digests: tuple[str, str]
    """SHA-256 of the request's and the response's body in the record."""

    @property
    def received(self) -> bytes:
        """Body of the response as the client got it, without its chunked coding."""
        [body] = bodies(self.answer.raw)
        return body

    @property
    def forwarded(self) -> bytes:
        """Body of the request as the upstream got it."""
        [body] = bodies(self.asked)
        return body

    def assert_response_is(self, body: bytes) -> None:
        """Assert that client and record have exactly what the upstream sent."""
        assert self.received == body
        assert self.digests[1] == hashlib.sha256(body).hexdigest() == hashlib.sha256(self.received).hexdigest()

    def assert_request_is(self, body: bytes) -> None:
        """Assert that upstream and record have exactly what the client sent."""
        assert self.forwarded == body
        assert self.digests[0] == hashlib.sha256(body).hexdigest() == hashlib.sha256(self.forwarded).hexdigest()


@dataclass
class Stage:
    """Where the cases are played."""

    glassline: Glassline
    upstream: ScriptedUpstream
    sink: Sink

    def play(
        self,
        path: str,
        body: bytes,
        answer: bytes | Script,
        *headers: str,
        request: bytes | None = None,
        timeout_s: float = 20.0,
    ) -> Played:
        """Send one request (`request`: its bytes instead of a POST of JSON) and let the upstream answer it."""
        session = f"case-{next(_numbers)}"
        self.upstream.script = sending(answer) if isinstance(answer, bytes) else answer
        tag = f"x-glassline-session: {session}"
        if request is None:
            request = post(path, body, key=KEY, headers=(tag, *headers))
        else:
            request = request.replace(b"\r\n", b"\r\n%b\r\n" % tag.encode(), 1)
        before = len(self.upstream.requests)
        got = exchange(self.glassline.port, request, timeout_s=timeout_s)
        asked = self.upstream.requests[before] if len(self.upstream.requests) > before else b""
        row = self.row(session)
        return Played(got, row, asked, self.digests(row))

    def row(self, session: str) -> dict[str, Any]:
        """Wait for the record of a session's only request."""
        [row] = self.glassline.wait_for_rows(1, f"session = '{session}'")
        return row

    def detail(self, row: dict[str, Any]) -> dict[str, Any]:
        """Read what the record has beside its row: finish reasons and tool calls of every choice, the cost's parts."""
        columns = "finish_reasons, tool_calls, problems, cost_reason, first_token_us"
        packed = ", ".join(f"{as_text(name)} AS {name}" for name in ("usage_buckets", "cost_components"))
        sql = f"SELECT {columns}, {packed} FROM exchanges WHERE id = ?"  # noqa: S608 - our own
        [found] = self.glassline.rows(sql, row["id"])
        lists = {name: json.loads(found[name] or "null") for name in ("finish_reasons", "tool_calls", "usage_buckets")}
        return {**found, **lists, "cost_components": json.loads(found["cost_components"])}

    def digests(self, row: dict[str, Any]) -> tuple[str, str]:
        """Read the recorded SHA-256 of both bodies."""
        query = "SELECT side, lower(hex(sha256)) AS sha FROM bodies JOIN exchanges ON exchange = seq WHERE id = ?"
        found = {each["side"]: each["sha"] for each in self.glassline.rows(query, row["id"])}
        return found.get(0, ""), found.get(1, "")


def then_reset(data: bytes) -> Script:
    """Make a script that sends `data` and resets the connection a moment later."""

    def script(connection: Connection) -> None:
        connection.send(data)
        connection.wait_closed(0.2)
        connection.reset()

    return script
