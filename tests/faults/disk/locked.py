"""Databases that another process locks: what becomes of the requests meanwhile, and of their records afterwards."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.disk.steady import FREE, PAID, WARM_S, ask, count, locking, missing, problems, sessions, whole_p99
from tests.harness import Glassline
from tests.harness.client import RawClient
from tests.harness.pacer import Pacer, between
from tests.harness.process import wait_until


def hold_locks(
    glassline: Glassline, per_second: float, calm_s: float, locked_s: float, ledger_s: float
) -> dict[str, Any]:
    """Ask at a steady pace, without a budget, and lock first the records and then the ledger meanwhile."""
    with Pacer(glassline.port, ask(), per_second) as pacer:
        time.sleep(WARM_S)
        calm = time.monotonic()
        time.sleep(calm_s)
        begun = time.monotonic()
        with locking(glassline.data_dir / "records.db"):
            time.sleep(locked_s)
            recorded = count(glassline)
            released = time.monotonic()
        waiting = int((released - calm + WARM_S) * per_second) - recorded
        wait_until(lambda: count(glassline) >= recorded + waiting, "what waited", timeout_s=60 + 4 * locked_s)
        drained = time.monotonic()
        time.sleep(1)
        ledger = time.monotonic()
        with locking(glassline.data_dir / "ledger.db"):
            refused = _refusals(glassline.port, ledger_s)
            unlocked = time.monotonic()
        wait_until(lambda: _status(glassline.port, PAID) == 200, "the ledger", timeout_s=30)
        back = time.monotonic()
        asked = pacer.stop()
    wait_until(lambda: not missing(asked, sessions(glassline.data_dir / "records.db")), "all records", timeout_s=60)
    return {
        "requests": len(asked),
        "failed": len(problems(asked)),
        "first_problems": problems(asked)[:3],
        "waiting": waiting,
        "drained_s": drained - released,
        "refused": refused["refused"],
        "paid_while_locked": refused["answered"],
        "slowest_refusal_s": refused["slowest_s"],
        "ledger_back_s": back - unlocked,
        "calm_p99_ms": whole_p99(between(asked, calm, begun)),
        "locked_p99_ms": whole_p99(between(asked, begun, released)),
        "draining_p99_ms": whole_p99(between(asked, released, drained + 1)),
        "ledger_p99_ms": whole_p99(between(asked, ledger, unlocked)),
    }


def _refusals(port: int, seconds: float) -> dict[str, Any]:
    """Ask with a budget for so long, one after the other."""
    found: dict[str, Any] = {"refused": 0, "answered": 0, "slowest_s": 0.0}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        status = _status(port, PAID)
        found["slowest_s"] = max(found["slowest_s"], time.monotonic() - began)
        found["refused" if status == 503 else "answered"] += 1
    return found


def _status(port: int, key: str = FREE) -> int:
    with RawClient(port, timeout_s=30) as client:
        client.send(ask(key).replace(b"x-glassline-session", b"connection: close\r\nx-not-counted"))
        return client.read_all().status
