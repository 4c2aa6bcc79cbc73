"""Instruments: everything admin reads, from the store, the ledger and the processes.

Connections are read-only and lent by a pool; what Prometheus and the verdict read has a pool of its own, so that nobody's
questions are in their way. A database that does not exist yet is an empty one; a database that cannot be read is an
error, never an empty answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from proxy.admin.accounts import as_configured, hourly_pace
from proxy.admin.exposition import BudgetLevel, HistogramShown, Scrape
from proxy.admin.forecast import month_forecast
from proxy.admin.gauges import Sight
from proxy.admin.verdict import RECENT_S, UNSERVED_S, Recent, Signs
from proxy.clock import SYSTEM, Clock
from proxy.disk import free_bytes, is_nearly_full, is_running_low
from proxy.errors import StoreError
from proxy.gates.budgets import BudgetTemplate
from proxy.ledger.accounts import AccountRow
from proxy.ledger.reading import read_accounts
from proxy.stats import ProcessStats, StatsReader
from proxy.store import AsyncStoreReader, recent
from proxy.store import query as ask
from proxy.store.pool import ReaderPool
from proxy.store.query import CounterRow, HistogramRow, Query
from proxy.store.rollups import DAY_MS, HOUR_MS
from proxy.store.series import BOUNDARIES

EXPECTED_SILENCE_S: Final = 3.0
"""The recorder says how it is doing every second, unless a batch is in its way."""
LOST: Final = "glassline_records_lost_total"
_RECENT: Final = """
WITH recent AS (
    SELECT is_unpriced, error_message, started_at, error_code = 'recorder_unavailable' AND started_at >= ?2 AS is_unserved
    FROM exchanges WHERE started_at >= ?1 ORDER BY started_at DESC LIMIT 5000
)
SELECT coalesce(sum(is_unpriced), 0), coalesce(sum(is_unserved), 0),
    (SELECT error_message FROM recent WHERE is_unserved ORDER BY started_at DESC LIMIT 1)
