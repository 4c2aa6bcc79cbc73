"""Clients under chaos: ordinary ones and bad ones, each keeping a journal of what it saw.

A thread is one client. It sends one request after the other, most of them well behaved, some with a fault of the
provider ordered in the `x-simulate` header, some leaving before the end. What it knows of each it writes down at once
as a JSON line, so that the journal outlives whatever happens next.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.faults.chaos.oracle import ClientNote
from tests.harness.client import Answer, RawClient, post

PROVIDER_FAULTS: Final = (
    "status=429",
    "status=500",
    "status=503",
    "cut=3",
    "cut=0",
    "fin=4",
    "eof=2",
    "stall=3",
    "error=2",
    "header-stall",
    "no-usage",
    "gzip",
    "chunk=1",
    "close",
)
PATIENCE_S: Final = 15.0
"""How long a client waits for the next byte."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One key that clients use."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What one client is going to do once."""

    name: str
    caller: Caller
    is_streaming: bool
    tokens: int
    pace: int
    fault: str
    leaves_after: int | None
    """Bytes of the answer after which the client is gone; None: it stays."""

    def request(self) -> bytes:
        """Return the bytes to send."""
        body = {
            "model": "gpt-4o-mini",
            "stream": self.is_streaming,
            "max_tokens": self.tokens,
            # Asked for by the client itself, so that not one byte is edited on the way.
            **({"stream_options": {"include_usage": True}} if self.is_streaming else {}),
            "messages": [{"role": "user", "content": self.name}],
        }
        simulate = f"tokens={self.tokens};pace={self.pace}" + (f";{self.fault}" if self.fault else "")
        headers = (f"x-glassline-session: {self.name}", f"x-name: {self.name}", f"x-simulate: {simulate}")
        return post("/v1/chat/completions", json.dumps(body).encode(), key=self.caller.key, headers=headers)


def wish(rng: random.Random, name: str, callers: Sequence[Caller]) -> Wish:
    """Draw what a client does next."""
    return Wish(
        name=name,
        caller=rng.choice(callers),
        is_streaming=rng.random() < 0.6,
        tokens=rng.choice((5, 30, 120)),
        pace=rng.choice((300, 3000)),
        fault=rng.choice(PROVIDER_FAULTS) if rng.random() < 0.2 else "",
        leaves_after=rng.choice((0, 1, 400, 2000)) if rng.random() < 0.15 else None,
    )


class Traffic:
    """Some clients at work until `stop`."""

    def __init__(self, port: int, journal: Path, callers: Sequence[Caller], *, seed: int, clients: int) -> None:
        self.port = port
        """Where Glassline is now; it may come back elsewhere."""
        self.notes: list[ClientNote] = []
        self._callers = tuple(callers)
        self._journal = journal.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed, n)) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every client finish what it does, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(4 * PATIENCE_S)
        self._journal.close()

    def _run(self, seed: int, number: int) -> None:
        rng = random.Random(f"{seed}/{number}")
        count = 0
        while not self._stop.is_set():
            count += 1
            note = perform(self.port, wish(rng, f"s{seed}-{number}-{count}", self._callers))
            with self._lock:
                self.notes.append(note)
                self._journal.write(json.dumps(asdict(note)) + "\n")
                self._journal.flush()
            if not note.status:
                time.sleep(0.02)  # nobody there: no busy loop


def perform(port: int, wanted: Wish) -> ClientNote:
    """Send one request, do what the wish says and return what was seen."""
    try:
        with RawClient(port, timeout_s=PATIENCE_S) as client:
            client.send(wanted.request())
            if wanted.leaves_after is not None:
                _read_some(client.socket, wanted.leaves_after)
                return _nothing(wanted)
            answer = _read(client)
    except OSError:
        return _nothing(wanted)
    body, is_whole = unframe(answer)
    return ClientNote(
        name=wanted.name,
        key=wanted.caller.name,
        status=answer.status,
        is_whole=is_whole,
        body_sha256=hashlib.sha256(body).hexdigest(),
        body_bytes=len(body),
        error_code=header(answer, b"x-glassline-error").decode(),
    )


def unframe(answer: Answer) -> tuple[bytes, bool]:
    """Return the body of an answer, and whether its framing says that it is whole."""
    if not answer.status or b"\r\n\r\n" not in answer.raw:
        return b"", False
    if b"chunked" in header(answer, b"transfer-encoding"):
        return _unchunk(answer.body)
    length = header(answer, b"content-length")
    if not length:
        return answer.body, not answer.is_reset
    return answer.body, len(answer.body) == int(length)


def header(answer: Answer, name: bytes) -> bytes:
    """Return the value of a header in lower case; empty: it is missing."""
    _, found, rest = answer.head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


def _unchunk(raw: bytes) -> tuple[bytes, bool]:
    body = bytearray()
    while True:
        size, found, rest = raw.partition(b"\r\n")
        if not found or not size:
            return bytes(body), False
        length = int(size, 16)
        if length == 0:
            return bytes(body), rest.startswith(b"\r\n")
        body += rest[:length]
        if len(rest) < length + 2:
            return bytes(body), False
        raw = rest[length + 2 :]


def _read(client: RawClient) -> Answer:
    parts: list[bytes] = []
    try:
        while data := client.socket.recv(65536):
            parts.append(data)
    except OSError:
        return Answer(b"".join(parts), is_reset=True)
    return Answer(b"".join(parts), is_reset=False)


def _read_some(connection: socket.socket, count: int) -> None:
    while count > 0:
        data = connection.recv(min(count, 4096))
        if not data:
            return
        count -= len(data)


def _nothing(wanted: Wish) -> ClientNote:
    return ClientNote(wanted.name, wanted.caller.name, 0, is_whole=False, body_sha256="", body_bytes=0)
