"""Roll-ups: sums by hour and day (UTC), changed in the transaction that changes the rows they sum up.

What a row adds is a function of its columns as they stand, so every change is the same: take away what the rows added,
change them, add what they add now. That holds for what is new, priced anew, read anew, billed late and erased alike. A
row that is deleted is not taken away, because sums are kept for ever, but from those that may name somebody. Each dimension is summed by itself, so that a sum's size depends
on how many values there are and not on how they are combined.

Values come from traffic. Above `MAX_VALUES` in one period, but of users, what has no row of its own is summed under
`(other)`; so it is from then on, or nobody could say later what stands where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from operator import itemgetter, neg
from typing import Any, Final, Literal, NamedTuple

import apsw
import msgspec

from proxy.store import histogram
from proxy.store.histogram import Histogram, bucket_of
from proxy.store.session_sums import SessionChange, SessionSums
from proxy.store.text import Value, storable_text

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
OTHER: Final = "(other)"
MAX_VALUES: Final = 1000
"""Values of one dimension in one hour or day."""
BACKFILL: Final = 2000
"""Rows folded at a time that were there before the roll-ups: some 20 ms."""

Dimension = Literal[
    "all", "key", "model", "key_model", "upstream", "provider", "endpoint", "environment", "user", "prompt", "tag"
]
MEASURES: Final[dict[str, str]] = {
    "requests": "1",
    "refused": "outcome = 'refused'",
    "client_closed": "outcome = 'client_closed'",
    "upstream_error": "outcome = 'upstream_error'",
    "upstream_reset": "outcome = 'upstream_reset'",
    "truncated": "outcome = 'truncated'",
    "timeout": "outcome = 'timeout'",
    "interrupted": "outcome = 'interrupted'",
    "status_4xx": "outcome = 'completed' AND coalesce(status BETWEEN 400 AND 499, 0)",
    "status_429": "outcome = 'completed' AND coalesce(status = 429, 0)",
    "status_5xx": "outcome = 'completed' AND coalesce(status >= 500, 0)",
    "request_bytes": "request_bytes",
    "response_bytes": "response_bytes",
    "input_tokens": "min(coalesce(input_tokens, 0), 1000000000000000)",
    "cached_input_tokens": "min(coalesce(cached_input_tokens, 0), 1000000000000000)",
    "cache_write_tokens": "min(coalesce(cache_write_tokens, 0), 1000000000000000)",
    "output_tokens": "min(coalesce(output_tokens, 0), 1000000000000000)",
    "reasoning_tokens": "min(coalesce(reasoning_tokens, 0), 1000000000000000)",
    "cost_nano_usd": "min(coalesce(cost_nano_usd, 0), 1000000000000000)",
    "unpriced": "is_unpriced",
}
"""What is summed, and how a row of `exchanges` says it. What a provider makes up must not make a sum overflow."""
ERRORS: Final = (
    *("refused", "client_closed", "upstream_error", "upstream_reset", "truncated", "timeout", "interrupted"),
    *("status_4xx", "status_5xx"),
)
"""The measures that make up what is called an error."""
MODEL: Final = "coalesce(model, model_requested)"
_UNBOUNDED: Final = "user"
"""There are no more sums of users than records, because they go with them; and nobody is left out of a list of users."""
_NAMING: Final = frozenset({"user", "tag"})
"""Sums under what may be the name of a person: by day only, without histograms, and for as long as the records."""

UNFOLDED: Final = (
    "(seq > (SELECT done_seq FROM folds WHERE name = 'rollups')"
    " AND seq <= (SELECT last_seq FROM folds WHERE name = 'rollups'))"
)
"""Of a row: it was there before the roll-ups, and is not in them yet."""
_FOLDED: Final = f"NOT {UNFOLDED}"
_ROWS: Final = (
    f"SELECT started_at - started_at % {HOUR_MS}, coalesce(key, ''), coalesce({MODEL}, ''), upstream,"  # noqa: S608 (constants)
    " coalesce(provider, ''), endpoint, coalesce(environment, ''), coalesce(prompt_name, ''),"
    " coalesce(prompt_version, ''), coalesce(user, ''), tags, session, started_at, duration_us, first_token_us,"
    f" {', '.join(MEASURES.values())} FROM exchanges WHERE "
)
_FIRST_MEASURE: Final = 15
_AT: Final = {name: _FIRST_MEASURE + number for number, name in enumerate(MEASURES)}
_OF_SESSION: Final = itemgetter(
    *(_AT[name] for name in ("requests", "unpriced", "cost_nano_usd", "input_tokens", "output_tokens"))
)
_ERRORS: Final = itemgetter(*(_AT[name] for name in ERRORS))
_ROWS_BETWEEN: Final = _ROWS + "seq BETWEEN ? AND ?"
_ROWS_CHOSEN: Final = _ROWS + "seq IN (SELECT value FROM json_each(?))"  # noqa: S608 (constants)
_FOLDED_CHOSEN: Final = f"{_ROWS_CHOSEN} AND {_FOLDED}"
_UNFOLDED_CHOSEN: Final = f"{_ROWS_CHOSEN} AND {UNFOLDED}"
_PLACE: Final = "dimension = ? AND span = ? AND start = ? AND value = ? AND part = ?"
_COLUMNS: Final = ("dimension", "span", "start", "value", "part", *MEASURES, "latency", "ttft")
_INSERT: Final = f"INSERT INTO rollups ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (constants)


class _Place(NamedTuple):
    """Which sum."""

    dimension: str
    span: str
    start: int
    value: str
    part: str


class _Sum(NamedTuple):
    """What is to be added to a sum."""

    measures: tuple[int, ...]
    latency: Histogram
    ttft: Histogram

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]], sign: int) -> _Sum:
        """Return what rows of `_ROWS` add, or what they do not add any more."""
        return cls.without_histograms(rows, sign)._replace(
            latency=_counted([row[13] for row in rows], sign), ttft=_counted([row[14] for row in rows], sign)
        )

    @classmethod
    def without_histograms(cls, rows: Sequence[tuple[Any, ...]], sign: int) -> _Sum:
        """Return the same but for the histograms."""
        measures = [row[_FIRST_MEASURE:] for row in rows]
        total = measures[0] if len(rows) == 1 else tuple(map(sum, zip(*measures, strict=True)))
        return cls(total if sign > 0 else tuple(map(neg, total)), {}, {})

    @classmethod
    def total(cls, sums: Sequence[_Sum]) -> _Sum:
        """Return sums in one."""
        if len(sums) == 1:
            return sums[0]
        measures = tuple(map(sum, zip(*[each.measures for each in sums], strict=True)))
        return cls(
            measures,
            histogram.merged([each.latency for each in sums if each.latency]),
            histogram.merged([each.ttft for each in sums if each.ttft]),
        )

    @property
    def is_nothing(self) -> bool:
        """Say whether nothing changes."""
        return not (any(self.measures) or self.latency or self.ttft)


class _Difference:
    """What some rows add, or do not add any more."""

    def __init__(self) -> None:
        self._sums: dict[_Place, list[_Sum]] = {}
        """By hour, or by day where that is all there is."""
        self.sessions: dict[str, SessionChange] = {}

    def take(self, rows: Iterable[tuple[Any, ...]], sign: int) -> None:
        """Count rows of `_ROWS`, or take them away."""
        # There are far fewer combinations of what a request has exactly one of than requests.
        together: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        named: dict[_Place, list[tuple[Any, ...]]] = {}
        for row in rows:
            together.setdefault(row[:9], []).append(row)
            day = row[0] - row[0] % DAY_MS
            named.setdefault(_Place("user", "day", day, row[9], ""), []).append(row)
            if row[11] is not None:
                self._take_session(row, sign)
            for name, value in _tags(row[10]):
                named.setdefault(_Place("tag", "day", day, name, value), []).append(row)
        for place, some in named.items():
            self._sums.setdefault(place, []).append(_Sum.without_histograms(some, sign))
        for values, some in together.items():
            change = _Sum.of(some, sign)
            for place in _places(*values):
                self._sums.setdefault(place, []).append(change)

    def _take_session(self, row: tuple[Any, ...], sign: int) -> None:
        change = self.sessions.get(row[11])
        if change is None:
            change = self.sessions[row[11]] = SessionChange()
        requests, unpriced, cost, input_tokens, output_tokens = _OF_SESSION(row)
        errors = sum(_ERRORS(row))
        change.take(row[12], (requests, errors, unpriced, cost, input_tokens, output_tokens), sign)

    def sums(self) -> dict[_Place, _Sum]:
        """Return what changes in each hour and day."""
        sums = {place: _Sum.total(parts) for place, parts in self._sums.items()}
        days: dict[_Place, list[_Sum]] = {}
        for place, change in sums.items():
            if place.span == "hour":
                day = place._replace(span="day", start=place.start - place.start % DAY_MS)
                days.setdefault(day, []).append(change)
        sums |= {place: _Sum.total(parts) for place, parts in days.items()}
        return {place: change for place, change in sums.items() if not change.is_nothing}


def _places(
    hour: int,
    key: str,
    model: str,
    upstream: str,
    provider: str,
    endpoint: str,
    environment: str,
    prompt: str,
    version: str,
) -> tuple[_Place, ...]:
    """Return the sums by hour to which a request is added."""
    return (
        _Place("all", "hour", hour, "", ""),
        _Place("key", "hour", hour, key, ""),
        _Place("model", "hour", hour, model, ""),
        _Place("key_model", "hour", hour, key, model),
        _Place("upstream", "hour", hour, upstream, ""),
        _Place("provider", "hour", hour, provider, ""),
        _Place("endpoint", "hour", hour, endpoint, ""),
        _Place("environment", "hour", hour, environment, ""),
        _Place("prompt", "hour", hour, prompt, version),
    )


def _listed(values: Sequence[Value]) -> str:
    """Return values as `json_each` reads them."""
    return msgspec.json.encode(values).decode()


class Rollups:
    """The roll-ups of the one writer; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._sessions = SessionSums(connection)
        connection.create_scalar_function("merged_histogram", _merged_histogram, 2, deterministic=True)

    def add(self, seqs: Sequence[int]) -> None:
        """Add rows that are new, one after the other."""
        if seqs:
            difference = _Difference()
            difference.take(self._connection.execute(_ROWS_BETWEEN, (seqs[0], seqs[-1])), 1)
            self._apply(difference.sums())
            self._sessions.change(difference.sessions)

    def adopt(self, seqs: Sequence[int]) -> None:
        """Add rows to the sums of the session that they were put into, after all else."""
        if seqs:
            difference = _Difference()
            difference.take(self._connection.execute(_FOLDED_CHOSEN, (_listed(seqs),)), 1)
            self._sessions.change(difference.sessions)

    @contextmanager
    def following(self, choice: str, values: Sequence[Value]) -> Iterator[None]:
        """Follow what is changed meanwhile in the rows that a condition chooses now."""
        choice = f"SELECT seq FROM exchanges WHERE ({choice}) AND {_FOLDED}"  # noqa: S608 (constants)
        seqs = [seq for (seq,) in self._connection.execute(choice, values)]
        if not seqs:
            yield
            return
        chosen = (_listed(seqs),)
        difference = _Difference()
        difference.take(self._connection.execute(_ROWS_CHOSEN, chosen), -1)
        yield
        difference.take(self._connection.execute(_ROWS_CHOSEN, chosen), 1)
        self._apply(difference.sums())
        self._sessions.change(difference.sessions)

    def following_ids(self, ids: Sequence[str]) -> AbstractContextManager[None]:
        """Follow what is changed meanwhile in the requests with these ids."""
        if not ids:
            return nullcontext()
        return self.following("id IN (SELECT value FROM json_each(?))", (_listed(ids),))

    def part_with(self, seqs: Sequence[int]) -> None:
        """Keep the sums of rows that are about to be deleted, but for those that may name somebody."""
        if not seqs:
            return
        chosen = (_listed(seqs),)
        gone, kept = _Difference(), _Difference()
        gone.take(self._connection.execute(_FOLDED_CHOSEN, chosen), -1)
        kept.take(self._connection.execute(_UNFOLDED_CHOSEN, chosen), 1)
        self._apply({place: change for place, change in gone.sums().items() if place.dimension in _NAMING})
        self._sessions.change(gone.sessions, seqs)
        self._apply({place: change for place, change in kept.sums().items() if place.dimension not in _NAMING})

    def backfill(self, limit: int = BACKFILL) -> bool:
        """Fold rows that were there before the roll-ups; return whether there may be more."""
        done, last = self._connection.execute("SELECT done_seq, last_seq FROM folds WHERE name = 'rollups'").get
        if done >= last:
            return False
        end = int(min(done + limit, last))
        difference = _Difference()
        difference.take(self._connection.execute(_ROWS_BETWEEN, (done + 1, end)), 1)
        self._apply(difference.sums())
        self._sessions.change(difference.sessions)
        self._connection.execute("UPDATE folds SET done_seq = ? WHERE name = 'rollups'", (end,))
        return bool(end < last)

    def _apply(self, sums: dict[_Place, _Sum]) -> None:
        rooms: dict[tuple[str, str, int], int] = {}
        others: dict[_Place, list[_Sum]] = {}
        for place, change in sums.items():
            if self._change(place, change):
                continue
            if place.dimension == _UNBOUNDED:
                self._add_row(place, change)
                continue
            period = place[:3]
            if period not in rooms:
                rooms[period] = self._room(period)
            rooms[period] -= 1
            if rooms[period] >= 0:
                self._add_row(place, change)
            else:
                others.setdefault(_Place(*period, OTHER, ""), []).append(change)
        for place, changes in others.items():
            total = _Sum.total(changes)
            if not (total.is_nothing or self._change(place, total)):
                self._add_row(place, total)

    def _change(self, place: _Place, change: _Sum) -> bool:
        """Change a row; False: there is none."""
        settings = [f"{name} = {name} + ?" for name, more in zip(MEASURES, change.measures, strict=True) if more]
        values: list[Value] = [more for more in change.measures if more]
        for name, counts in (("latency", change.latency), ("ttft", change.ttft)):
            if counts:
                settings.append(f"{name} = merged_histogram({name}, ?)")
                values.append(histogram.packed(counts))
        self._connection.execute(
            f"UPDATE rollups SET {', '.join(settings)} WHERE {_PLACE}",  # noqa: S608 (constants)
            (*values, *place),
        )
        is_there = bool(self._connection.changes())
        if is_there and change.measures[0] < 0:
            self._connection.execute(f"DELETE FROM rollups WHERE {_PLACE} AND requests = 0", place)  # noqa: S608 (constants)
        return is_there

    def _add_row(self, place: _Place, change: _Sum) -> None:
        self._connection.execute(_INSERT, (*place, *change.measures, _packed(change.latency), _packed(change.ttft)))

    def _room(self, period: tuple[str, str, int]) -> int:
        """Return how many values may still get a row of their own."""
        return self._number(
            "SELECT CASE WHEN max(value = ? AND part = '') THEN 0 ELSE max(0, ? - count(*)) END FROM rollups"
            " WHERE dimension = ? AND span = ? AND start = ?",
            (OTHER, MAX_VALUES, *period),
        )

    def _number(self, sql: str, values: Sequence[Value] = ()) -> int:
        return int(self._connection.execute(sql, values).get)


def _counted(durations: Iterable[int | None], sign: int) -> Histogram:
    counts: Histogram = {}
    for duration in durations:
        if duration is not None:
            bucket = bucket_of(duration)
            counts[bucket] = counts.get(bucket, 0) + sign
    return counts


@lru_cache(maxsize=1024)
def _tags(text: str) -> Sequence[tuple[str, str]]:
    """Return the tags of a request; those of the last callers are remembered, for an application says the same each time."""
    if text == "{}":
        return ()
    try:
        tags = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError):
        return ()
    return [(storable_text(name), storable_text(value)) for name, value in tags.items()]


def _packed(counts: Histogram) -> bytes | None:
    return histogram.packed(counts) if counts else None


def _merged_histogram(*values: apsw.SQLiteValue) -> apsw.SQLiteValue:
    stored, change = values
    if not isinstance(change, bytes):
        return stored
    total = histogram.unpacked(stored if isinstance(stored, bytes) else None)
    histogram.add(total, histogram.unpacked(change))
    return histogram.packed(total)
