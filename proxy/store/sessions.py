"""Sessions: what is asked about conversations.

The sums of each session are kept by triggers of the database (`sessions`); who took part and how it began is looked up for
the sessions of one page. With a filter, those sessions are meant in which a request fulfils it; their numbers are those of
the whole session all the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from proxy.store.extent import ALL_ZONES, newest_first
from proxy.store.filter import Clause, Filter, both, started
from proxy.store.keyset import Order, Place
from proxy.store.lineage import INFERRED
from proxy.store.listing import Rows, Step
from proxy.store.query import Plan, Query

ORDERS: Final = {
    "last": "last_at",
    "first": "first_at",
    "cost": "cost_nano_usd",
    "turns": "requests",
    "errors": "errors",
    "duration": "last_at - first_at",
}
"""What sessions can be sorted by, and how a row of `sessions` says it."""
NEWEST_FIRST: Final = Order("last")
COUNTED: Final = 10_000
"""Sessions up to which they are counted."""
_LOOKED_AT: Final = 100
"""The newest requests of a session, of which its models and its user are told."""
_COLUMNS: Final = "name, requests, errors, unpriced, cost_nano_usd, input_tokens, output_tokens, first_at, last_at"
_HAS_SESSION: Final = Filter("session IS NOT NULL")


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    id: str
    """Its name: the caller's, or `auto:` and the id of its first request."""
    is_inferred: bool
    """Nobody named it: its requests were found to continue each other."""
    user: str | None
    """Of its newest requests, the latest that is known."""
    key: str | None
    models: list[str]
    """Of its newest requests."""
    turns: int
    """Requests."""
    errors: int
    """Requests that did not complete or were answered with 400 or above."""
    unpriced: int
    """Requests that cost something nobody knows."""
    cost_nano_usd: int
    """Sum of the known costs."""
    input_tokens: int
    output_tokens: int
    first_at: int
    """When its first request started, Unix ms."""
    last_at: int
    """When its newest one did."""
    first_request: str
    last_request: str


class SessionPage(msgspec.Struct, frozen=True):
    """Sessions in the order that was asked for."""

    rows: list[SessionRow]
    next: Place | None
    """Where the next page begins; None: there is nothing more."""
    count: int | None
    """Of all pages, up to `COUNTED`; None: of a later page."""
    searched_to: int | None = None
    """Unix ms: requests that started before were not looked at. None: all were."""


class _Meant(NamedTuple):
    names: list[str] | None
    """None: all."""
    searched_to: int | None = None


def sessions(
    where: Filter = Filter(),  # noqa: B008 (frozen)
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    order: Order = NEWEST_FIRST,
    limit: int = 50,
    after: Place | None = None,
) -> Plan[SessionPage]:
    """Ask for the sessions that went on in [from, to)."""

    def steps() -> Generator[Step, Rows, SessionPage]:
        meant = _Meant(None)
        if where != Filter():
            meant = yield from _meant(both(where, started(from_ms=from_ms, to_ms=to_ms)))
        chosen = _chosen(meant.names, from_ms, to_ms)
        value = f"({ORDERS[order.name]})"
        beyond, by, values = order.clause(value, "name", after)
        sql = f"SELECT {_COLUMNS}, {value} FROM sessions WHERE {chosen.sql} AND {beyond} ORDER BY {by} LIMIT ?"  # noqa: S608
        found = yield sql, (*chosen.parameters, *values, limit)
        parts = yield from _parts([row[0] for row in found])
        count = None
        if after is None:
            ((count,),) = yield (
                f"SELECT count(*) FROM (SELECT 1 FROM sessions WHERE {chosen.sql} LIMIT {COUNTED + 1})",  # noqa: S608 (constants)
                chosen.parameters,
            )
        more = Place(order, found[-1][-1], found[-1][0]) if len(found) == limit else None
        rows = [_session_row(row, parts[row[0]]) for row in found if row[0] in parts]
        return SessionPage(rows, more, count, meant.searched_to)

    return Plan(steps)


