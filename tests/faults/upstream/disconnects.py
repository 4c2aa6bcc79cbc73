"""A measure: clients that leave at every stage, and whether each is recorded, settled and told to the upstream."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

from tests.faults.upstream.stage import account, request
from tests.harness import Glassline
from tests.harness.client import RawClient
from tests.harness.faultupstream import FaultUpstream, Served
from tests.harness.process import wait_until

Moment = Literal["during upload", "before the first byte", "in the middle", "at the last byte"]
MOMENTS: Final[tuple[Moment, ...]] = ("during upload", "before the first byte", "in the middle", "at the last byte")
_FAULTS: Final[dict[Moment, str]] = {
    "during upload": "ok",
    "before the first byte": "run;sleep 0.7 | sse | chunked | event 2 | usage | done | end",
    "in the middle": "run;sse | chunked | event 2 | sleep 0.7 | event 2 | usage | done | end",
    "at the last byte": "run;sse | chunked | event 3 | usage | done | end",
}
CANCELLED_WITHIN_S: Final = 0.2
_THREADS: Final = 24


@dataclass(frozen=True, slots=True)
class _Departure:
    """One client that left."""

    name: str
    moment: Moment
    at: float


def disconnects(
    glassline: Glassline, upstream: FaultUpstream, count: int, seed: int, mode: Literal["cancel", "drain"] = "cancel"
) -> dict[str, float]:
    """Let `count` clients leave; return how many were recorded and settled, and how soon the upstream knew.

    `mode` is what the upstream's `on_disconnect` says.
    """
    rng = random.Random(seed)
    plans = [(f"d{seed:04}-{number:05}", rng.choice(MOMENTS), rng.random() < 0.5) for number in range(count)]
    with ThreadPoolExecutor(_THREADS) as pool:
        left = list(pool.map(lambda plan: _leave(glassline.port, *plan), plans))
    rows = glassline.wait_for_rows(count, f"session LIKE 'd{seed:04}-%'", timeout_s=90)
    wait_until(lambda: account(glassline).reserved == 0, "settlement", timeout_s=60)
    truth = {served.name: served for served in upstream.truth()}
    delays = [_delay_s(departure, truth) for departure in left]
    known = [delay for delay in delays if delay is not None]
    outcomes = Counter(str(row["outcome"]) for row in rows)
    return {
        "clients": count,
        "recorded": len({row["session"] for row in rows}),
        "rows": len(rows),
        "settled": count - _unsettled(glassline),
        "client_closed": outcomes["client_closed"],
        "completed": outcomes["completed"],
        "other outcomes": count - outcomes["client_closed"] - outcomes["completed"],
        "reached the upstream": sum(each.name in truth for each in left),
        "upstream calls during upload": sum(each.name in truth for each in left if each.moment == "during upload"),
        "cut short upstream": len(known),
        "slowest cancel ms": round(max(known, default=0.0) * 1000, 1),
        "late cancels": sum(delay > CANCELLED_WITHIN_S for delay in known) if mode == "cancel" else 0,
        "read to the end": sum(served.is_whole for served in truth.values() if served.name in {d.name for d in left}),
    }


def _leave(port: int, name: str, moment: Moment, is_rude: bool) -> _Departure:
    # Without `Connection: close`: who announces a last request is still served after closing its sending side.
    whole = request(_FAULTS[moment], name, is_stream=moment != "during upload", close=False, padding=20_000)
    with RawClient(port, timeout_s=10) as client:
        if moment == "during upload":
            client.send(whole[:-5000])
            time.sleep(0.02)
        else:
            client.send(whole)
        if moment == "before the first byte":
            time.sleep(0.15)
        elif moment == "in the middle":
            client.read_until(b"data: ")
        elif moment == "at the last byte":
            client.read_until(b"0\r\n\r\n")
        at = time.monotonic()
        if is_rude:
            client.reset()
        else:
            client.socket.shutdown(socket.SHUT_RDWR)
    return _Departure(name, moment, at)


def _delay_s(departure: _Departure, truth: dict[str, Served]) -> float | None:
    """Return how long after the client the upstream was left; None: its answer was over, or it never heard of it.

    Where a busy machine took the connection only after its client had left, it counts from the upstream's call on.
    """
    served = truth.get(departure.name)
    if served is None or served.peer_left is None:
        return None
    return max(0.0, served.peer_left - max(departure.at, served.began))


def _unsettled(glassline: Glassline) -> int:
    rows = glassline.rows("SELECT count(*) AS open FROM reservations", database="ledger.db")
    return int(rows[0]["open"])
