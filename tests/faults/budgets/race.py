"""The race for a budget: a thousand callers at once over bare sockets, and a witness that looks every five milliseconds.

`race` runs one seed and returns what three witnesses saw: the callers, the provider's own bill, the database. It asserts
nothing, so that a test, a report and a long run can each ask for what they promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import apsw

from tests.e2e.prices import nano_usd
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until

KEY: Final = "sk-race-0123456789abcdef"
LIMIT_USD: Final = Decimal("0.0075")
"""Room for about a hundred of the callers' requests."""
LIMIT: Final = int(LIMIT_USD * 10**9)
TAKEN_AT_LEAST: Final = int(LIMIT * 0.8)
"""Nano-USD that every race takes at some time, and a look every few milliseconds cannot miss."""
TOKENS: Final = 40
SAMPLE_S: Final = 0.005
PATIENCE_S: Final = 60.0
Start = Callable[..., Glassline]


def race(
    start_glassline: Start,
    simulator: Simulator,
    seed: int,
    workers: int = 8,
    callers: int = 1000,
    *,
    victim: str | None = None,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """Let `callers` race for one budget behind `workers` gateways; return what was seen.

    `victim`: the role of a process that is killed in the middle, or None. All amounts are nano-USD.
    """
    started = time.monotonic()
    rng = random.Random(seed)
    before = max((line["n"] for line in simulator.truth("received")), default=0)
    budget = {"limit_usd": str(Decimal(limit) / 10**9), "window": "total"}
    config = {"keys": [{"name": "race", "key": KEY, "budgets": [budget]}]}
    glassline = start_glassline(simulator.url, config, args=("--workers", str(workers)))
    try:
        with Witness(glassline) as witness:
            answers = asyncio.run(_storm(glassline, callers, rng, witness, victim))
            settled_s = _settle(glassline)
        billed = _billed(simulator, before)
        rows = _rows(glassline, callers, is_whole=victim != "gateway")
        [account] = glassline.rows("SELECT * FROM accounts", database="ledger.db")
    finally:
        glassline.stop()
    return {
        "seed": seed,
        "workers": workers,
        "callers": callers,
        "victim": victim,
        "answers": dict(answers),
        "dispatched": len(billed),
        "samples": witness.samples,
        "peak_nano_usd": witness.peak,
        "limit_nano_usd": limit,
        "leases": witness.leases,
        "overspend_nano_usd": max(0, witness.peak - limit, account["spent_nano_usd"] - limit),
        "overrun_nano_usd": max(witness.overrun, account["overrun_nano_usd"]),
        "reserved_nano_usd": account["reserved_nano_usd"],
        "spent_nano_usd": account["spent_nano_usd"],
        "billed_nano_usd": sum(billed),
        "recorded_nano_usd": sum(round((row["cost_usd"] or 0) * 1e9) for row in rows),
        "rows": len(rows),
        "ids": len({row["id"] for row in rows}),
        "outcomes": dict(Counter(row["outcome"] for row in rows)),
        "settled_s": round(settled_s, 3),
        "seconds": round(time.monotonic() - started, 2),
    }


class Witness:
    """Reads the ledger's own file every five milliseconds, from a thread."""

    def __init__(self, glassline: Glassline) -> None:
        self.samples = 0
        self.peak = 0
        self.overrun = 0
        self.leases = 0
        """The most leases that stood at a time."""
        self._path = glassline.data_dir / "ledger.db"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self.samples, "the ledger could not be read once"

    def _look(self) -> None:
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(1000)
        sql = "SELECT spent_nano_usd + reserved_nano_usd, overrun_nano_usd FROM accounts"
        try:
            while not self._over.wait(SAMPLE_S):
                with contextlib.suppress(apsw.BusyError):  # the database is being recovered after a kill
                    rows: list[Any] = connection.execute(sql).fetchall()
                    self.peak = max(self.peak, *(committed for committed, _ in rows), 0)
                    self.overrun = max(self.overrun, *(overrun for _, overrun in rows), 0)
                    [row] = connection.execute("SELECT count(*) FROM reservations WHERE is_lease").fetchall()
                    self.leases = max(self.leases, int(str(row[0])))
                    self.samples += 1
        finally:
            connection.close()


async def _storm(
    glassline: Glassline, callers: int, rng: random.Random, witness: Witness, victim: str | None
) -> Counter[str]:
    kill = asyncio.create_task(_kill(glassline, victim, witness, rng.random() * TAKEN_AT_LEAST)) if victim else None
    calls = [_call(glassline.port, number, random.Random(rng.random())) for number in range(callers)]
    answers = Counter(await asyncio.gather(*calls))
    if kill is not None:
        async with asyncio.timeout(PATIENCE_S):
            await kill
    return answers


async def _kill(glassline: Glassline, role: str, witness: Witness, at: float) -> None:
    """Kill a process once so much of the budget has been taken."""
    while witness.peak <= at:  # noqa: ASYNC110 - the witness is a thread
        await asyncio.sleep(SAMPLE_S / 2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(glassline.pids_of(role)[0], signal.SIGKILL)


async def _call(port: int, number: int, rng: random.Random) -> str:
    """Make one call; return `ok`, the status and code of a refusal, or `broken`."""
    is_stream = rng.random() < 0.5
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await call_once(port, _request(number, rng, is_stream=is_stream))
    except OSError:
        return "broken"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head[9:12].decode()
    if status == "200":
        is_complete = b"[DONE]" in body and body.endswith(b"0\r\n\r\n") if is_stream else b'"usage"' in body
        return "ok" if is_complete else "broken"
    return f"{status} {json.loads(body)['error']['code']}" if body else "broken"


async def call_once(port: int, request: bytes) -> bytes:
    """Send one request on a connection of its own; return everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(-1)
    finally:
        writer.close()


def _request(number: int, rng: random.Random, *, is_stream: bool) -> bytes:
    message = {"role": "user", "content": f"Caller {number}: {'x' * rng.randrange(40)}"}
    body = json.dumps({"model": "gpt-4o-mini", "max_tokens": TOKENS, "stream": is_stream, "messages": [message]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        f"x-simulate: tokens={TOKENS};ttft={rng.random() / 5:.3f}\r\n\r\n"
    )
    return (head + body).encode()


def _settle(glassline: Glassline) -> float:
    """Wait until nothing is reserved; return the seconds that took."""
    started = time.monotonic()
    sql = "SELECT sum(reserved_nano_usd) AS held, (SELECT count(*) FROM reservations) AS open FROM accounts"

    def is_settled() -> bool:
        [row] = glassline.rows(sql, database="ledger.db")
        return (row["held"], row["open"]) == (0, 0)

    wait_until(is_settled, "settlement of every reservation", timeout_s=30)
    return time.monotonic() - started


def _billed(simulator: Simulator, before: int) -> list[int]:
    """Return what the provider billed for each request of this race."""
    return [
        nano_usd(line["model"], line["usage"]) if line["usage"] else 0
        for line in simulator.done()
        if line["n"] > before
    ]


def _rows(glassline: Glassline, callers: int, *, is_whole: bool) -> list[dict[str, Any]]:
    if is_whole:
        return glassline.wait_for_rows(callers)
    return glassline.rows("SELECT * FROM requests")
