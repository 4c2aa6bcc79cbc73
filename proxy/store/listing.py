"""Lists: which rows a page shows, found zone by zone, whatever the filter and the order.

A zone says how good its best row can be; zones are read best first, until no other can hold a row that belongs on the
page. So a page costs what it shows, not what is stored, and what was found when the time is over is right as far as it
goes. A page begins after the row at which the one before ended: new rows do not shift it.

A plan is a generator: it yields queries, is sent their rows, and returns its answer; `TimeIsUp` is thrown in where the
time is over. Who runs it may wait or not.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from proxy.errors import ClientError
from proxy.store.filter import FACET_IS, FACETS_OF_ZONE, Clause, Filter
from proxy.store.zones import MEASURES, SHIFT, TOPS

Step = tuple[str, tuple[Any, ...]]
"""SQL and its bound values."""
Rows = Sequence[tuple[Any, ...]]


class TimeIsUp(Exception):
    """The time for a plan is over."""


class SortError(ClientError):
    """An order that does not exist."""


class Place(NamedTuple):
    """A place in a list. Greater ones come first: what is sorted upwards is negated."""

    value: int
    seq: int


_COLUMNS: Final = {"time": "started_at"} | MEASURES
_UNITS: Final = {"cost": 1e9, "latency": 1000.0, "ttft": 1000.0}
"""How many of what is stored make one of what is shown."""
_FAR: Final = 2**62
"""Beyond every value. What has no value comes last, in both directions."""
_CURSOR: Final = re.compile(r"(-?\d{1,19})\.(-?\d{1,19})", re.ASCII)
_FEW: Final = 10_000
"""Rows that are rather looked at one by one than looked for; as many as a search finds at most."""
_ZONES_ASKED: Final = 256
_ZONES_READ: Final = 32
"""At a time: 4 ms, so that a question can be ended soon."""


class Sort(msgspec.Struct, frozen=True):
    """The order of a list."""

    name: str = "time"
    is_descending: bool = True

    @classmethod
    def parse(cls, text: str) -> Sort:
        """Return the order that a text such as `-cost` names; `-`: the greatest first. Raises SortError."""
        name = text.removeprefix("-")
        if name not in _COLUMNS:
            raise SortError(f"sort: {name} is none of {', '.join(_COLUMNS)}; a `-` in front puts the greatest first")
        return cls(name, text.startswith("-"))

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return what can be sorted by."""
        return tuple(_COLUMNS)

    def __str__(self) -> str:
        return f"{'-' if self.is_descending else ''}{self.name}"

    @property
    def row(self) -> tuple[str, str]:
        """The two values of a row's place, in SQL."""
        column = _COLUMNS[self.name]
        value, seq = (column, "seq") if self.is_descending else (f"-({column})", "-seq")
        return (value if self.name == "time" else f"coalesce({value}, {-_FAR})"), seq

    def zone(self, where: Filter) -> Clause:
        """Return the greatest value of a place that a zone can have, in SQL."""
        if self.name == "time":
            return Clause("z.started_max" if self.is_descending else "-z.started_min")
        best = [f"z.{self.name}_max" if self.is_descending else f"-z.{self.name}_min"]
        facets = where.facets if self.is_descending and self.name in TOPS else ()
        for each in facets:
            source = "facets f WHERE f.zone = z.zone" if each.sql == FACET_IS else FACETS_OF_ZONE
            best.append(f"(SELECT max(f.{self.name}_max) FROM {source} AND ({each.sql}))")  # noqa: S608
        known = [f"coalesce({each}, {-_FAR})" for each in best]
        least = f"min({', '.join(known)})" if len(known) > 1 else known[0]
        values = tuple(value for each in facets for value in each.parameters)
        return Clause(f"CASE WHEN z.is_known THEN {least} ELSE {_FAR} END", values)

    def before(self, zone: int) -> int:
        """Return the `seq` of a place just before all rows of a zone with the same value."""
        return (zone + 1) << SHIFT if self.is_descending else 1 - (zone << SHIFT)

    def shown(self, value: int) -> float | int | None:
        """Return the value of a place as people see it; None: a row without a value."""
        if value <= -_FAR:
            return None
        stored = value if self.is_descending else -value
        return stored / _UNITS[self.name] if self.name in _UNITS else stored


NEWEST_FIRST: Final = Sort()


class Cursor(msgspec.Struct, frozen=True):
    """Where a page ended."""

    sort: Sort
    place: Place

    def __str__(self) -> str:
        return f"{self.sort}.{self.place.value}.{self.place.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return what a client hands back; None: it is none of ours."""
        name, _, place = text.partition(".")
        match = _CURSOR.fullmatch(place)
        if match is None or name.removeprefix("-") not in _COLUMNS:
            return None
        value, seq = int(match[1]), int(match[2])
        return cls(Sort.parse(name), Place(value, seq)) if max(abs(value), abs(seq)) <= _FAR else None


class Found(NamedTuple):
    """The rows of a page."""

    seqs: list[int]
    """In their order."""
    cursor: Cursor | None
    """Where the next page begins; None: there is nothing more."""
    reached: float | int | None = None
    """As far as this value was looked when the time was over; None: as far as it takes."""


def find(where: Filter, sort: Sort, limit: int, after: Place | None) -> Generator[Step, Rows, Found]:
    """Plan a page."""
    start = after or Place(_FAR, _FAR)
    if where.anchor is not None:
        sql = f"SELECT seq FROM exchanges WHERE {where.anchor.sql} LIMIT ?"  # noqa: S608
        few = yield sql, (*where.anchor.parameters, _FEW + 1)
        if len(few) <= _FEW:
            return (yield from _of_few([seq for (seq,) in few], where, sort, limit, start))
    return (yield from _of_zones(where, sort, limit, start))


