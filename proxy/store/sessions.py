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
from proxy.store.listing import Rows, Step, TimeIsUp
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
_NAMED: Final = 5000
"""Sessions that are found by their names; with more, sessions are looked through until a page is full."""
_TESTED: Final = 200
"""Of these at a time: some ten milliseconds."""
_TEST: Final = (
    "SELECT name.value FROM json_each(?) AS name WHERE EXISTS"
    " (SELECT 1 FROM exchanges INDEXED BY exchanges_by_session WHERE session = name.value AND ({}))"
)
_LATEST: Final = 1000
"""The newest requests of a user, among which sessions are looked for."""
_OF_USER: Final = """
SELECT DISTINCT session FROM (
    SELECT session FROM exchanges WHERE user = ? AND started_at >= ? AND started_at < ? ORDER BY started_at DESC LIMIT ?
) WHERE session IS NOT NULL
"""
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
    """Of all pages, up to `COUNTED`; None: of a later page, or it is not known."""
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
        meant = _Meant([])
        if where == Filter():
            found = yield from _chosen(_Asked(order, from_ms, to_ms), limit, after)
        else:
            narrowed = both(where, started(from_ms=from_ms, to_ms=to_ms))
            meant = yield from _meant(narrowed)
            if meant.names is None:
                return (yield from _tested(narrowed, _Asked(order, from_ms, to_ms), limit, after))
            found = yield from _chosen(_Asked(order, from_ms, to_ms, meant.names), limit, after)
        rows, more, count = found
        return SessionPage((yield from _told(rows)), more, count, meant.searched_to)

    return Plan(steps)


def latest_sessions(user: str, *, from_ms: int, to_ms: int, limit: int) -> Plan[list[SessionRow]]:
    """Ask for the sessions of the newest requests of a user in [from, to), the newest first."""

    def steps() -> Generator[Step, Rows, list[SessionRow]]:
        names = [name for (name,) in (yield _OF_USER, (user, from_ms, to_ms, _LATEST))]
        rows, _, _ = yield from _chosen(_Asked(NEWEST_FIRST, None, None, names), limit, None)
        return (yield from _told(rows))

    return Plan(steps)


def session(name: str) -> Plan[SessionRow | None]:
    """Ask for the session of this name."""

    def steps() -> Generator[Step, Rows, SessionRow | None]:
        rows = yield f"SELECT {_COLUMNS} FROM sessions WHERE name = ?", (name,)  # noqa: S608 (constants)
        return next(iter((yield from _told(list(rows)))), None)

    return Plan(steps)


def cost_before(name: str, start: int) -> Query[int]:
    """Ask what the requests of a session cost that come before the one at `start`, in nano-USD."""
    sql = (
        "SELECT coalesce(sum(cost_nano_usd), 0) FROM"
        " (SELECT cost_nano_usd FROM exchanges WHERE session = ? ORDER BY started_at, seq LIMIT ?)"
    )
    return Query(sql, (name, start), lambda rows: int(rows[0][0]))


class _Asked(NamedTuple):
    """Which sessions, beside what a filter says, and in which order."""

    order: Order
    from_ms: int | None
    to_ms: int | None
    names: list[str] | None = None
    """None: whatever they are called."""

    def page(self, columns: str, after: Place | None, limit: int) -> Step:
        """Return the question for one page; the last column is the value that is sorted by."""
        conditions, values = self._conditions()
        value = f"({ORDERS[self.order.name]})"
        beyond, by, more = self.order.clause(value, "name", after)
        sql = f"SELECT {columns}, {value} FROM sessions WHERE {conditions} AND {beyond} ORDER BY {by} LIMIT ?"  # noqa: S608
        return sql, (*values, *more, limit)

    def counted(self) -> Step:
        """Return the question how many there are."""
        conditions, values = self._conditions()
        return f"SELECT count(*) FROM (SELECT 1 FROM sessions WHERE {conditions} LIMIT {COUNTED + 1})", tuple(values)  # noqa: S608

    def _conditions(self) -> tuple[str, list[Any]]:
        conditions, values = ["1"], list[Any]()
        if self.names is not None:
            conditions.append("name IN (SELECT value FROM json_each(?))")
            values.append(msgspec.json.encode(self.names).decode())
        if self.from_ms is not None:
            conditions.append("last_at >= ?")
            values.append(self.from_ms)
        if self.to_ms is not None:
            conditions.append("first_at < ?")
            values.append(self.to_ms)
        return " AND ".join(conditions), values


_Found = tuple[list[tuple[Any, ...]], Place | None, int | None]
"""Rows of `sessions`, where the next page begins, and how many there are; None: of a later page."""


def _chosen(asked: _Asked, limit: int, after: Place | None) -> Generator[Step, Rows, _Found]:
    rows = list((yield asked.page(_COLUMNS, after, limit)))
    count = None
    if after is None:
        ((count,),) = yield asked.counted()
    return rows, _end(asked.order, rows[-1]) if len(rows) == limit else None, count


def _end(order: Order, row: tuple[Any, ...]) -> Place:
    return Place(order, row[-1], row[0])


def _meant(where: Filter) -> Generator[Step, Rows, _Meant]:
    """Return the sessions with a request that is meant; no names: too many to be named."""
    names: set[str] = set()

    def take(rows: Rows) -> bool:
        names.update(name for (name,) in rows)
        return len(names) > _NAMED

    searched_to = yield from newest_first(
        both(where, _HAS_SESSION), Clause("session"), take, group="GROUP BY 1", most_zones=ALL_ZONES
    )
    return _Meant(None) if len(names) > _NAMED else _Meant(sorted(names), searched_to)


def _tested(where: Filter, asked: _Asked, limit: int, after: Place | None) -> Generator[Step, Rows, SessionPage]:
    """Look through sessions in their order: where many are meant, a page of them is soon found."""
    test = _TEST.format(where.sql)
    kept: list[tuple[Any, ...]] = []
    more = after
    try:
        while len(kept) < limit:
            rows = yield asked.page(_COLUMNS, more, _TESTED)
            names = msgspec.json.encode([row[0] for row in rows]).decode()
            fit = {name for (name,) in (yield test, (names, *where.parameters))}
            kept += [row for row in rows if row[0] in fit]
            if len(rows) < _TESTED:
                more = None
                break
            more = _end(asked.order, rows[-1])
    except TimeIsUp:
        if more == after:
            raise
    if len(kept) > limit:
        kept, more = kept[:limit], _end(asked.order, kept[limit - 1])
    return SessionPage((yield from _told(kept)), more, None)


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


def _told(rows: Sequence[tuple[Any, ...]]) -> Generator[Step, Rows, list[SessionRow]]:
    """Return sessions with all that is told of them."""
    parts = yield from _parts([row[0] for row in rows])
    return [_session_row(row, parts[row[0]]) for row in rows if row[0] in parts]


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
