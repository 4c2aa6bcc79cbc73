"""The watch: looks at the gauges every 15 seconds, so that a state can last and a glance costs nothing.

It remembers only in memory. Whoever starts anew believes the first look, so a restart shows what is, and forgets since
when it was so.
"""

from __future__ import annotations

import asyncio
import logging
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
_LOG: Final = logging.getLogger(__name__)


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
        self._looked_at = 0.0
        self._looked_at_ms = 0
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            with suppress(OurError):
                await self._look_if_due()
            await asyncio.sleep(self._every_s)

    async def observed(self) -> Observed:
        """Return what was seen last, with the signs of this moment."""
        signs = await self._read.signs()
        # What cannot be read is one of the signs.
        with suppress(OurError):
            await self._look_if_due()
        verdict = judge(signs)
        shown = self._shown()
        now = self._looked_at_ms or self._read.clock.wall_ms()
        whole = judge(signs, reasons(shown))
        return Observed(
            verdict=whole.level,
            reasons=whole.reasons,
            headline=headline(verdict.reasons, shown, now),
            tiles=[tile(each, now) for each in shown],
            looked_at=now,
            every_s=self._every_s,
            processes=self._read.processes(),
        )

    async def _look_if_due(self) -> None:
        async with self._one:
            now = self._read.clock.monotonic()
            if not self._looked_at_ms or now - self._looked_at >= self._every_s:
                await self.look()
                self._looked_at = now

    async def look(self) -> None:
        """Look once. Raises StoreError and StoreBusy; what was seen before stays."""
        sight = await self._read.sight()
        self._gauges, self._looked_at_ms = read_gauges(sight), sight.now_ms
        for steady, gauge in zip(self._steady, self._gauges, strict=True):
            steady.see(gauge.state, sight.now_ms)

    def _shown(self) -> list[Shown]:
        return [
            Shown(gauge, steady.state or gauge.state, steady.since_ms)
            for gauge, steady in zip(self._gauges, self._steady, strict=True)
        ]
