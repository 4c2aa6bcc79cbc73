"""The watch: looks at the gauges every 15 seconds, so that a state can last, and whenever somebody asks.

It remembers only in memory. Whoever starts anew believes the first look, so a restart shows what is, and forgets since
when it was so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from proxy.admin.gauges import Gauge, Sight, read_gauges
from proxy.admin.instruments import Instruments
from proxy.admin.steadiness import Steady
from proxy.admin.tiles import Headline, Shown, Tile, headline, reasons, tile
from proxy.admin.verdict import Level, Reason, judge
from proxy.errors import OurError
from proxy.stats import ProcessStats

EVERY_S: Final = 15.0
FRESH_S: Final = 2.0
"""Who asks more often is told the same: a look takes some 15 ms."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all is well, for pages and programs."""

    verdict: Level
    reasons: tuple[Reason, ...]
    """The worst first."""
    headline: Headline
    tiles: list[Tile]
    """Error rate, P95 latency, cost per hour."""
    looked_at: int
    """Unix ms: what the tiles show was so then."""
    every_s: float
    """How often they are looked at."""
    processes: list[ProcessStats]


class Watch:
    """The gauges of one data directory and the states in which they are shown."""

    def __init__(self, instruments: Instruments, *, every_s: float = EVERY_S) -> None:
        self._read = instruments
        self._every_s = every_s
        self._steady = (Steady(), Steady(), Steady())
        self._gauges: Sequence[Gauge] = read_gauges(Sight(0, (), (), None))
        self._looked_at = self._counted_at = float("-inf")
        self._looked_at_ms = 0
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            with suppress(OurError):
                await self._look(self._every_s / 2)
            await asyncio.sleep(self._every_s)

    async def observed(self) -> Observed:
        """Return what is seen now, or was a moment ago."""
        signs = await self._read.signs()
        # What cannot be read is one of the signs.
        with suppress(OurError):
            await self._look(FRESH_S)
        shown = self._shown()
        now = self._looked_at_ms or self._read.clock.wall_ms()
        verdict = judge(signs, reasons(shown))
        return Observed(
            verdict=verdict.level,
            reasons=verdict.reasons,
            headline=headline(judge(signs).reasons, shown, now),
            tiles=[tile(each, now) for each in shown],
            looked_at=now,
            every_s=self._every_s,
            processes=self._read.processes(),
        )

    async def _look(self, fresh_s: float) -> None:
        """Look, unless somebody did so lately. Raises StoreError and StoreBusy; what was seen before stays."""
        async with self._one:
            now = self._read.clock.monotonic()
            if self._looked_at_ms and now - self._looked_at < fresh_s:
                return
            sight = await self._read.sight()
            self._gauges, self._looked_at, self._looked_at_ms = read_gauges(sight), now, sight.now_ms
            # However often somebody asks, looks count at their own pace.
            counts = now - self._counted_at >= 0.9 * self._every_s
            self._counted_at = now if counts else self._counted_at
            for steady, gauge in zip(self._steady, self._gauges, strict=True):
                if counts or steady.believes(gauge.state):
                    steady.see(gauge.state, sight.now_ms)

    def _shown(self) -> list[Shown]:
        return [
            Shown(gauge, steady.state or gauge.state, steady.since_ms)
            for gauge, steady in zip(self._gauges, self._steady, strict=True)
        ]
