"""Figures as people read them in sentences and tiles: shares, durations, money and counts; always the same rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from proxy.admin.amounts import NANO, money

_SURE: Final = 1000
"""Of fewer, a tenth of a per cent would be invented."""


def dollars(nano_usd: int | None) -> str:
    """Write an amount: whole dollars from a hundred on, and below as `money` does."""
    if nano_usd is not None and abs(nano_usd) >= 100 * NANO:
        whole = (Decimal(abs(nano_usd)) / NANO).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        return f"{'-' if nano_usd < 0 else ''}${whole:,}"
    return money(nano_usd)


def percent(share: float, of: int | None = None) -> str:
    """Write a share: 0.47%, 94.2%, or 81% of fewer than a thousand."""
    value = 100 * share
    if value == 0:
        return "0%"
    if value < 10:
        return f"{value:.2g}%" if value < 1 else f"{value:.1f}%"
    return f"{value:.0f}%" if of is not None and of < _SURE else f"{value:.1f}%"


def duration(ms: float) -> str:
    """Write a duration: 0.6 ms, 612 ms, 4.82 s, 30.0 s, 2 min 14 s, 6 d 4 h."""
    if ms < 1:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return long_duration(seconds)


def long_duration(seconds: float) -> str:
    """Write a duration of a minute or more in its two largest units: 2 min 14 s, 3 h 5 min, 6 d 4 h."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(seconds)
    for place, (name, length) in enumerate(units[:-1]):
        if left >= length:
            smaller, size = units[place + 1]
            rest = (left % length) // size
            return f"{left // length} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} s"


def whole_minutes(seconds: float) -> str:
    """Write how long something has been so: 23 min, 3 h 5 min, 6 d 4 h."""
    return long_duration(seconds // 60 * 60) if seconds >= 60 else long_duration(seconds)


def count(number: int) -> str:
    """Write a number of things: 950, 3,412, 41.2K, 1.20M."""
    if number < 10_000:
        return f"{number:,}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            value = number / size
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}{unit}"
    return f"{number:,}"


def of_things(number: int, thing: str) -> str:
    """Write a number of things with their name: 1 request, 2 requests."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
