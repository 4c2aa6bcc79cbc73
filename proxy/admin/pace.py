"""Pace: how fast a budget is spent, and where that ends. Pure: amounts and times go in, and a sentence comes out, too.

The rate is that of the last seventh of the window, at least an hour and at most a week: recent enough to notice a change,
and long enough not to follow every request.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.admin.figures import dollars, long_duration
from proxy.admin.forecast import project, runs_out_ms
from proxy.admin.shapes import AccountShape
from proxy.ledger.accounts import AccountRow

HOUR_MS: Final = 3_600_000
WEEK_MS: Final = 7 * 24 * HOUR_MS
REFUSED_MS: Final = 15 * 60_000
_TIGHT: Final = 0.95
"""Of a limit."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a budget's window stands and where it goes."""

    elapsed: float | None
    """How much of the window is over, 0 to 1. None: it never ends, or always."""
    lately_nano_usd: int
    """Spent under the budget in the last `lately_ms`, as recorded."""
    lately_ms: int
    projected_nano_usd: int | None
    """At the end of the window; of a rolling window, what will stand in it if it goes on so. None: there is no end."""
    runs_out_at: int | None
    """Unix ms. None: not in this window, at this rate."""
    state: str
    """`ok`; `warning`: it runs out before its window ends, or is nearly spent; `critical`: nothing is left, or too little
    for what is asked, so that it refuses."""
    text: str


def lookback_ms(length_ms: int | None) -> int:
    """Return over how long the rate of a budget with such a window is told; None: it never ends."""
    return WEEK_MS if length_ms is None else max(HOUR_MS, min(WEEK_MS, length_ms // 7))


def pace_of(row: AccountRow, lately: int, lately_ms: int, now_ms: int, refused: int = 0) -> Pace:
    """Return the pace of one account. `refused`: how many requests it refused in the last `REFUSED_MS`."""
    spent = row.spent_nano_usd
    left = row.limit_nano_usd - spent - row.reserved_nano_usd
    end = row.window_end_ms
    length = None if end is None else end - row.window_start_ms
    elapsed = None if end is None or not length else min(1.0, max(0.0, (now_ms - row.window_start_ms) / length))
    out = runs_out_ms(left, lately, lately_ms)
    if row.rolling_ms is not None:
        projected = project(0, lately, lately_ms, row.rolling_ms)
        lasts = projected is not None and projected <= row.limit_nano_usd
        out = None if lasts and left > 0 else out
    else:
        projected = None if end is None else project(spent, lately, lately_ms, end - now_ms)
    if end is not None and out is not None and now_ms + out >= end:
        out = None
    if end is None and row.rolling_ms is None and out is not None and out > 365 * 24 * HOUR_MS:
        out = None
    state = "critical" if left <= 0 or refused else "warning" if _is_tight(row, out) else "ok"
    return Pace(
        elapsed=elapsed,
        lately_nano_usd=lately,
        lately_ms=lately_ms,
        projected_nano_usd=projected,
        runs_out_at=None if out is None else now_ms + out,
        state=state,
        text=_refusing(row, left, refused, now_ms) if refused else _text(row, left, out, projected, now_ms),
    )


def used_share(account: AccountRow | AccountShape) -> float:
    """Return how much of a limit is spent or promised: 1 for all of it, and for a limit of nothing."""
    limit = account.limit_nano_usd
    return (account.spent_nano_usd + account.reserved_nano_usd) / limit if limit else 1.0


def _is_tight(row: AccountRow, out: int | None) -> bool:
    return out is not None or used_share(row) >= _TIGHT


def _refusing(row: AccountRow, left: int, refused: int, now_ms: int) -> str:
    frees = _resets(row, now_ms) or ("frees bit by bit" if row.rolling_ms is not None else "does not reset")
    return f"refuses: {refused:,} in 15 min, {dollars(max(0, left))} left; {frees}"


def _resets(row: AccountRow, now_ms: int) -> str:
    end = row.window_end_ms
    return "" if end is None else f"resets in {long_duration(max(0, end - now_ms) / 1000)}"


def _text(row: AccountRow, left: int, out: int | None, projected: int | None, now_ms: int) -> str:
    resets = _resets(row, now_ms)
    if left <= 0:
        what = "spent" if row.spent_nano_usd >= row.limit_nano_usd else "spent or reserved"
        consequence = "" if row.is_hard else ", warns only"
        when = resets or ("frees bit by bit" if row.rolling_ms is not None else "does not reset")
        return f"all {what}{consequence}; {when}"
    if out is not None:
        return f"runs out in about {long_duration(_rounded(out) / 1000)} at this rate"
    if projected is None:
        return resets or "no end at this rate"
    if not projected and not row.spent_nano_usd:
        return f"nothing spent; {resets}" if resets else "nothing spent"
    if row.rolling_ms is not None:
        return f"at this rate {dollars(projected)} stand in it"
    difference = row.limit_nano_usd - projected
    return f"on course for {dollars(projected)}, {dollars(abs(difference))} {'under' if difference >= 0 else 'over'}"


def _rounded(ms: int) -> int:
    """Return a time of which the small unit says nothing without that unit."""
    for unit in (24 * HOUR_MS, HOUR_MS, 60_000):
        if ms >= 3 * unit:
            return round(ms / unit) * unit
    return ms
