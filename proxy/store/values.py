"""Values: what occurs in a field, so that people choose instead of typing.

What the roll-ups sum is counted by them, over days. Everything else is counted in the newest requests: enough to know
what there is, and the same work however many requests are stored.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from proxy.store.filter import Filter, both, started, value_sql
from proxy.store.listing import NEWEST_FIRST, Rows, Step, find
from proxy.store.query import Plan
from proxy.store.rollups import DAY_MS, OTHER, Dimension

NEWEST: Final = 2000
"""Requests that are looked at."""
MOST_DAYS: Final = 31
_DIMENSIONS: Final[dict[str, Dimension]] = {
    "key": "key",
    "model": "model",
    "upstream": "upstream",
    "provider": "provider",
    "endpoint": "endpoint",
    "environment": "environment",
    "user": "user",
    "prompt": "prompt",
}


class Value(msgspec.Struct, frozen=True):
    """One value of a field."""

    value: str
    requests: int


class Values(msgspec.Struct, frozen=True):
    """What occurs in a field, the most frequent first."""

    values: list[Value]
    newest: int | None
    """Requests in which it was counted, the newest ones; None: in all of the days that were asked for."""


def values(
    field: str, *, from_ms: int, to_ms: int, containing: str = "", where: Filter | None = None, limit: int = 50
) -> Plan[Values]:
    """Ask what occurs in a field of requests that started in [from, to). Raises FilterError: it is no such field."""
    value = value_sql(field) if field != "meta" else None

    def steps() -> Generator[Step, Rows, Values]:
        tag = field.removeprefix("meta.") if field.startswith("meta.") else None
        if value is None or ((where is None or where == Filter()) and (tag or field in _DIMENSIONS)):
            dimension = _DIMENSIONS.get(field, "tag")
            name = "value" if tag is None else "part"
            of_tag, told = ("AND value = ?", (tag,)) if tag else ("", ())
            first = max(from_ms, to_ms - MOST_DAYS * DAY_MS)
            sql = (
                f"SELECT {name}, sum(requests) FROM rollups WHERE dimension = ? AND span = 'day'"  # noqa: S608 (constants)
                f" AND start >= ? AND start < ? {of_tag} AND {name} NOT IN ('', ?) AND {_CONTAINS.format(name)}"
                " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
            )
            rows = yield sql, (dimension, first - first % DAY_MS, to_ms, *told, OTHER, containing.lower(), limit)
            return Values([Value(*row) for row in rows], None)
        meant = both(where or Filter(), started(from_ms=from_ms, to_ms=to_ms))
        found = yield from find(meant, NEWEST_FIRST, NEWEST, None)
        sql = (
            f"SELECT CAST({value.sql} AS TEXT) AS said, count(*) FROM exchanges"  # noqa: S608 (constants)
            f" WHERE seq IN (SELECT value FROM json_each(?)) AND said != '' AND {_CONTAINS.format('said')}"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        )
        rows = yield sql, (*value.parameters, msgspec.json.encode(found.seqs).decode(), containing.lower(), limit)
        return Values([Value(*row) for row in rows], len(found.seqs))

    return Plan(steps)


_CONTAINS: Final = "instr(lower({}), ?) > 0"
