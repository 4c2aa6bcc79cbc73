"""Calendar windows in any time zone: they tile time, without gap or overlap, whatever the clocks of a zone do.

Days, weeks and months run from one local midnight to another. A boundary is the first instant at which the local clock
shows it or has jumped past it, so a midnight that does not exist still resets once, one that happens twice resets
once, and a day that a zone skipped has no window. Minutes and hours have their real length, aligned to the local
clock; only a change of offset that is no multiple of the length (Lord Howe's half hour) cuts one short.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

WindowKind = Literal["minute", "hour", "day", "week", "month", "total"]
Window = tuple[int, int | None]
"""Start and end in Unix ms; the end is not part of it. End None: it never ends."""
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: local clocks are compared with it
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_FIXED_S: Final = {"minute": 60, "hour": 3600}


def window_at(kind: WindowKind, zone: ZoneInfo, now_ms: int) -> Window:
    """Return the window that the instant `now_ms` falls into."""
    if kind == "total":
        return 0, None
    now = now_ms // 1000
    if kind in _FIXED_S:
        start, end = _fixed_window(_FIXED_S[kind], zone, now)
    else:
        start, end = _calendar_window(kind, zone, now)
    return start * 1000, end * 1000


def _fixed_window(length: int, zone: ZoneInfo, now: int) -> tuple[int, int]:
    offset = _offset(zone, now)
    start = now - (now + offset) % length
    end = start + length

    def same_phase(second: int) -> bool:
        return (_offset(zone, second) - offset) % length == 0

    if not same_phase(start):
        start = _first(same_phase, start, now)
    if not same_phase(end - 1):
        end = _first(lambda second: not same_phase(second), now, end - 1)
    return start, end


def _calendar_window(kind: str, zone: ZoneInfo, now: int) -> tuple[int, int]:
    first = _floor(kind, (_EPOCH_UTC + now * _SECOND).astimezone(zone).date())
    start, after = _midnight(first, zone), _next(kind, first)
    end = _midnight(after, zone)
    while end <= now:  # the clock was set back over a midnight that had passed
        start, after = end, _next(kind, after)
        end = _midnight(after, zone)
    return start, end


def _floor(kind: str, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next(kind: str, first: date) -> date:
    if kind == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return the first Unix second at which the local clock shows the start of `day` or more."""
    local = (day - _EPOCH.date()).days * 86400
    naive = datetime(day.year, day.month, day.day, tzinfo=zone)
    early, late = sorted(local - int(_utc_offset(naive.replace(fold=fold))) for fold in (0, 1))
    if early + _offset(zone, early) == local:
        return early
    # The local clock jumped over midnight, somewhere between the two readings of it.
    return _first(lambda second: second + _offset(zone, second) >= local, early - 1, late)


def _offset(zone: ZoneInfo, second: int) -> int:
    return int(_utc_offset((_EPOCH_UTC + second * _SECOND).astimezone(zone)))


def _utc_offset(moment: datetime) -> float:
    offset = moment.utcoffset()
    return offset.total_seconds() if offset is not None else 0


def _first(is_true: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first second in (low, high] for which `is_true`; it is false at `low` and true at `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        if is_true(middle):
            high = middle
        else:
            low = middle
    return high
