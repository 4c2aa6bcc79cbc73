"""Feedback: what people and programs say of answers, one row for each of them, name and request.

It is found by the id of its request, and may be there first or without one; it is counted when it was given. It goes with
the request that it is about, the comment with the bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw

from proxy.records import Feedback
from proxy.store.filter import SENTIMENTS
from proxy.store.query import Query
from proxy.store.rollups import DAY_MS
from proxy.store.text import storable_text

_COLUMNS: Final = "request, name, source, at, value, comment"
"""Those of a `Feedback`, in its order."""
_IS_SILENT: Final = "no_store != '' OR instr(privacy, 'erased')"
"""Of a request: its caller asked not to store what was said, or somebody had it deleted."""
_ADD: Final = f"""
INSERT OR REPLACE INTO feedback ({_COLUMNS}) VALUES (
    ?1, ?2, ?3, ?4, ?5, CASE WHEN NOT EXISTS (SELECT 1 FROM exchanges WHERE id = ?1 AND ({_IS_SILENT})) THEN ?6 END
)
"""  # noqa: S608 (constants)
_TAKE_BACK: Final = "DELETE FROM feedback WHERE request = ? AND name = ? AND source = ?"
_PLACE: Final = "(request, name, source)"
_OLD_COMMENTS: Final = f"""
UPDATE feedback SET comment = NULL WHERE {_PLACE} IN (
    SELECT request, name, source FROM feedback WHERE comment IS NOT NULL AND at < ? ORDER BY at LIMIT ?
)
"""  # noqa: S608 (constants)
_OLD: Final = f"""
DELETE FROM feedback WHERE {_PLACE} IN (SELECT request, name, source FROM feedback WHERE at < ? ORDER BY at LIMIT ?)
"""  # noqa: S608 (constants)


class FeedbackDay(NamedTuple):
    """What was given on one day."""

    start: int
    """Unix ms, UTC."""
    given: int
    positive: int
    negative: int


class FeedbackWriter:
    """The feedback of the one writer; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, said: Sequence[Feedback]) -> None:
        """Keep what was said, one after the other; what has no value takes back what was said before."""
        for each in said:
            place = (each.request, each.name, each.source)
            if each.value is None:
                self._connection.execute(_TAKE_BACK, place)
            else:
                comment = None if each.comment is None else storable_text(each.comment)
                self._connection.execute(_ADD, (*place, each.at_ms, each.value, comment))

    def silence(self, requests: Sequence[str]) -> None:
        """Let go of comments that came before requests whose callers asked not to store what was said."""
        self._connection.executemany(
            "UPDATE feedback SET comment = NULL WHERE request = ?", [(request,) for request in requests]
        )

    def purge(self, comments_before_ms: int, before_ms: int, limit: int) -> int:
        """Delete up to `limit` comments, and as many rows, that are too old; return how many that were at most."""
        changed = []
        for sql, before in ((_OLD_COMMENTS, comments_before_ms), (_OLD, before_ms)):
            self._connection.execute(sql, (before, limit))
            changed.append(self._connection.changes())
        return max(changed)


def feedback_on(request: str) -> Query[list[Feedback]]:
    """Ask what was said of a request, the oldest first."""
    sql = f"SELECT {_COLUMNS} FROM feedback WHERE request = ? ORDER BY at, name, source"  # noqa: S608 (constants)
    return Query(sql, (request,), lambda rows: [Feedback(*row) for row in rows])


def feedback_by_day(since_ms: int) -> Query[list[FeedbackDay]]:
    """Ask how much was given on each day since then, and how good it was."""
    sql = (
        f"SELECT at - at % {DAY_MS}, count(*), sum({SENTIMENTS['positive']}), sum({SENTIMENTS['negative']})"  # noqa: S608 (constants)
        " FROM feedback WHERE at >= ? GROUP BY 1 ORDER BY 1"
    )
    return Query(sql, (since_ms,), lambda rows: [FeedbackDay(*row) for row in rows])
