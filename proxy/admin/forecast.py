"""Forecasts: where a cost or a budget ends if it goes on as it did lately. A constant rate forecasts itself."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from proxy.gates.windows import window_at
from proxy.store import AsyncStoreReader
from proxy.store import query as ask
from proxy.store.spending import first_sum

HOUR_MS: Final = 3_600_000
WEEK_MS: Final = 7 * 24 * HOUR_MS
METHOD: Final = "spent so far, and for the time left the mean of the last 7 days"


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a month will have cost."""

    start: int = msgspec.field(name="from")
    """Start of the month (UTC), Unix ms."""
    end: int = msgspec.field(name="to")
    spent_nano_usd: int
    """So far."""
    lately_nano_usd: int
    """In the last 7 days, or in as much of them as anything is known of."""
    lately_ms: int
    projected_nano_usd: int | None
    """At the end of the month. None: too little is known yet."""
    method: str = METHOD


def project(spent: int, lately: int, lately_ms: int, left_ms: int) -> int | None:
    """Return what will have been spent when the time left is over; None: lately is too short to say."""
    if lately_ms < HOUR_MS:
        return None
    return spent + round(lately * max(0, left_ms) / lately_ms)


def runs_out_ms(left_nano_usd: int, lately: int, lately_ms: int) -> int | None:
    """Return after how long what is left is spent; None: never, at this rate."""
    if left_nano_usd <= 0:
        return 0
    return round(left_nano_usd * lately_ms / lately) if lately > 0 and lately_ms > 0 else None


async def month_forecast(store: AsyncStoreReader | None, now_ms: int) -> Forecast:
    """Return where the cost of this month (UTC) ends."""
    start, end = window_at("month", ZoneInfo("UTC"), now_ms)
    end = end or now_ms
    spent = lately = lately_ms = 0
    if store is not None:
        first = await store.run(first_sum())
        week = max(now_ms - WEEK_MS, first or now_ms)
        spent = sum(row.cost_nano_usd for row in await store.run(ask.costs([], from_ms=start, to_ms=now_ms + 1)))
        lately = sum(row.cost_nano_usd for row in await store.run(ask.costs([], from_ms=week, to_ms=now_ms + 1)))
        lately_ms = now_ms - week
    return Forecast(
        start=start,
        end=end,
        spent_nano_usd=spent,
        lately_nano_usd=lately,
        lately_ms=lately_ms,
        projected_nano_usd=project(spent, lately, lately_ms, end - now_ms),
    )
