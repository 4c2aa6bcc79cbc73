"""Spending: what was spent step by step and by whom, from the sums; what the cost pages and budgets are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.store.filter import Filter, both, started
from proxy.store.periods import period, summed_by
from proxy.store.query import GROUPINGS, MAX_ROWS, CostRow, Grouping, Query, cost_rows
from proxy.store.rollups import DAY_MS, HOUR_MS, MODEL, Dimension

STEPS: Final[dict[str, int]] = {"hour": HOUR_MS, "day": DAY_MS}
_MEASURES: Final = ("requests", "cost_nano_usd", "unpriced", "input_tokens", "cached_input_tokens", "output_tokens")


class Spent(NamedTuple):
    """What one value spent in one step."""

    at: int
    """Start of the step, Unix ms, UTC."""
    value: str | None
    """None: the requests have none."""
    requests: int
    cost_nano_usd: int
    """Sum of the known costs."""
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


def spent_by_step(
    by: Grouping | None,
    step: str,
    *,
    from_ms: int,
    to_ms: int,
    where: Filter = Filter(),  # noqa: B008 (frozen)
) -> Query[list[Spent]]:
    """Ask what was spent in each step that has anything in common with [from, to), by one grouping or none."""
    length = STEPS[step]
    names = [by] if by else []
    summed = summed_by(names) if where == Filter() else None
    if summed is not None:
        dimension, places = summed
        asked = period(dimension, from_ms, to_ms, _MEASURES, by_hour=step == "hour")
        source, parameters = asked.sql, asked.parameters
        sums, at, group = (f"sum({name})" for name in _MEASURES), "at", places[0] if places else "NULL"
    else:
        condition = both(started(from_ms=from_ms, to_ms=to_ms), where)
        source, parameters = f"exchanges WHERE {condition.sql}", condition.parameters  # type: ignore[assignment]
        sums = (f"coalesce(sum({name}), 0)" for name in ("1", *("cost_nano_usd", "is_unpriced"), *_MEASURES[3:]))
        at, group = "started_at", GROUPINGS[by] if by else "NULL"
    sql = f"SELECT {at} - {at} % {length} AS step, {group} AS name, {', '.join(sums)} FROM {source} GROUP BY 1, 2"  # noqa: S608
    return Query(f"{sql} ORDER BY 1", parameters, lambda rows: [Spent(*row) for row in rows])


class KeySpent(NamedTuple):
    """What one value of a dimension spent in one hour or day."""

    at: int
    value: str
    part: str
    requests: int
    cost_nano_usd: int


def spent_in(dimension: Dimension, *, from_ms: int, to_ms: int, value: str | None = None) -> Query[list[KeySpent]]:
    """Ask what each value and part of a dimension, or of one value, spent in each hour of [from, to); users by day."""
    asked = period(dimension, from_ms, to_ms, ("requests", "cost_nano_usd"), by_hour=True)
    length = DAY_MS if dimension == "user" else HOUR_MS
    choice, values = ("", ()) if value is None else (" WHERE value = ?", (value,))
    sql = (
        f"SELECT at - at % {length}, value, part, sum(requests), sum(cost_nano_usd) FROM {asked.sql}{choice}"  # noqa: S608
        " GROUP BY 1, 2, 3 ORDER BY 1"
    )
    return Query(sql, (*asked.parameters, *values), lambda rows: [KeySpent(*row) for row in rows])


def spent_by_minute(*, from_ms: int, to_ms: int, key: str | None = None) -> Query[list[KeySpent]]:
    """Ask what each key and model spent in each minute of [from, to), or one key: from rows, so not for long."""
    condition, values = ("", ()) if key is None else (" AND key = ?", (key,))
    sql = (
        f"SELECT started_at - started_at % 60000, coalesce(key, ''), coalesce({MODEL}, ''), count(*),"  # noqa: S608
        f" coalesce(sum(cost_nano_usd), 0) FROM exchanges WHERE started_at >= ? AND started_at < ?{condition}"
        " GROUP BY 1, 2, 3 ORDER BY 1"
    )
    return Query(sql, (from_ms, to_ms, *values), lambda rows: [KeySpent(*row) for row in rows])


def spent_by_tag(name: str, *, from_ms: int, to_ms: int, limit: int = MAX_ROWS) -> Query[list[CostRow]]:
    """Ask what the values of a tag cost on the days (UTC) that have anything in common with [from, to)."""
    sums = ", ".join(f"sum({measure})" for measure in CostRow.__struct_fields__[1:])
    sql = (
        f"SELECT nullif(part, ''), {sums} FROM rollups WHERE dimension = 'tag' AND span = 'day'"  # noqa: S608 (constants)
        " AND start >= ? AND start < ? AND value = ? GROUP BY 1 ORDER BY sum(cost_nano_usd) DESC, sum(requests) DESC LIMIT ?"
    )
    return Query(sql, (from_ms - from_ms % DAY_MS, to_ms, name, limit), cost_rows)


class Leaf(NamedTuple):
    """What the requests of one kind cost: the finest that is summed."""

    names: tuple[str, ...]
    requests: int
    tokens: int
    """Input and output."""
    cost_nano_usd: int


def leaves(dimension: Dimension, *, from_ms: int, to_ms: int) -> Query[list[Leaf]]:
    """Ask what each value and part of a dimension cost in [from, to)."""
    asked = period(dimension, from_ms, to_ms, ("requests", "input_tokens", "output_tokens", "cost_nano_usd"))
    sql = (
        "SELECT value, part, sum(requests), sum(input_tokens + output_tokens), sum(cost_nano_usd)"  # noqa: S608
        f" FROM {asked.sql} GROUP BY 1, 2"
    )

    def convert(rows: Sequence[tuple[Any, ...]]) -> list[Leaf]:
        return [Leaf((value, part), *sums) for value, part, *sums in rows]

    return Query(sql, asked.parameters, convert)


def first_sum() -> Query[int | None]:
    """Ask for the first day (UTC) of which anything is known, in Unix ms; None: there is none."""
    sql = "SELECT min(start) FROM rollups WHERE dimension = 'all' AND span = 'day'"
    return Query(sql, (), lambda rows: rows[0][0])