FROM recent
"""
"""The newest 5,000 are enough to judge by, and cost the same however busy the gateways are."""


@dataclass(slots=True)
class Instruments:
    """The readers of one data directory."""

    data_dir: Path
    stats: StatsReader
    budgets: Sequence[BudgetTemplate] = ()
    """Those of the configuration, so that one nobody used yet is shown too."""
    clock: Clock = SYSTEM
    started_ms: int = field(init=False)
    """When this process began to read; with another configuration a new one begins."""

    _asked: ReaderPool = field(init=False)
    _watched: ReaderPool = field(init=False)
    _filed: ReaderPool = field(init=False)
    _followed: ReaderPool = field(init=False)

    def __post_init__(self) -> None:
        self.started_ms = self.clock.wall_ms()
        path = self.data_dir / "records.db"
        self._asked = ReaderPool(path)
        self._watched, self._filed, self._followed = (ReaderPool(path, readers=1) for _ in range(3))

    def store(self) -> AbstractAsyncContextManager[AsyncStoreReader | None]:
        """Open the store for a few questions; None: there is none yet. Raises StoreBusy and StoreError."""
        return self._asked.reader()

    def files(self) -> AbstractAsyncContextManager[AsyncStoreReader | None]:
        """Open the store for one slice of a file: files are in nobody's way but their own. Raises as `store`."""
        return self._filed.reader()

    def live(self) -> AbstractAsyncContextManager[AsyncStoreReader | None]:
        """Open the store for one look at what is new. Raises as `store`."""
        return self._followed.reader()

    async def accounts(self) -> list[AccountRow]:
        """Return the budgets in their current windows. Raises StoreError."""
        rows = await asyncio.to_thread(read_accounts, self.data_dir / "ledger.db")
        return as_configured(rows, self.budgets, self.clock.wall_ms())

    def processes(self) -> list[ProcessStats]:
        """Return what the processes say of themselves now."""
        return self.stats.snapshot()

    async def scrape(self) -> Scrape:
        """Return what /metrics shows. Raises StoreError."""
        counters: list[CounterRow] = []
        histograms: list[HistogramRow] = []
        status: dict[str, float] = {}
        async with self._watched.reader() as store:
            if store is not None:
                counters = await store.run(ask.counters())
                histograms = await store.run(ask.histograms())
                status = await store.run(ask.status())
        return Scrape(
            counters=counters,
            histograms=[_shown(row) for row in histograms],
            lag_s=recorder_lag_s(status, self.clock.wall_ms()),
            journal_bytes=status.get("journal_bytes"),
            damage=status,
            budgets=budget_levels(await self.accounts()),
            processes=self.processes(),
            reload=self.stats.reload,
        )

    async def sight(self) -> Sight:
        """Return what the gauges are read from. Raises StoreError."""
        now = self.clock.wall_ms()
        pace = hourly_pace(self.budgets, now)
        async with self._watched.reader() as store:
            if store is None:
                return Sight(now, (), (), None, pace)
            seen = await store.run(recent.seen(now - HOUR_MS))
            hours = await store.run(recent.hours(now - now % HOUR_MS - 8 * DAY_MS))
            newest = seen[0].started_at if seen else await store.run(recent.newest())
            month = await month_forecast(store, now)
        return Sight(now, seen, hours, newest, pace, month.projected_nano_usd)

    async def signs(self) -> Signs:
        """Return what the verdict is judged by; a store that cannot be read is one of the signs."""
        known = Signs(
            processes=self.processes(),
            free_bytes=free_bytes(self.data_dir) if is_running_low(self.data_dir) else None,
            is_full=is_nearly_full(self.data_dir),
            is_config_good=self.stats.reload.is_good,
        )
        try:
            async with self._watched.reader() as store:
                return known if store is None else await self._recorded(store, known)
        except StoreError as error:
            return replace(known, problem=str(error))

    async def _recorded(self, store: AsyncStoreReader, known: Signs) -> Signs:
        now = self.clock.wall_ms()
        counters = await store.run(ask.counters())
        status = await store.run(ask.status())
        since = (now - RECENT_S * 1000, now - UNSERVED_S * 1000)
        latest = await store.run(Query(_RECENT, since, lambda rows: Recent(*rows[0])))
        return replace(
            known,
            lost={row.labels.get("reason", ""): row.value for row in counters if row.name == LOST},
            recorder_lag_s=recorder_lag_s(status, now),
            bad_frames=int(status.get("bad_frames", 0)),
            recent=latest,
        )


def recorder_lag_s(status: Mapping[str, float], now_ms: int) -> float | None:
    """Return how far the recorder is behind; None: it has not said anything yet.

    A recorder that is dead or stuck says nothing, so its silence counts.
    """
    if "recorder_lag_seconds" not in status:
        return None
    silence_s = (now_ms - status.get("updated_at_ms", now_ms)) / 1000
    return max(status["recorder_lag_seconds"], silence_s if silence_s > EXPECTED_SILENCE_S else 0.0)


def _shown(row: HistogramRow) -> HistogramShown:
    return HistogramShown(row.name, row.labels, BOUNDARIES[row.name], row.buckets, row.count, row.sum)


def budget_levels(rows: Sequence[AccountRow]) -> list[BudgetLevel]:
    """Sum each budget's accounts over its scopes, so that no user's name leaves the ledger."""
    levels: dict[str, BudgetLevel] = {}
    for row in rows:
        level = levels.get(row.budget, BudgetLevel(row.budget, 0, 0, 0))
        levels[row.budget] = BudgetLevel(
            row.budget,
            level.limit_nano_usd + row.limit_nano_usd,
            level.spent_nano_usd + row.spent_nano_usd,
            level.reserved_nano_usd + row.reserved_nano_usd,
            level.overrun_nano_usd + row.overrun_nano_usd,
        )
    return list(levels.values())
