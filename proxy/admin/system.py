"""The system in short: what runs here, how much it holds, how far it is behind, and what it was told to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy import __version__
from proxy.admin.instruments import LOST, Instruments, recorder_lag_s
from proxy.config import Config
from proxy.ports import ports_file
from proxy.store import query as ask
from proxy.store.query import Query
from proxy.store.recent import seen
from proxy.store.rollups import HOUR_MS

_ROWS: Final = "SELECT coalesce(sum(requests), 0) FROM rollups WHERE dimension = 'all' AND span = 'day'"


class UpstreamSeen(msgspec.Struct, frozen=True):
    """How an upstream answered lately: told from traffic, nothing is sent to find out."""

    name: str
    requests: int
    """In the last hour, or among the newest of it."""
    faults: int
    is_answering: bool
    """Its newest request got an answer."""
    newest_at: int
    """Unix ms."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What runs here."""

    version: str
    started_at: int | None
    """Unix ms. None: nobody says, such as when admin runs alone."""
    upstreams: list[UpstreamSeen]
    database_bytes: int
    requests: int
    """Recorded ever."""
    journal_bytes: int | None
    lag_s: float | None
    """None: the recorder has not said anything yet."""
    lost: int
    in_flight: int
    bodies_kept_s: float
    records_kept_s: float
    config: str | None
    """The start of the SHA-256 of the file in force. None: there is no file."""
    config_at: int
    """Unix ms when it was loaded."""
    generation: int
    """Counted from 1 since the start."""
    is_config_good: bool


async def read_system(read: Instruments, config: Config) -> System:
    """Return it. Raises StoreError."""
    now = read.clock.wall_ms()
    status: dict[str, float] = {}
    upstreams: list[UpstreamSeen] = []
    requests = lost = 0
    async with read.store() as store:
        if store is not None:
            status = await store.run(ask.status())
            counters = await store.run(ask.counters())
            lost = sum(row.value for row in counters if row.name == LOST)
            requests = await store.run(Query(_ROWS, (), lambda rows: int(rows[0][0])))
            upstreams = _upstreams(await store.run(seen(now - HOUR_MS)))
    started_at = await asyncio.to_thread(_changed_at, ports_file(read.data_dir))
    processes, reload = read.processes(), read.stats.reload
    journal = status.get("journal_bytes")
    return System(
        version=__version__,
        started_at=started_at,
        upstreams=upstreams,
        database_bytes=await asyncio.to_thread(_size, read.data_dir),
        requests=requests,
        journal_bytes=None if journal is None else int(journal),
        lag_s=recorder_lag_s(status, now),
        lost=lost + sum(process.lost_records for process in processes),
        in_flight=sum(process.in_flight for process in processes),
        bodies_kept_s=config.retention.bodies,
        records_kept_s=config.retention.records,
        config=config.source.sha256[:12] if config.source is not None else None,
        config_at=reload.at_ms or read.started_ms,
        generation=reload.generation,
        is_config_good=reload.is_good,
    )


def _upstreams(rows: list[Any]) -> list[UpstreamSeen]:
    found: dict[str, UpstreamSeen] = {}
    for row in rows:  # the newest first
        if row.is_refused:
            continue
        known = found.get(row.upstream) or UpstreamSeen(row.upstream, 0, 0, not row.is_fault, row.started_at)
        found[row.upstream] = msgspec.structs.replace(
            known, requests=known.requests + 1, faults=known.faults + row.is_fault
        )
    return sorted(found.values(), key=lambda each: -each.requests)


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None


def _size(data_dir: Path) -> int:
    total = 0
    for name in ("records.db", "records.db-wal", "ledger.db", "app.db"):
        try:
            total += (data_dir / name).stat().st_size
        except OSError:
            continue
    return total
