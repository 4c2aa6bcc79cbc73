"""Extent: how many requests a filter means, what they cost, and when they were.

What the roll-ups sum is answered from them. Everything else is counted zone by zone, from the newest on, and only so
far: a count ends where nobody needs it exactly any more, and both say how far they looked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

import msgspec

from proxy.store.filter import Clause, Filter, both, started
from proxy.store.histogram import bucket_of, unpacked
from proxy.store.listing import Rows, Step, TimeIsUp
from proxy.store.periods import period
from proxy.store.query import Plan
from proxy.store.rollups import DAY_MS, ERRORS, HOUR_MS, OTHER
from proxy.store.search import MOST_FOUND
from proxy.store.zones import SHIFT

MOST_COUNTED: Final = 10_000
"""Requests that are counted one by one: above that, people want to know that it is many."""
MOST_BARS: Final = 240
_MOST_ZONES: Final = 2000
"""A million requests, a quarter of a second: a picture needs no more."""
ALL_ZONES: Final = 2**31
"""As many as there is time for."""
_FEW: Final = 10_000
_ZONES_ASKED: Final = 256
_ZONES_READ: Final = 32
_FAR: Final = 2**62
_MANY_ZONES: Final = 200
"""Above that, hours are taken from roll-ups although finer bars were asked for."""
_FAILED: Final = "(outcome != 'completed' OR coalesce(status >= 400, 0))"
SLOW: Final = "latency:>8s"
"""What is called slow, as a filter."""
SLOW_US: Final = 8_000_000
_SLOW_BUCKET: Final = bucket_of(SLOW_US)
_SECOND: Final = 1000
WIDTHS: Final = (
    *(seconds * _SECOND for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(hours * HOUR_MS for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_MS for days in (1, 2, 7, 14, 28)),
)
"""Of bars: what people count time in."""


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is."""

    requests: int
    is_exact: bool
    """False: at least so many, and the sums are of the newest ones that were counted."""
    cost_nano_usd: int
    """Sum of the known costs."""
    unpriced: int
    failed: int
    slow: int
    """Of longer than eight seconds; from a histogram where it is large, so some of those near it may be missing."""
    looked_to: int | None = None
    """Unix ms: nothing that started before was looked at. None: all was."""


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Requests by time."""

    start: int
    """Of the first bar, Unix ms."""
    width_ms: int
    requests: list[int]
    failed: list[int]
    looked_to: int | None = None
    """Unix ms: nothing that started before was looked at. None: all was."""


def extent(where: Filter, *, from_ms: int | None, to_ms: int | None) -> Plan[Extent]:
    """Ask how much is meant."""

    def steps() -> Generator[Step, Rows, Extent]:
        if is_summed(where):
            found = yield from _summed_extent(where, from_ms, to_ms)
            if found is not None:
                return found
        meant = both(where, started(from_ms=from_ms, to_ms=to_ms))
        return (yield from _counted_extent(meant, from_ms))

    return Plan(steps)


def bars(where: Filter, *, from_ms: int, to_ms: int, most: int = 120) -> Plan[Bars]:
    """Ask when the requests in [from, to) were, in at most `most` bars."""

    def steps() -> Generator[Step, Rows, Bars]:
        width = next((each for each in WIDTHS if (to_ms - from_ms) / each <= most - 1), WIDTHS[-1])
        if is_summed(where):
            if width < HOUR_MS and to_ms - from_ms > 6 * HOUR_MS:
                ((zones,),) = yield _ZONES_BETWEEN, (from_ms, to_ms, _MANY_ZONES)
                width = HOUR_MS if zones == _MANY_ZONES else width
            if width >= HOUR_MS:
                found = yield from _summed_bars(where, _Scale(from_ms, to_ms, width))
                if found is not None:
                    return found
        return (yield from _counted_bars(where, _Scale(from_ms, to_ms, width)))

    return Plan(steps)


_ZONES_BETWEEN: Final = "SELECT count(*) FROM (SELECT 1 FROM zones WHERE started_max >= ? AND started_min < ? LIMIT ?)"


def is_summed(where: Filter) -> bool:
    """Say whether the roll-ups know the sums of what is meant."""
    return where == Filter() or where.summed is not None


class _Scale(NamedTuple):
    from_ms: int
    to_ms: int
    width: int

    @property
    def start(self) -> int:
        return self.from_ms - self.from_ms % self.width

    @property
    def bars_needed(self) -> int:
        return -(-(self.to_ms - self.start) // self.width)

    def bars(self, found: dict[int, tuple[int, int]], looked_to: int | None) -> Bars:
        """Return the bars; `found`: number of a bar, to requests and failures."""
        both_ = [found.get(number, (0, 0)) for number in range(self.bars_needed)]
        return Bars(
            start=self.start,
            width_ms=self.width,
            requests=[requests for requests, _ in both_],
            failed=[failed for _, failed in both_],
            looked_to=_unless_all(looked_to, self.from_ms),
        )


def _summed_extent(where: Filter, from_ms: int | None, to_ms: int | None) -> Generator[Step, Rows, Extent | None]:
    """Sum up what the roll-ups know; None: they put some of it under `(other)`."""
    ((first, last),) = yield _ENDS, ()
    start = from_ms if from_ms is not None else (first or 0)
    end = to_ms if to_ms is not None else (last or 0) + 1
    dimension, value = where.summed or ("all", "")
    asked = period(dimension, start, max(start, end), ("requests", "cost_nano_usd", "unpriced", "latency", *ERRORS))
    sql = (
        f"SELECT value = ?, sum(requests), sum(cost_nano_usd), sum(unpriced), sum({' + '.join(ERRORS)}),"  # noqa: S608 (constants)
        f" sum(CASE WHEN typeof(latency) = 'integer' THEN latency > {SLOW_US} ELSE 0 END)"
        f" FROM {asked.sql} WHERE value IN (?, ?) GROUP BY 1"
    )
    rows = yield sql, (value, *asked.parameters, value, OTHER)
    if any(not is_meant for is_meant, *_ in rows):
        return None
    requests, cost, unpriced, failed, slow = rows[0][1:] if rows else (0, 0, 0, 0, 0)
    sql = f"SELECT latency FROM {asked.sql} WHERE value = ? AND typeof(latency) = 'blob'"  # noqa: S608 (constants)
    sums = yield sql, (*asked.parameters, value)
    slow += sum(_slow_of(durations) for (durations,) in sums)
    return Extent(requests=requests, is_exact=True, cost_nano_usd=cost, unpriced=unpriced, failed=failed, slow=slow)


_ENDS: Final = "SELECT (SELECT min(started_at) FROM exchanges), (SELECT max(started_at) FROM exchanges)"


def _slow_of(durations: bytes) -> int:
    """Return how many durations of a histogram are slow; one of them, 4 % wide, is on both sides."""
    return sum(count for bucket, count in unpacked(durations).items() if bucket > _SLOW_BUCKET)


def _counted_extent(where: Filter, from_ms: int | None) -> Generator[Step, Rows, Extent]:
    sums = [0] * 5

    def take(rows: Rows) -> bool:
        for row in rows:
            sums[:] = map(int.__add__, sums, row)
        return sums[0] > MOST_COUNTED

    looked_to = _unless_all((yield from newest_first(where, Clause(_EXTENT), take)), from_ms)
    requests, cost, unpriced, failed, slow = sums
    return Extent(
        requests=requests,
        is_exact=looked_to is None,
        cost_nano_usd=cost,
        unpriced=unpriced,
        failed=failed,
        slow=slow,
        looked_to=looked_to,
    )


_EXTENT: Final = (
    "count(*), coalesce(sum(cost_nano_usd), 0), coalesce(sum(is_unpriced), 0),"
    f" coalesce(sum({_FAILED}), 0), coalesce(sum(duration_us > {SLOW_US}), 0)"
)


def _summed_bars(where: Filter, scale: _Scale) -> Generator[Step, Rows, Bars | None]:
    dimension, value = where.summed or ("all", "")
    asked = period(dimension, scale.from_ms, scale.to_ms, ("requests", *ERRORS), by_hour=scale.width % DAY_MS != 0)
    sql = (
        f"SELECT (at - ?) / ?, value = ?, sum(requests), sum({' + '.join(ERRORS)}) FROM {asked.sql}"  # noqa: S608 (constants)
        " WHERE value IN (?, ?) GROUP BY 1, 2"
    )
    rows = yield sql, (scale.start, scale.width, value, *asked.parameters, value, OTHER)
    if any(not is_meant for _, is_meant, *_ in rows):
        return None
    return scale.bars({number: (requests, failed) for number, _, requests, failed in rows}, None)


def _counted_bars(where: Filter, scale: _Scale) -> Generator[Step, Rows, Bars]:
    found: dict[int, tuple[int, int]] = {}

    def take(rows: Rows) -> bool:
        for number, requests, failed in rows:
            if number is not None:
                before = found.get(number, (0, 0))
                found[number] = before[0] + requests, before[1] + failed
        return False

    meant = both(where, started(from_ms=scale.from_ms, to_ms=scale.to_ms))
    columns = Clause(f"(started_at - ?) / ?, count(*), sum({_FAILED})", (scale.start, scale.width))
    return scale.bars(found, (yield from newest_first(meant, columns, take, group="GROUP BY 1")))


def _unless_all(looked_to: int | None, from_ms: int | None) -> int | None:
    """Return how far was looked; None: as far as anybody wanted to know."""
    return None if looked_to is not None and from_ms is not None and looked_to <= from_ms else looked_to


def newest_first(
    where: Filter,
    columns: Clause,
    take: Callable[[Rows], bool],
    *,
    group: str = "",
    most_zones: int = _MOST_ZONES,
) -> Generator[Step, Rows, int | None]:
    """Hand what `columns` say of the rows that are meant to `take`, the newest zones first, until it has enough.

    Return from when on all were read, in Unix ms; None: all there are.
    """
    horizon: int = _FAR
    try:
        if where.anchor is not None:
            sql = f"SELECT seq FROM exchanges WHERE {where.anchor.sql} LIMIT ?"  # noqa: S608
            few = yield sql, (*where.anchor.parameters, _FEW + 1)
            if len(few) <= _FEW:
                rest = where.rest or Clause(where.sql, where.parameters)
                take((yield _of_few(columns, rest, [seq for (seq,) in few], group)))
                # As many are looked at as a search finds: it may have found the newest only.
                return (yield from _oldest(few)) if len(few) == MOST_FOUND else None
        ((end,),) = yield "SELECT coalesce(max(zone) + 1, 0) FROM zones", ()
        take((yield _of_rest(columns, where, end, group)))
        last: tuple[int, int] | None = None
        seen = 0
        while True:
            zones = yield _zones(where, end, last)
            at = 0
            while at < len(zones):
                horizon = int(zones[at][0]) + 1
                if seen + at >= most_zones:
                    return horizon
                count = min(_ZONES_READ, max(2, 2 * at))
                is_enough = take((yield _of_zones(columns, where, [zone for _, zone in zones[at : at + count]], group)))
                at += count
                if is_enough and at < len(zones):
                    return int(zones[at][0]) + 1
            if len(zones) < _ZONES_ASKED:
                return None
            last = zones[-1][0], zones[-1][1]
            seen += len(zones)
    except TimeIsUp:
        if horizon == _FAR:
            raise
        return horizon


def _oldest(few: Rows) -> Generator[Step, Rows, int]:
    seqs = msgspec.json.encode([seq for (seq,) in few]).decode()
    ((oldest,),) = yield "SELECT min(started_at) FROM exchanges WHERE seq IN (SELECT value FROM json_each(?))", (seqs,)
    return int(oldest or 0)


def _zones(where: Filter, end: int, last: tuple[int, int] | None) -> Step:
    """Ask for the next zones that can hold rows that are meant, the newest first."""
    conditions = ["z.zone < ?", f"(z.is_known = 0 OR ({where.zones.sql}))"]
    values: list[Any] = [end, *where.zones.parameters]
    if last is not None:
        conditions.append("(z.started_max, z.zone) < (?, ?)")
        values += last
    sql = f"SELECT z.started_max, z.zone FROM zones z WHERE {' AND '.join(conditions)}"  # noqa: S608
    return f"{sql} ORDER BY z.started_max DESC, z.zone DESC LIMIT {_ZONES_ASKED}", tuple(values)


def _of_zones(columns: Clause, where: Filter, zones: list[int], group: str) -> Step:
    source = "(SELECT value AS zone FROM json_each(?)) z CROSS JOIN exchanges NOT INDEXED"
    span = f"seq >= z.zone << {SHIFT} AND seq < (z.zone + 1) << {SHIFT}"
    sql = f"SELECT {columns.sql} FROM {source} WHERE {span} AND ({where.sql}) {group}"  # noqa: S608
    return sql, (*columns.parameters, msgspec.json.encode(zones).decode(), *where.parameters)


def _of_rest(columns: Clause, where: Filter, end: int, group: str) -> Step:
    sql = f"SELECT {columns.sql} FROM exchanges NOT INDEXED WHERE seq >= ? AND ({where.sql}) {group}"  # noqa: S608
    return sql, (*columns.parameters, end << SHIFT, *where.parameters)


def _of_few(columns: Clause, rest: Clause, few: list[int], group: str) -> Step:
    source = "(SELECT value AS place FROM json_each(?)) CROSS JOIN exchanges NOT INDEXED"
    sql = f"SELECT {columns.sql} FROM {source} WHERE seq = place AND ({rest.sql}) {group}"  # noqa: S608
    return sql, (*columns.parameters, msgspec.json.encode(few).decode(), *rest.parameters)
