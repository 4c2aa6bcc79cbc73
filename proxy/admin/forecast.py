"""Forecasts: where a cost or a budget ends if it goes on as it did lately. A constant rate forecasts itself."""

from __future__ import annotations

from typing import Final

import msgspec

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