def _of_few(few: Sequence[int], where: Filter, sort: Sort, limit: int, start: Place) -> Generator[Step, Rows, Found]:
    value, seq = sort.row
    rest = where.rest or Clause(where.sql, where.parameters)
    sql = (
        f"SELECT {value}, {seq}, seq FROM (SELECT value AS place FROM json_each(?)) CROSS JOIN exchanges NOT INDEXED"  # noqa: S608
        f" WHERE seq = place AND ({rest.sql}) AND ({value}, {seq}) < (?, ?) ORDER BY 1 DESC, 2 DESC LIMIT ?"
    )
    rows = yield sql, (msgspec.json.encode(few).decode(), *rest.parameters, *start, limit)
    return _page(_places(rows), sort, limit)


def _of_zones(where: Filter, sort: Sort, limit: int, start: Place) -> Generator[Step, Rows, Found]:
    scan = _Scan(where, sort, limit, start)
    horizon = start
    """No row beyond it was left out."""
    try:
        ((end,),) = yield "SELECT coalesce(max(zone) + 1, 0) FROM zones", ()
        yield from scan.read_rest(end)
        last: tuple[int, int] | None = None
        while True:
            zones = yield _zones(where, sort, start, end, last)
            at = 0
            while at < len(zones):
                value, zone = zones[at]
                horizon = min(start, Place(value, sort.before(zone)))
                if scan.is_full(horizon):
                    return _page(scan.found, sort, limit)
                count = min(_ZONES_READ, max(2, 2 * at))
                yield from scan.read([zone for _, zone in zones[at : at + count]])
                at += count
            if len(zones) < _ZONES_ASKED:
                return _page(scan.found, sort, limit)
            last = zones[-1][0], zones[-1][1]
    except TimeIsUp:
        if horizon == start:
            raise
        sure = [seq for place, seq in scan.found if place >= horizon]
        return Found(sure, Cursor(sort, horizon), sort.shown(horizon.value))


def _zones(where: Filter, sort: Sort, start: Place, end: int, last: tuple[int, int] | None) -> Step:
    """Ask for the next zones that can hold rows of the page, best first."""
    order, seq = ("DESC", "zone") if sort.is_descending else ("ASC", "-zone")
    best = sort.zone(where)
    conditions = ["z.zone < ?", f"(z.is_known = 0 OR ({where.zones.sql}))"]
    values: list[Any] = [*best.parameters, end, *where.zones.parameters]
    if sort.name == "time" and start.value < _FAR:
        # Left out are zones of which even the row that comes last was shown.
        last_row = (
            f"(z.started_min, z.zone << {SHIFT})"
            if sort.is_descending
            else f"(-z.started_max, 1 - ((z.zone + 1) << {SHIFT}))"
        )
        conditions.append(f"{last_row} < (?, ?)")
        values += start
    sql = f"SELECT {best.sql} AS best, z.zone AS zone FROM zones z WHERE {' AND '.join(conditions)}"  # noqa: S608
    if last is not None:
        sql = f"SELECT best, zone FROM ({sql}) WHERE (best, {seq}) < (?, ?)"  # noqa: S608
        values += [last[0], last[1] if sort.is_descending else -last[1]]
    return f"{sql} ORDER BY best DESC, zone {order} LIMIT {_ZONES_ASKED}", tuple(values)


class _Scan:
    """Reads zones and keeps the best rows."""

    def __init__(self, where: Filter, sort: Sort, limit: int, start: Place) -> None:
        value, seq = sort.row
        self._select = f"SELECT {value}, {seq}, seq FROM"
        self._where = f"({value}, {seq}) < (?, ?) AND ({where.sql}) ORDER BY 1 DESC, 2 DESC LIMIT ?"
        self._parameters = (*start, *where.parameters, limit)
        self._limit = limit
        self.found: list[tuple[Place, int]] = []
        """Places and rows, best first."""

    def is_full(self, horizon: Place) -> bool:
        """Say whether no row after `horizon` can be on the page."""
        return len(self.found) >= self._limit and (not self.found or self.found[-1][0] >= horizon)

    def read(self, zones: Sequence[int]) -> Generator[Step, Rows, None]:
        """Read zones."""
        source = "(SELECT value AS zone FROM json_each(?)) z CROSS JOIN exchanges NOT INDEXED"
        span = f"seq >= z.zone << {SHIFT} AND seq < (z.zone + 1) << {SHIFT}"
        sql = f"{self._select} {source} WHERE {span} AND {self._where}"
        self._add((yield sql, (msgspec.json.encode(zones).decode(), *self._parameters)))

    def read_rest(self, end: int) -> Generator[Step, Rows, None]:
        """Read what is in no zone yet."""
        sql = f"{self._select} exchanges NOT INDEXED WHERE seq >= ? AND {self._where}"
        self._add((yield sql, (end << SHIFT, *self._parameters)))

    def _add(self, rows: Rows) -> None:
        self.found = heapq.nlargest(self._limit, [*self.found, *_places(rows)])


def _places(rows: Rows) -> list[tuple[Place, int]]:
    return [(Place(value, order), seq) for value, order, seq in rows]


def _page(found: Sequence[tuple[Place, int]], sort: Sort, limit: int) -> Found:
    more = Cursor(sort, found[-1][0]) if found and len(found) == limit else None
    return Found([seq for _, seq in found], more)
