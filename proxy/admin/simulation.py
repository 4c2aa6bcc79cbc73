"""Simulation: what another limit would have refused, told from the sums by hour.

Within a window, what is spent before the limit is admitted and all after it refused; in the hour in which it is reached,
requests are refused in proportion to the money that did not fit. So the answer is an estimate, and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from proxy.store.rollups import HOUR_MS


class Hourly(NamedTuple):
    """What was asked for in one hour."""

    at: int
    """Unix ms."""
    requests: int
    nano_usd: int


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit would have done."""

    limit_nano_usd: int
    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    requests: int
    """That were made under the budget."""
    blocked: int
    """Of these, refused: about."""
    blocked_nano_usd: int
    """What these cost."""
    windows: int
    """In which something was spent."""
    windows_hit: int
    """In which the limit was reached."""


def simulate(
    hours: Iterable[Hourly], limit: int, window_of: Callable[[int], int], rolling_ms: int | None = None
) -> tuple[float, float, set[int], set[int]]:
    """Return requests and nano-USD that a limit refuses, the windows with spending, and those in which it was reached.

    `window_of` names the window of an instant; with `rolling_ms` the limit holds for that time back.
    """
    blocked, blocked_nano = 0.0, 0.0
    seen: set[int] = set()
    hit: set[int] = set()
    spent: dict[int, float] = {}
    recent: deque[tuple[int, float]] = deque()
    for hour in hours:
        window = window_of(hour.at)
        seen.add(window)
        if rolling_ms is not None:
            while recent and recent[0][0] + HOUR_MS <= hour.at + HOUR_MS - rolling_ms:
                recent.popleft()
            used = sum(amount for _, amount in recent)
        else:
            used = spent.get(window, 0.0)
        admitted = min(float(hour.nano_usd), max(0.0, limit - used))
        spent[window] = used + admitted
        recent.append((hour.at, admitted))
        if admitted < hour.nano_usd:
            hit.add(window)
            blocked += hour.requests * (1 - admitted / hour.nano_usd)
            blocked_nano += hour.nano_usd - admitted
    return blocked, blocked_nano, seen, hit
