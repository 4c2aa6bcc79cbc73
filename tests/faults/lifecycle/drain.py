"""Stop Glassline while streams are open, and account for every one of them."""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import socket
import threading
import time
from typing import Any, Final

from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import DeadlineError, wait_until
from tests.harness.upstream import STREAM_HEAD, Connection, chunk, event

_DONE: Final = b"data: [DONE]\n\n"
END: Final = _DONE + b"\r\n0\r\n\r\n"


class Tap:
    """A script for `ScriptedUpstream`: every stream begins, and goes on when it is let go, those that may end."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, connection: Connection) -> None:
        """Stream; a request that says `endless` never ends."""
        connection.send(STREAM_HEAD + event("one"))
        if b"endless" in connection.request:
            connection.wait_closed(120)
            return
        self.go.wait(120)
        connection.send(event("two") + chunk(_DONE) + b"0\r\n\r\n")


def drain(glassline: Glassline, tap: Tap, streams: int, grace: float, *, endless: int = 0) -> dict[str, Any]:
    """Open `streams` streams, `endless` of them without an end, send SIGTERM, let go; return what became of each.

    `grace`: `timeouts.drain` of the configuration, whose upstream plays `tap`.
    """
    clients = [_open(glassline.port, f"endless-{n}" if n < endless else f"ends-{n}") for n in range(streams)]
    with RawClient(glassline.port) as probe:
        probe.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        probe.read_until(b"ok\n")
        started = time.monotonic()
        glassline.process.send_signal(signal.SIGTERM)
        unready_ms, closed_ms = _closing(glassline.port, started)
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        readiness = probe.read_all().status
    tap.go.set()
    answers = _read_all([client.socket for client in clients], timeout_s=grace + 20)
    code = glassline.process.wait(timeout_s=grace + 30)
    seconds = time.monotonic() - started
    for client in clients:
        client.socket.close()
    left = len(list((glassline.data_dir / "journal").glob("*.journal")))
    rows = _stored(glassline)
    at_the_end = len(rows)
    if at_the_end < streams:  # a busy machine: the recorder's time was up, and the journal has the rest
        rows = _stored_by_the_next_start(glassline, streams)
    ended = [row for row in rows if row["session"].startswith("ends")]
    return {
        "streams": streams,
        "exit_code": code,
        "seconds": round(seconds, 3),
        "beyond_grace_s": round(max(0.0, seconds - grace), 3),
        "port_closed_after_ms": round(closed_ms, 1),
        "unready_after_ms": None if unready_ms is None else round(unready_ms, 1),
        "readiness": readiness,
        "whole": sum(answer.endswith(END) for answer in answers),
        "cut_with_error": sum(b'"code":"draining"' in answer for answer in answers),
        "recorded_at_the_end": at_the_end,
        "recorded": len(rows),
        "recorded_completed": sum(row["outcome"] == "completed" for row in ended),
        "recorded_cut": sum(row["error_code"] == "draining" for row in rows),
        "lost": streams - len(rows),
        "left_in_journal": left,
        "unsettled": len(open_reservations(glassline)),
    }


def _stored(glassline: Glassline) -> list[dict[str, Any]]:
    return glassline.rows("SELECT outcome, error_code, session FROM requests WHERE session IS NOT NULL")


def _stored_by_the_next_start(glassline: Glassline, streams: int) -> list[dict[str, Any]]:
    glassline.start()
    with contextlib.suppress(DeadlineError):
        glassline.wait_for_rows(streams, "session IS NOT NULL")
    rows = _stored(glassline)
    glassline.stop()
    return rows


def open_reservations(glassline: Glassline) -> list[dict[str, Any]]:
    """Return what the ledger still holds reserved."""
    if not glassline.rows("SELECT 1 FROM sqlite_master WHERE name = 'accounts'", database="ledger.db"):
        return []
    return glassline.rows("SELECT * FROM accounts WHERE reserved_nano_usd <> 0", database="ledger.db")


def ask(session: str, *, close: bool = True) -> bytes:
    """Return a request for a stream."""
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": session}]}
    headers = (f"x-glassline-session: {session}",)
    return post("/v1/chat/completions", json.dumps(body).encode(), headers=headers, close=close)


def _open(port: int, session: str) -> RawClient:
    client = RawClient(port, timeout_s=30)
    client.send(ask(session, close=False))
    client.read_until(b"one")
    return client


def _closing(port: int, started: float) -> tuple[float | None, float]:
    """Return after how many ms `/readyz` said 503 (None: never, the port was closed first), and the port was closed."""
    unready: list[float] = []

    def is_closed() -> bool:
        try:
            answer = exchange(port, b"GET /readyz HTTP/1.0\r\n\r\n")
        except OSError:
            return True
        if answer.status == 503 and not unready:
            unready.append((time.monotonic() - started) * 1000)
        return False

    wait_until(is_closed, "the end of listening")
    return (unready[0] if unready else None), (time.monotonic() - started) * 1000


def _read_all(sockets: list[socket.socket], timeout_s: float) -> list[bytes]:
    """Read every socket until its end, or until the time is over."""
    data = {each: bytearray() for each in sockets}
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.5):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if piece := _receive(connection):
                    data[connection] += piece
                else:
                    selector.unregister(connection)
    return [bytes(data[each]) for each in sockets]


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""
