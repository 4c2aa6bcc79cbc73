"""Periods: what happened in a stretch of time, from roll-ups where it covers whole hours, from rows at its edges.

The answer is what the rows alone would give, as long as they are there; of hours whose rows are gone, what they gave. Rows
that are not folded into the roll-ups yet are read as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.store.rollups import DAY_MS, HOUR_MS, MEASURES, MODEL, UNFOLDED, Dimension

_VALUES: Final[dict[Dimension, tuple[str, str]]] = {
    "all": ("''", "''"),
    "key": ("key", "''"),
    "model": (MODEL, "''"),
    "key_model": ("key", MODEL),
    "upstream": ("upstream", "''"),
    "provider": ("provider", "''"),
    "endpoint": ("endpoint", "''"),
    "environment": ("environment", "''"),
    "user": ("user", "''"),
    "prompt": ("prompt_name", "prompt_version"),
}
"""Value and part of a row in each dimension."""
_DURATIONS: Final = {"latency": "duration_us", "ttft": "first_token_us"}


class Period(NamedTuple):
    """A table expression: `at` and `value`, `part` and measures of every sum and row of a stretch of time."""

    sql: str
    parameters: tuple[int, ...]


def period(dimension: Dimension, from_ms: int, to_ms: int, measures: Sequence[str], *, by_hour: bool = False) -> Period:
    """Return what happened in [from, to). `latency` and `ttft` are a histogram of a sum, or µs of a row.

    `by_hour`: no sum is of more than an hour; those of users are by day all the same.
    """
    unit = DAY_MS if dimension == "user" else HOUR_MS
    first, last = _up(from_ms, unit), to_ms - to_ms % unit
    if first > last:
        return Period(f"({_rows(dimension, measures, 'started_at >= ? AND started_at < ?')})", (from_ms, to_ms))
    whole = Period(_rows(dimension, measures, "started_at >= ? AND started_at < ?"), (from_ms, first))
    rest = Period(_rows(dimension, measures, f"started_at >= {_END} AND started_at < ?"), (to_ms,))
    late = Period(_rows(dimension, measures, f"{UNFOLDED} AND +started_at >= ? AND +started_at < {_END}"), (first,))
    parts = [whole, *_sums(dimension, first, last, measures, by_hour=by_hour), rest, late]
    # When nothing began after it, the hour in which the stretch ends is covered as far as there is anything.
    end = "WITH period_end (ms) AS (SELECT CASE WHEN coalesce(max(started_at), 0) < ? THEN ? ELSE ? END FROM exchanges)"
    return Period(
        f"({end} {' UNION ALL '.join(part.sql for part in parts)})",
        (to_ms, _up(to_ms, unit), last, *(value for part in parts for value in part.parameters)),
    )


_END: Final = "(SELECT ms FROM period_end)"


def _sums(dimension: Dimension, first: int, last: int, measures: Sequence[str], *, by_hour: bool) -> list[Period]:
    select = f"SELECT start AS at, value, part, {', '.join(measures)} FROM rollups WHERE dimension = '{dimension}'"  # noqa: S608 (constants)
    open_end = f"{select} AND span = ? AND start >= ? AND start < {_END}".replace("?", "'{}'", 1)
    bounded = f"{select} AND span = ? AND start >= ? AND start < ?".replace("?", "'{}'", 1)
    first_day, last_day = _up(first, DAY_MS), last - last % DAY_MS
    if dimension == "user":
        return [Period(open_end.format("day"), (first,))]
    if by_hour or first_day >= last_day:
        return [Period(open_end.format("hour"), (first,))]
    return [
        Period(bounded.format("hour"), (first, first_day)),
        Period(bounded.format("day"), (first_day, last_day)),
        Period(open_end.format("hour"), (last_day,)),
    ]


def _rows(dimension: Dimension, measures: Sequence[str], condition: str) -> str:
    value, part = _VALUES[dimension]
    columns = ", ".join(f"{(MEASURES | _DURATIONS)[name]} AS {name}" for name in measures)
    return (
        f"SELECT started_at AS at, coalesce({value}, '') AS value, coalesce({part}, '') AS part, {columns}"  # noqa: S608 (constants)
        f" FROM exchanges WHERE {condition}"
    )


def _up(ms: int, unit: int) -> int:
    return -(-ms // unit) * unit


def summed_by(names: Sequence[str]) -> tuple[Dimension, list[str]] | None:
    """Return the dimension in which `names` are summed, and how each is found there; None: only rows can tell."""
    kept = [name for name in names if name != "day"]
    dimension: Any = "prompt" if kept == ["version"] else "_".join(sorted(kept)) or "all"
    if dimension not in _VALUES or len(set(names)) != len(names):
        return None
    places = dict(zip(sorted(kept), ("nullif(value, '')", "nullif(part, '')"), strict=False))
    if kept == ["version"]:
        places["version"] = VERSION.format(name="nullif(value, '')", version="nullif(part, '')")
    places["day"] = "date(at / 1000, 'unixepoch')"
    return dimension, [places[name] for name in names]


VERSION: Final = "{name} || coalesce('@' || {version}, '')"
"""A prompt's name with its version, as people write it."""
