"""How fast the one writer of the ledger is: four gateways, each a process, ask as fast as they are answered.

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


def ledger_throughput(seconds: float = 3.0) -> dict[str, Any]:
    """Let four gateways reserve for `seconds`; return reserves per second, waits in ms, and each one's share."""
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=None) as folder:
        database, socket = Path(folder) / "ledger.db", Path(folder) / "s"
        ledger = subprocess.Popen([sys.executable, "-m", "tests.ledger.ledger_process", database, socket], cwd=ROOT)
        try:
            wait_until(socket.exists, "the ledger", timeout_s=30)
            counts, waits = _measure(socket, seconds)
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


def _measure(socket: Path, seconds: float) -> tuple[list[int], list[float]]:
    command = [sys.executable, "-m", "tests.ledger.throughput", str(socket)]
    gateways = [
        subprocess.Popen(
            [*command, f"g{number}", str(seconds)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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


async def ask_for(socket: Path, name: str, seconds: float) -> None:
    """Keep `IN_FLIGHT` reservations open for `seconds`; print how long each answer took, in ms."""
    client = LedgerClient(socket, timeout=20)
    client.start()
    await client.connected()
    print("connected", flush=True)
    sys.stdin.readline()
    waits: list[float] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(_keep_asking(client, f"{name}-{number}", until, waits) for number in range(IN_FLIGHT)))
    await client.close()
    print(json.dumps(waits))


async def _keep_asking(client: LedgerClient, name: str, until: float, waits: list[float]) -> None:
    loop, count = asyncio.get_running_loop(), 0
    while (asked := time.monotonic()) < until:
        count += 1
        answer: asyncio.Future[Decision] = loop.create_future()
        client.reserve(request(f"{name}-{count}", total(10_000 * DOLLAR), owner=name), answer.set_result)
        assert isinstance(await answer, Granted)
        waits.append(round((time.monotonic() - asked) * 1000, 3))


def main(arguments: Sequence[str]) -> None:
    """Be one gateway."""
    asyncio.run(ask_for(Path(arguments[0]), arguments[1], float(arguments[2])))


if __name__ == "__main__":
    main(sys.argv[1:])
