"""The recorded day: every request of 24 hours with its bodies, through the real journal and the real recorder."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxy.config import parse_config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from tests.dashboard.seed.fates import Exchange, exchanges, refused
from tests.dashboard.seed.hostile import hostile
from tests.dashboard.seed.shop import DAY_MS, Visit, day

REFUSED_KEY: Final = "claims-photos"
_USED_UP_MS: Final = 100 * 60_000
"""So long before the end the budget of that key was used up."""
_REFUSAL: Final = (
    "Budget claims-photos/day (key claims-photos) has $2.00 spent of $2.00; this request may need $0.0061, $0.0004 would"
    " still fit; more fits at tomorrow's midnight."
)
_HOSTILE_MS: Final = 3 * 60_000
"""So long before the end somebody tries everything."""
_KEEPS_ALL: Final = "retention: {bodies: 36500d, records: 36500d}"
"""The recorder looks at the clock of this machine, which is not that of the seed."""


def write_day(data_dir: Path, end_ms: int, scale: float, *, is_hostile: bool) -> int:
    """Write the journal of the day and record it; return how many requests there were."""
    chance = random.Random("day")
    made = [each for visit in day(end_ms, scale, chance) for each in _made(visit, end_ms, chance)]
    made = [each for each in made if end_ms - DAY_MS <= each.begin.started_at_ms and each.ended_ms < end_ms]
    if is_hostile:
        made += hostile(end_ms - _HOSTILE_MS, chance)
    made.sort(key=lambda each: each.ended_ms)
    _append(data_dir / "journal", made)
    stop = threading.Event()
    stop.set()
    record(data_dir, parse_config(_KEEPS_ALL), data_dir / "run" / "ledger.sock", stop=stop)
    return len(made)


def _made(visit: Visit, end_ms: int, chance: random.Random) -> Iterable[Exchange]:
    if visit.started_ms >= end_ms:
        return ()
    if visit.app.name == REFUSED_KEY and visit.started_ms > end_ms - _USED_UP_MS:
        return (refused(visit, "budget_exceeded", _REFUSAL, chance),)
    return exchanges(visit, chance)


def _append(directory: Path, made: Iterable[Exchange]) -> None:
    writer = JournalWriter(directory, "gateway-0")
    for each in made:
        writer.whole(each.begin, each.end, each.request, each.response)
    writer.close()
