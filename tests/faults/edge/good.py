"""A good client: small requests one after the other, each on a connection of its own, some fifty a second.

It runs in a process of its own, so that what it measures is the server and not the storm beside it. `python -m` with a
port: goes on until its input ends, then prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.harness.process import ROOT

_PROBE: Final = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PAUSE_S: Final = 0.02


@dataclass
class Fared:
    """How good clients fared."""

    requests: int = 0
    failed: int = 0
    p99_ms: float = 0.0


@asynccontextmanager
async def good_clients(port: int) -> AsyncIterator[Fared]:
    """Send good requests while the context is open; its value is filled in when it closes."""
    fared = Fared()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.edge.good",
        str(port),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is not None:
            await process.stdout.readline()  # the first request is answered
        yield fared
    finally:
        output, _ = await process.communicate(b"")
    seen = json.loads(output)
    fared.requests, fared.failed, fared.p99_ms = seen["requests"], seen["failed"], seen["p99_ms"]


def main() -> None:
    """Be the client."""
    port, took_ms, failed = int(sys.argv[1]), [], 0
    while True:
        began = time.perf_counter()
        failed += not _is_answered(port)
        took_ms.append((time.perf_counter() - began) * 1000)
        if len(took_ms) == 1:
            print("begun", flush=True)
        if select.select([sys.stdin], [], [], _PAUSE_S)[0]:
            break
    took_ms.sort()
    print(json.dumps({"requests": len(took_ms), "failed": failed, "p99_ms": took_ms[int(len(took_ms) * 0.99)]}))


def _is_answered(port: int) -> bool:
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(_PROBE)
            while data := connection.recv(65536):
                answer += data
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


if __name__ == "__main__":
    main()
