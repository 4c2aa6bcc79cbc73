"""Sums of sessions: one row for each, changed in the transaction that changes its requests.

`Rollups` says what changes: like its own sums, they are what the rows add up to, and like those by user they go with the
records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import add, sub
from typing import Final

import apsw
import msgspec

_FAR: Final = 2**62
SUMS: Final = ("requests", "errors", "unpriced", "cost_nano_usd", "input_tokens", "output_tokens")
"""Columns of `sessions` that are sums."""
_ADD: Final = (
    f"INSERT INTO sessions (name, first_at, last_at, {', '.join(SUMS)}) VALUES (?, ?, ?, {', '.join('?' * len(SUMS))})"  # noqa: S608 (constants)
    " ON CONFLICT (name) DO UPDATE SET first_at = min(first_at, excluded.first_at),"
    f" last_at = max(last_at, excluded.last_at), {', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}"
)
_TAKE: Final = f"UPDATE sessions SET {', '.join(f'{name} = {name} + ?' for name in SUMS)} WHERE name = ?"  # noqa: S608 (constants)
_SUMMED: Final = """
FROM exchanges WHERE session = ?1 AND seq NOT IN (SELECT value FROM json_each(?2)) AND NOT (
    seq > (SELECT done_seq FROM folds WHERE name = 'rollups') AND seq <= (SELECT last_seq FROM folds WHERE name = 'rollups')
)
"""
"""Rows of a session that are in its sums: those that are not folded yet bring their times with them."""
_BOUNDS: Final = f"""
UPDATE sessions SET first_at = (SELECT min(started_at) {_SUMMED}), last_at = (SELECT max(started_at) {_SUMMED})
WHERE name = ?1
"""  # noqa: S608 (constants)


class SessionChange:
    """What some requests add to a session, or do not add any more."""

    __slots__ = ("first_at", "last_at", "sums")

    def __init__(self) -> None:
        self.sums: tuple[int, ...] = (0,) * len(SUMS)
        self.first_at = _FAR
        self.last_at = 0

    def take(self, started_at: int, sums: tuple[int, ...], sign: int) -> None:
        """Count a request, or take it away."""
        self.sums = tuple(map(add if sign > 0 else sub, self.sums, sums))
        if sign > 0:
            self.first_at = min(self.first_at, started_at)
            self.last_at = max(self.last_at, started_at)


class SessionSums:
    """The sums of the one writer; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # Copies of earlier versions have none, and may lose rows all the same.
        self._is_there = bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sessions'").fetchall())

    def change(self, changes: Mapping[str, SessionChange], doomed: Sequence[int] = ()) -> None:
        """Change sums; `doomed`: rows that are about to be deleted."""
        if not self._is_there:
            return
        grown = [(name, change) for name, change in changes.items() if any(change.sums) and change.sums[0] >= 0]
        self._connection.executemany(
            _ADD, [(name, change.first_at, change.last_at, *change.sums) for name, change in grown]
        )
        shrunk = [(name, change) for name, change in changes.items() if change.sums[0] < 0]
        if not shrunk:
            return
        self._connection.executemany(_TAKE, [(*change.sums, name) for name, change in shrunk])
        self._connection.executemany(
            "DELETE FROM sessions WHERE name = ? AND requests <= 0", [(name,) for name, _ in shrunk]
        )
        without = msgspec.json.encode(doomed).decode()
        self._connection.executemany(_BOUNDS, [(name, without) for name, _ in shrunk])
