"""How fast the one writer of the ledger is: four gateways, each a process, ask at a rate or as fast as they are answered.

`ledger_throughput()` returns figures and asserts nothing. Run as a program it is one of the gateways.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from proxy.ledger.client import Decision, LedgerClient
from proxy.reservations import Granted
from tests.harness.process import ROOT, wait_until
from tests.ledger.scenes import DOLLAR, request, total

GATEWAYS: Final = 4
IN_FLIGHT: Final = 250
"""Questions of one gateway that are open at a time: a thousand in all."""


def ledger_throughput(seconds: float = 3.0, rate: float | None = None) -> dict[str, Any]:
    """Let four gateways reserve for `seconds`; return reserves per second, waits in ms, and each one's share.

    `rate`: reserves per second that all of them ask for together, each wait from the moment it was due; None: a
    thousand open all the time.
    """
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=None) as folder:
        database, socket = Path(folder) / "ledger.db", Path(folder) / "s"
        ledger = subprocess.Popen([sys.executable, "-m", "tests.ledger.ledger_process", database, socket], cwd=ROOT)
        try:
            wait_until(socket.exists, "the ledger", timeout_s=30)
            counts, waits = _measure(socket, seconds, rate)
        finally:
            ledger.terminate()
            ledger.wait(timeout=30)
    cuts = quantiles(waits, n=1000)
    return {
        "gateways": GATEWAYS,
        "in_flight": GATEWAYS * IN_FLIGHT,
        "seconds": seconds,
        "reserves_per_second": round(sum(counts) / seconds),
        "p50_ms": round(cuts[499], 2),
        "p99_ms": round(cuts[989], 2),
        "max_ms": round(max(waits), 2),
        "fewest": min(counts),
        "most": max(counts),
    }


def _measure(socket: Path, seconds: float, rate: float | None) -> tuple[list[int], list[float]]:
    command = [sys.executable, "-m", "tests.ledger.throughput", str(socket)]
    gateways = [
        subprocess.Popen(
            [*command, f"g{number}", str(seconds), str((rate or 0) / GATEWAYS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(GATEWAYS)
    ]
    try:
        for gateway in gateways:
            assert gateway.stdout is not None
            assert gateway.stdout.readline() == "connected\n"
        for gateway in gateways:
            assert gateway.stdin is not None
            gateway.stdin.write("\n")
            gateway.stdin.flush()
        answers = [json.loads(gateway.communicate(timeout=seconds + 30)[0]) for gateway in gateways]
    finally:
        for gateway in gateways:
            gateway.kill()
            gateway.wait()
    return [len(waits) for waits in answers], [wait for waits in answers for wait in waits]


async def ask_for(socket: Path, name: str, seconds: float, rate: float) -> None:
    """Reserve for `seconds`, `rate` times each of them, or as fast as answers come; print how long each took, in ms."""
    client = LedgerClient(socket, timeout=20, leases=False)
    client.start()
    await client.connected()
    print("connected", flush=True)
    sys.stdin.readline()
    waits: list[float] = []
    if rate:
        await _ask_at(client, name, seconds, rate, waits)
    else:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_keep_asking(client, f"{name}-{number}", until, waits) for number in range(IN_FLIGHT)))
    await client.close()
    print(json.dumps(waits))


async def _keep_asking(client: LedgerClient, name: str, until: float, waits: list[float]) -> None:
    count = 0
    while (asked := time.monotonic()) < until:
        count += 1
        await _ask(client, name, count, asked, waits)


async def _ask_at(client: LedgerClient, name: str, seconds: float, rate: float, waits: list[float]) -> None:
    began, asked = time.monotonic(), []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        asked.append(asyncio.create_task(_ask(client, name, number, due, waits)))
    await asyncio.gather(*asked)


async def _ask(client: LedgerClient, name: str, number: int, since: float, waits: list[float]) -> None:
    answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
    client.reserve(request(f"{name}-{number}", total(10_000 * DOLLAR), owner=name), answer.set_result)
    assert isinstance(await answer, Granted)
    waits.append(round((time.monotonic() - since) * 1000, 3))


def main(arguments: Sequence[str]) -> None:
    """Be one gateway."""
    socket, name, seconds, rate = arguments
    asyncio.run(ask_for(Path(socket), name, float(seconds), float(rate)))


if __name__ == "__main__":
    main(sys.argv[1:])
