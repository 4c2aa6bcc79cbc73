"""A client that asks at a steady pace, whatever becomes of what it asked before.

Each request has its moment in a schedule, and its times count from that moment: one that is slow neither delays the next
nor hides it, since whoever finds no idle connection opens one more. It runs in a process of its own, so that what it
measures is the server and not the test beside it; the monotonic clock, which all processes share, tells which request
was of which part of the test.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from types import TracebackType
from typing import Final, Self

from tests.harness.process import ROOT, clean_environment

NUMBER: Final = b"@pacer-no"
"""Stands in a request for which one it is: as many bytes as the number that takes its place."""
PATIENCE_S: Final = 30.0
"""For one answer."""
_LENGTH: Final = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one request."""

    number: int
    """Counted from 0."""
    at: float
    """When it was due, on the monotonic clock."""
    first_ms: float
    """From then to the first byte of the answer's body."""
    whole_ms: float
    """From then to its end."""
    problem: str
    """Empty: it was answered with 200, whole."""

    @property
    def answered_at(self) -> float:
        """When the answer was whole, on the monotonic clock."""
        return self.at + self.whole_ms / 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """What to ask, and how often."""

    port: int
    request: str
    per_second: float
    connections: int
    """Opened before the first request; more when all are busy."""


class Pacer:
    """The client; it asks from its start until `stop`. Leaving the context stops it, too."""

    def __init__(self, port: int, request: bytes, per_second: float, *, connections: int = 16) -> None:
        """`request` is sent on kept connections, with its number, nine digits, in the place of each `NUMBER`."""
        pace = Pace(port, request.decode("latin-1"), per_second, connections)
        self._running = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asdict(pace))],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._running.stdout is not None
        if not self._running.stdout.readline():  # it asks from now on
            self._running.communicate()
            raise AssertionError("the pacer did not begin: its stderr tells why")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running.returncode is None:
            self._running.communicate()

    def stop(self) -> list[Asked]:
        """Ask nothing more, wait for what was asked, and return what became of all, in the order of the schedule."""
        output, _ = self._running.communicate()
        return [Asked(*each) for each in json.loads(output)]


def between(asked: Sequence[Asked], since: float, until: float) -> list[Asked]:
    """Return what was due in that time."""
    return [each for each in asked if since <= each.at < until]


def p99(values: Sequence[float]) -> float:
    """Return what ninety-nine of a hundred do not exceed."""
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]


def main() -> None:
    """Be the client: go on until the input ends."""
    pace = Pace(**json.loads(sys.argv[1]))
    gc.disable()  # a collection would be taken for a slow answer
    print(json.dumps([astuple(each) for each in asyncio.run(_Client(pace).run())]))


class _Client:
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._request = pace.request.encode("latin-1")
        self._idle: deque[_Connection] = deque()
        self._asked: list[Asked] = []

    async def run(self) -> list[Asked]:
        self._idle.extend([await self._open() for _ in range(self._pace.connections)])
        ended = threading.Event()
        threading.Thread(target=_set_at_end_of_input, args=(ended,), daemon=True).start()
        print("begun", flush=True)
        begun, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            while not ended.is_set():
                due = begun + number / self._pace.per_second
                await asyncio.sleep(due - time.monotonic())
                tasks.create_task(self._ask(number, due))
                number += 1
        return sorted(self._asked, key=lambda each: each.number)

    async def _ask(self, number: int, due: float) -> None:
        first, problem = 0.0, ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                # The one that was idle longest: so none is idle long enough to be closed.
                connection = self._idle.popleft() if self._idle else await self._open()
                first, problem = await self._answer(connection, self._request.replace(NUMBER, b"%09d" % number))
        except (OSError, EOFError) as error:
            problem = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        self._asked.append(Asked(number, due, ((first or now) - due) * 1000, (now - due) * 1000, problem))

    async def _answer(self, connection: _Connection, request: bytes) -> tuple[float, str]:
        """Ask and read to the end; return when the body began, and what was wrong."""
        reader, writer = connection
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(1)
        first = time.monotonic()
        if length:
            body += await reader.readexactly(int(length[1]) - 1)
        else:
            body += await reader.readuntil(_LAST_CHUNK)
        if b"\r\nconnection: close" in head.lower():
            writer.close()
        else:
            self._idle.append(connection)
        is_good = head.startswith(b"HTTP/1.1 200 ")
        return first, "" if is_good else (head.partition(b"\r\n")[0] + b" " + body[:200]).decode(errors="replace")

    async def _open(self) -> _Connection:
        return await asyncio.open_connection("127.0.0.1", self._pace.port, limit=1 << 20)


def _set_at_end_of_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
