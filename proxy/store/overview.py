"""Overview: how a stretch of time went, step by step, from roll-ups alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from proxy.store import histogram
from proxy.store.histogram import Histogram, bucket_of
from proxy.store.periods import period
from proxy.store.query import Query
from proxy.store.rollups import DAY_MS, ERRORS, HOUR_MS, MEASURES

STEPS: Final[dict[str, int]] = {"hour": HOUR_MS, "day": DAY_MS}
_COLUMNS: Final = (*MEASURES, "latency", "ttft")


class Percentiles(msgspec.Struct, frozen=True):
    """Durations that half, nine tenths and nearly all of the requests did not exceed, in ms and at most 2 % off."""

    p50: float | None
    """None: nothing was measured."""
    p90: float | None
    p99: float | None

    @classmethod
    def of(cls, counts: Histogram) -> Percentiles:
        """Read them from a histogram."""
        found = (histogram.percentile_us(counts, share) for share in (0.5, 0.9, 0.99))
        return cls(*(None if us is None else us / 1000 for us in found))


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one step, or in all of them."""

    start: int
    """Unix ms, UTC."""
    requests: int
    errors: int
    """Not completed, or answered with 400 or above."""
    refused: int
    """Of these, not forwarded."""
    status_429: int
    """Of these, told by the provider to wait."""
    unpriced: int
    cost_nano_usd: int
    """Sum of the known costs."""
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    latency_ms: Percentiles
    ttft_ms: Percentiles


class Overview(msgspec.Struct, frozen=True):
    """A stretch of time."""

    total: Point
    points: list[Point]
    """Of each step in which there was something, in order."""


def overview(from_ms: int, to_ms: int, step: str = "hour") -> Query[Overview]:
    """Ask how the steps went that have anything in common with [from, to); `step`: one of `STEPS`."""
    length = STEPS[step]
    start, end = from_ms - from_ms % length, to_ms + -to_ms % length
    asked = period("all", start, end, _COLUMNS, by_hour=step == "hour")

    def convert(rows: Sequence[tuple[Any, ...]]) -> Overview:
        steps: dict[int, list[tuple[Any, ...]]] = {}
        for row in rows:
            steps.setdefault(row[0] - row[0] % length, []).append(row[1:])
        return Overview(_point(start, [row[1:] for row in rows]), [_point(at, steps[at]) for at in sorted(steps)])

    return Query(f"SELECT at, {', '.join(_COLUMNS)} FROM {asked.sql}", asked.parameters, convert)  # noqa: S608 (constants)


def _point(start: int, rows: Sequence[tuple[Any, ...]]) -> Point:
    sums = [sum(column) for column in zip(*(row[: len(MEASURES)] for row in rows), strict=True)] or [0] * len(MEASURES)
    by_name = dict(zip(MEASURES, sums, strict=True))
    names = [name for name in Point.__struct_fields__ if name in by_name]
    return Point(
        start=start,
        errors=sum(by_name[name] for name in ERRORS),
        latency_ms=Percentiles.of(histogram.merged(_counts(row[-2]) for row in rows)),
        ttft_ms=Percentiles.of(histogram.merged(_counts(row[-1]) for row in rows)),
        **{name: by_name[name] for name in names},
    )


def _counts(stored: bytes | int | None) -> Histogram:
    """Return the histogram of a sum, or of one row."""
    return {bucket_of(stored): 1} if isinstance(stored, int) else histogram.unpacked(stored)
