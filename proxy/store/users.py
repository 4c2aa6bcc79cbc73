"""Users: what is asked about those in whose name requests were sent.

Sums come from the roll-ups by day, of whole days, and from rows at the edges of a stretch of time. With a filter they are
added up from the rows that are meant.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from proxy.store.extent import ALL_ZONES, newest_first
from proxy.store.filter import Clause, Filter, both, started
from proxy.store.keyset import Order, Place
from proxy.store.listing import Rows, Step
from proxy.store.periods import period
from proxy.store.query import Plan
from proxy.store.rollups import ERRORS, OTHER

ORDERS: Final = {
    "cost": "cost_nano_usd",
    "requests": "requests",
    "errors": "errors",
    "tokens": "input_tokens + output_tokens",
    "last": "last_at",
}
"""What users can be sorted by."""
DEAREST_FIRST: Final = Order("cost")
_SUMS: Final = ("requests", "errors", "unpriced", "cost_nano_usd", "input_tokens", "output_tokens")
_SUMMED: Final = ("requests", "unpriced", "cost_nano_usd", "input_tokens", "output_tokens", *ERRORS)
_FAILED: Final = "(outcome != 'completed' OR coalesce(status >= 400, 0))"


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent in the name of one user."""

    id: str
    requests: int
    errors: int
    """Requests that did not complete or were answered with 400 or above."""
    unpriced: int
    """Requests that cost something nobody knows."""
    cost_nano_usd: int
    """Sum of the known costs."""
    input_tokens: int
    output_tokens: int
    last_at: int | None
    """When the newest request started, Unix ms. None: it is not stored any more."""


class Nameless(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent in nobody's name."""

    requests: int
    cost_nano_usd: int


class UserPage(msgspec.Struct, frozen=True):
    """Users in the order that was asked for."""

    rows: list[UserRow]
    next: Place | None
    """Where the next page begins; None: there is nothing more."""
    count: int | None = None
    """Of all pages; None: of a later page."""
    nameless: Nameless | None = None
    """None: of a later page."""
    searched_to: int | None = None
    """Unix ms: requests that started before were not looked at. None: all were."""


def users(
    where: Filter = Filter(),  # noqa: B008 (frozen)
    *,
    from_ms: int,
    to_ms: int,
    order: Order = DEAREST_FIRST,
    limit: int = 50,
    after: Place | None = None,
) -> Plan[UserPage]:
    """Ask for the users with requests that started in [from, to), and what these requests add up to."""

    def steps() -> Generator[Step, Rows, UserPage]:
        if where == Filter():
            return (yield from _summed(from_ms, to_ms, order, limit, after))
        return (yield from _counted(both(where, started(from_ms=from_ms, to_ms=to_ms)), order, limit, after))

    return Plan(steps)


def _summed(from_ms: int, to_ms: int, order: Order, limit: int, after: Place | None) -> Generator[Step, Rows, UserPage]:
    asked = period("user", from_ms, to_ms, _SUMMED)
    sums = ", ".join(
        f"sum({' + '.join(ERRORS)}) AS errors" if name == "errors" else f"sum({name}) AS {name}" for name in _SUMS
    )
    last = (
        "(SELECT max(started_at) FROM exchanges WHERE user = name AND started_at < ?)" if order.name == "last" else "?"
    )
    each = (
        f"SELECT name, {', '.join(_SUMS)}, {last} AS last_at FROM"  # noqa: S608 (constants)
        f" (SELECT value AS name, {sums} FROM {asked.sql} WHERE value NOT IN ('', ?) GROUP BY value)"
    )
    value = f"({ORDERS[order.name]})"
    beyond, by, values = order.clause(value, "name", after)
    rows = yield (
        f"SELECT *, {value} FROM ({each}) WHERE {beyond} ORDER BY {by} LIMIT ?",  # noqa: S608 (constants)
        (to_ms, *asked.parameters, OTHER, *values, limit),
    )
    lasts: dict[str, int | None] = dict((yield _LAST, (to_ms, msgspec.json.encode([row[0] for row in rows]).decode())))
    found = [_user_row(*row[: len(_SUMS) + 1], lasts[row[0]]) for row in rows]
    more = Place(order, rows[-1][-1], rows[-1][0]) if len(rows) == limit else None
    if after is not None:
        return UserPage(found, more)
    ((count, requests, cost),) = yield _TOTALS.format(asked.sql), (OTHER, *asked.parameters)
    return UserPage(found, more, count, Nameless(requests=requests, cost_nano_usd=cost))


_TOTALS: Final = """
SELECT count(DISTINCT value) FILTER (WHERE value NOT IN ('', ?)), coalesce(sum(requests) FILTER (WHERE value = ''), 0),
    coalesce(sum(cost_nano_usd) FILTER (WHERE value = ''), 0)
FROM {}
"""
_LAST: Final = """
SELECT name.value, (SELECT max(started_at) FROM exchanges WHERE user = name.value AND started_at < ?)
FROM json_each(?) AS name
"""


def _counted(where: Filter, order: Order, limit: int, after: Place | None) -> Generator[Step, Rows, UserPage]:
    sums: dict[str, list[int]] = {}

    def take(rows: Rows) -> bool:
        for name, *more in rows:
            before = sums.get(name)
            sums[name] = (
                more if before is None else [*map(int.__add__, before[:-1], more[:-1]), max(before[-1], more[-1])]
            )
        return False

    searched_to = yield from newest_first(where, _COLUMNS, take, group="GROUP BY 1", most_zones=ALL_ZONES)
    nameless = sums.pop("", [0] * (len(_SUMS) + 1))
    found = [_user_row(name, *values) for name, values in sums.items()]
    sign = -1 if order.is_descending else 1
    found.sort(key=lambda row: (sign * _value(row, order), row.id))
    if after is not None:
        last = (sign * after.value, after.name)
        found = [row for row in found if (sign * _value(row, order), row.id) > last]
    page = found[:limit]
    more = Place(order, _value(page[-1], order), page[-1].id) if page and len(page) == limit else None
    if after is not None:
        return UserPage(page, more, searched_to=searched_to)
    without = Nameless(requests=nameless[0], cost_nano_usd=nameless[3])
    return UserPage(page, more, len(found), without, searched_to)


_COLUMNS: Final = Clause(
    f"coalesce(user, ''), count(*), sum({_FAILED}), sum(is_unpriced), coalesce(sum(cost_nano_usd), 0),"
    " coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), max(started_at)"
)


def _value(row: UserRow, order: Order) -> int:
    if order.name == "tokens":
        return row.input_tokens + row.output_tokens
    named: dict[str, int | None] = {
        "cost": row.cost_nano_usd,
        "requests": row.requests,
        "errors": row.errors,
        "last": row.last_at,
    }
    return named[order.name] or 0


def _user_row(name: str, *values: Any) -> UserRow:
    return UserRow(id=name, **dict(zip((*_SUMS, "last_at"), values, strict=True)))
