"""A gateway that races for money: `python racing_client.py SOCKET NAME COUNT LIMIT`.

Asks for COUNT reservations at once under one budget of LIMIT nano-USD, each on its own, and prints one JSON list for
each answer as it arrives: exchange and `granted`, `refused` or `unavailable`. Ends when all have been answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from proxy.ledger.client import Decision, LedgerClient
from proxy.reservations import Granted, Refused
from tests.ledger.scenes import request, total


async def race(socket: Path, name: str, count: int, limit: int) -> None:
    client = LedgerClient(socket, leases=False)
    client.start()
    await client.connected()
    print("connected", flush=True)
    sys.stdin.readline()
    answers: asyncio.Queue[None] = asyncio.Queue()

    def ask(exchange: str) -> None:
        def answered(answer: Decision) -> None:
            word = "refused" if isinstance(answer, Refused) else "unavailable"
            print(json.dumps([exchange, "granted" if isinstance(answer, Granted) else word]), flush=True)
            answers.put_nowait(None)

        client.reserve(request(exchange, total(limit), owner=name), answered)

    for number in range(count):
        ask(f"{name}-{number}")
        if number % 10 == 0:
            await asyncio.sleep(0)  # several writes, so that the ledger sees several batches
    for _ in range(count):
        await answers.get()
    await client.close()


if __name__ == "__main__":
    asyncio.run(race(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
