"""A provider that fails on order, byte by byte, and keeps a log of the truth.

A request names its fault in the header `x-fault: name;argument` or in its model (`fault/<name>`); each name stands for a
program in a small language (`faultprogram`), and `x-fault: run;<program>` carries one of its own; `x-fault:
turns;<fault> || <fault>` is one after the other, for requests of the same `x-name`. No HTTP library has a hand in it, so
it can be as wrong as it likes. It runs in a process of its own (`faultserver`), serves a thousand connections at once and
writes down what it saw and sent, as JSON lines of `Served`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.harness.process import ROOT, Process


@dataclass(frozen=True, slots=True)
class Served:
    """The truth about one request. Times are seconds of the monotonic clock, which all processes share."""

    number: int
    """Counted in the order in which requests were complete."""
    connection: int
    """Which of its connections it came on, counted from 1."""
    on_connection: int
    """Which request of that connection it was, counted from 1."""
    name: str
    """`x-name` of the request: what the client calls it."""
    fault: str
    method: str
    path: str
    authorization: str
    body_sha256: str
    """Of the request's body."""
    body_bytes: int
    began: float
    """When its head was complete."""
    ended: float
    wire_bytes: int
    """Bytes sent, heads and framing included."""
    sent_sha256: str
    """Of the bytes of the answer's body."""
    sent_bytes: int
    tokens: int
    """Output tokens sent."""
    is_whole: bool
    """The answer was sent to its proper end."""
    aborted_at: int | None
    """Byte on the wire behind which it broke off by its own will; None: it did not."""
    peer_left: float | None
    """When the peer closed while it was served; None: it did not."""


class FaultUpstream:
    """The provider, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "truth.jsonl"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        port_file = directory / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.harness.faultserver", str(port_file), str(self._log)]
        self._process = Process(command, directory, name="faultupstream", env={"PYTHONPATH": str(ROOT)})
        self._process.wait_for(port_file.exists, "its port")
        self.port = int(port_file.read_text())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        """Base URL to configure."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def truth(self) -> list[Served]:
        """Return everything served so far, in order of its end."""
        if not self._log.exists():
            return []
        whole = self._log.read_bytes().rpartition(b"\n")[0]
        return [Served(**json.loads(line)) for line in whole.splitlines()]

    def close(self) -> None:
        """End it."""
        self._process.close()