def session(name: str) -> Plan[SessionRow | None]:
    """Ask for the session of this name."""

    def steps() -> Generator[Step, Rows, SessionRow | None]:
        rows = yield f"SELECT {_COLUMNS} FROM sessions WHERE name = ?", (name,)  # noqa: S608 (constants)
        parts = yield from _parts([row[0] for row in rows])
        return next((_session_row(row, parts[row[0]]) for row in rows if row[0] in parts), None)

    return Plan(steps)


def cost_before(name: str, start: int) -> Query[int]:
    """Ask what the requests of a session cost that come before the one at `start`, in nano-USD."""
    sql = (
        "SELECT coalesce(sum(cost_nano_usd), 0) FROM"
        " (SELECT cost_nano_usd FROM exchanges WHERE session = ? ORDER BY started_at, seq LIMIT ?)"
    )
    return Query(sql, (name, start), lambda rows: int(rows[0][0]))


def _meant(where: Filter) -> Generator[Step, Rows, _Meant]:
    """Return the sessions with a request that is meant."""
    names: set[str] = set()

    def take(rows: Rows) -> bool:
        names.update(name for (name,) in rows)
        return False

    searched_to = yield from newest_first(
        both(where, _HAS_SESSION), Clause("session"), take, group="GROUP BY 1", most_zones=ALL_ZONES
    )
    return _Meant(sorted(names), searched_to)


def _chosen(names: list[str] | None, from_ms: int | None, to_ms: int | None) -> Clause:
    conditions, values = ["1"], list[Any]()
    if names is not None:
        conditions.append("name IN (SELECT value FROM json_each(?))")
        values.append(msgspec.json.encode(names).decode())
    if from_ms is not None:
        conditions.append("last_at >= ?")
        values.append(from_ms)
    if to_ms is not None:
        conditions.append("first_at < ?")
        values.append(to_ms)
    return Clause(" AND ".join(conditions), tuple(values))


class _Parts(NamedTuple):
    """What is looked up of a session."""

    first: str
    last: str
    user: str | None
    key: str | None
    models: list[str]


_FIRSTS: Final = """
SELECT name.value, (SELECT id FROM exchanges WHERE session = name.value ORDER BY started_at, seq LIMIT 1)
FROM json_each(?) AS name
"""
_NEWEST: Final = """
SELECT name.value, exchanges.id, user, exchanges.key, coalesce(model, model_requested)
FROM json_each(?) AS name CROSS JOIN exchanges
WHERE seq IN (SELECT seq FROM exchanges WHERE session = name.value ORDER BY started_at DESC, seq DESC LIMIT ?)
ORDER BY name.key, started_at DESC, seq DESC
"""


def _parts(names: Sequence[str]) -> Generator[Step, Rows, dict[str, _Parts]]:
    """Look up who took part in sessions; what was deleted meanwhile is not among them."""
    asked = msgspec.json.encode(names).decode()
    firsts: dict[str, str | None] = dict((yield _FIRSTS, (asked,)))
    newest: dict[str, list[tuple[Any, ...]]] = {}
    for name, *row in (yield _NEWEST, (asked, _LOOKED_AT)):
        newest.setdefault(name, []).append(tuple(row))
    return {
        name: _Parts(
            first=first,
            last=rows[0][0],
            user=next((user for _, user, _, _ in rows if user), None),
            key=next((key for _, _, key, _ in rows if key), None),
            models=list(dict.fromkeys(model for *_, model in rows if model)),
        )
        for name, rows in newest.items()
        if (first := firsts[name]) is not None
    }


def _session_row(row: tuple[Any, ...], parts: _Parts) -> SessionRow:
    name, turns, errors, unpriced, cost, input_tokens, output_tokens, first_at, last_at, *_ = row
    return SessionRow(
        id=name,
        is_inferred=name.startswith(INFERRED),
        user=parts.user,
        key=parts.key,
        models=parts.models,
        turns=turns,
        errors=errors,
        unpriced=unpriced,
        cost_nano_usd=cost,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        first_at=first_at,
        last_at=last_at,
        first_request=parts.first,
        last_request=parts.last,
    )
