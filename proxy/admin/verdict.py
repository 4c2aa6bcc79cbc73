"""The verdict: is all well, and if not, why not. A pure judgement over numbers handed in; the gauges add theirs.

`failing`: records were lost, or are no longer being kept, or nothing takes traffic. `degraded`: something needs a look
soon. The reasons are sentences, the worst first, because whoever reads them was probably woken up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from proxy.stats import ProcessStats

Level = Literal["ok", "degraded", "failing"]
_ORDER: Final[tuple[Level, ...]] = ("ok", "degraded", "failing")

SLOW_LAG_S: Final = 5.0
"""A recorder is usually 0.1 s behind; a budget is settled this late."""
STUCK_LAG_S: Final = 60.0
RECENT_S: Final = 300
"""Missing prices are judged over the last five minutes."""
UNSERVED_S: Final = 60
"""What Glassline itself refused is judged over the last minute: when it serves again, that is soon seen."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the verdict is not `ok`."""

    level: Level
    code: str
    """Stable, for programs: records_lost, recorder_lag, gateway_dead, …"""
    text: str


@dataclass(frozen=True, slots=True)
class Recent:
    """What happened in the last five minutes."""

    unpriced: int = 0
    unserved: int = 0
    """Refused in the last minute because journal or ledger could not take them."""
    unserved_why: str | None = None
    """What the last one that was refused was told. None: none was."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement."""

    level: Level
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Signs:
    """What the verdict is judged by."""

    processes: Sequence[ProcessStats] = ()
    lost: Mapping[str, int] | None = None
    """Records lost by reason, ever. None: the store does not say."""
    recorder_lag_s: float | None = None
    """Age of the oldest exchange that is over but not in the store. None: the recorder does not say."""
    bad_frames: int = 0
    """Frames of the journal that could not be read, ever."""
    recent: Recent = Recent()
    free_bytes: int | None = None
    """Room on the disk of the data directory, where that is little. None: there is enough."""
    is_full: bool = False
    """There is so little that `record.when_full` decides about new requests."""
    is_config_good: bool = True
    """The last attempt to load the configuration succeeded."""
    problem: str | None = None
    """Why the store could not be read. None: it could, or there is none yet."""


def judge(signs: Signs, more: Sequence[Reason] = ()) -> Verdict:
    """Return the verdict, its worst reasons first. `more`: what the gauges give as reasons."""
    reasons = sorted((*_reasons(signs), *more), key=lambda reason: -_ORDER.index(reason.level))
    return Verdict(reasons[0].level if reasons else "ok", tuple(reasons))


def _reasons(signs: Signs) -> Iterator[Reason]:
    if signs.problem is not None:
        yield Reason("failing", "store_unreadable", f"the store cannot be read: {signs.problem}")
    for why, count in sorted((signs.lost or {}).items()):
        if count:
            yield Reason("failing", "records_lost", f"{_plural(count, 'record')} lost: {why}")
    if signs.bad_frames:
        yield Reason("failing", "journal_damaged", f"the journal held {_plural(signs.bad_frames, 'unreadable frame')}")
    yield from _disk(signs)
    yield from _recorder(signs)
    yield from _gateways(signs.processes)
    if not signs.is_config_good:
        yield Reason("degraded", "config_refused", "the configuration was not loaded; the last good one is in force")
    yield from _traffic(signs.recent)


def _disk(signs: Signs) -> Iterator[Reason]:
    if signs.free_bytes is None:
        return
    room = f"{signs.free_bytes / 1_000_000:,.1f} MB left on the disk of the data directory"
    if signs.is_full:
        yield Reason("failing", "disk_full", f"{room}: record.when_full decides about new requests; free some")
    else:
        yield Reason("degraded", "disk_low", f"{room}: free some, or keep less (retention)")


def _recorder(signs: Signs) -> Iterator[Reason]:
    lag = signs.recorder_lag_s or 0.0
    if lag > STUCK_LAG_S:
        yield Reason("failing", "recorder_lag", f"the recorder is {lag:.0f} s behind: records wait in the journal")
    elif lag > SLOW_LAG_S:
        yield Reason("degraded", "recorder_lag", f"the recorder is {lag:.1f} s behind")


def _gateways(processes: Sequence[ProcessStats]) -> Iterator[Reason]:
    gateways = [process for process in processes if process.process.startswith("gateway") and not process.is_retired]
    dead = [process.process for process in gateways if not process.is_alive]
    unready = [process.process for process in gateways if process.is_alive and not process.is_ready]
    failures = sum(process.journal_failures for process in gateways)
    lost = sum(process.lost_records for process in gateways)
    if gateways and len(dead) == len(gateways):
        yield Reason("failing", "gateway_dead", "no gateway is alive")
    elif dead:
        yield Reason("degraded", "gateway_dead", f"{', '.join(dead)} does not answer")
    if lost:
        yield Reason("failing", "records_lost", f"{_plural(lost, 'record')} lost: neither disk nor memory had room")
    if unready and len(unready) + len(dead) == len(gateways):
        yield Reason(
            "failing", "gateway_not_ready", "no gateway takes traffic: the disk is full or failing, or it stops"
        )
    elif unready:
        yield Reason("degraded", "gateway_not_ready", f"{', '.join(unready)} takes no traffic")
    if failures:
        yield Reason("degraded", "journal_failures", f"the disk refused {_plural(failures, 'journal write')}")


def _traffic(recent: Recent) -> Iterator[Reason]:
    if recent.unserved:
        why = recent.unserved_why or "journal or ledger did not take them"
        yield Reason("failing", "unserved", f"{_plural(recent.unserved, 'request')} refused in the last minute: {why}")
    if recent.unpriced:
        yield Reason(
            "degraded", "unpriced", f"{_plural(recent.unpriced, 'request')} without a price in the last 5 minutes"
        )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
