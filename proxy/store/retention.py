"""Retention: what is too old, or too much, goes; in small batches, so that recording goes on beside it.

Bodies go first, records later; above the size limit the oldest bodies go whatever their age. The file shrinks with them:
free pages are given back to the file system, a few at a time. What was deleted is overwritten, also where an index keeps
copies of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import apsw
import msgspec

from proxy.store.faults import our_errors

BATCH: Final = 500
"""Rows at a time: a few milliseconds."""
_NAMING: Final = ("exchanges_by_user", "exchanges_by_session", "exchanges_by_trace")
"""Indexes whose entries may name somebody; a million of them are rebuilt in a second."""
_TIDY_EVERY_MS: Final = 86_400_000
_GIGABYTE: Final = 1024**3


class RetentionPolicy(Protocol):
    """How long is kept; the configuration's `retention` is one."""

    @property
    def bodies(self) -> float:
        """Seconds."""
        ...

    @property
    def records(self) -> float:
        """Seconds."""
        ...

    @property
    def max_size_gb(self) -> float:
        """Above it the oldest bodies go."""
        ...


class Purged(msgspec.Struct, frozen=True):
    """What one batch deleted."""

    records: int = 0
    bodies: int = 0
    """Requests whose bodies went."""
    is_more: bool = False
    """There may be more to delete."""


class Retention:
    """Deletes in the database of one writer."""

    def __init__(
        self, connection: apsw.Connection, transaction: Callable[[], AbstractContextManager[None]], page_bytes: int
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._page_bytes = page_bytes
        self._stale: list[str] = []
        self._tidied_ms = 0

    def purge(self, policy: RetentionPolicy, now_ms: int, limit: int = BATCH) -> Purged:
        """Delete one batch of what is too old or too much. Raises StoreError."""
        records = self.purge_records(now_ms - int(policy.records * 1000), limit)
        bodies = self.purge_bodies(now_ms - int(policy.bodies * 1000), limit)
        if self.size_bytes() > policy.max_size_gb * _GIGABYTE:
            bodies = max(bodies, self.purge_oldest_bodies(limit))
        if records or bodies:
            self.release_pages(limit)
        if records and now_ms - self._tidied_ms >= _TIDY_EVERY_MS:
            self._stale, self._tidied_ms = list(_NAMING), now_ms
        is_more = max(records, bodies) >= limit
        if not is_more and self._stale:
            self._rebuild(self._stale.pop())
            is_more = bool(self._stale)
        return Purged(records, bodies, is_more)

    def purge_bodies(self, before_ms: int, limit: int) -> int:
        """Delete the bodies of up to `limit` requests that started before; return of how many."""
        return self._purge_bodies(
            "SELECT seq FROM exchanges WHERE bodies_kept = 1 AND started_at < ? ORDER BY started_at LIMIT ?",
            (before_ms, limit),
        )

    def purge_oldest_bodies(self, limit: int) -> int:
        """Delete the bodies of the `limit` oldest requests that have some; return of how many."""
        return self._purge_bodies(
            "SELECT seq FROM exchanges WHERE bodies_kept = 1 ORDER BY started_at LIMIT ?", (limit,)
        )

    def purge_records(self, before_ms: int, limit: int) -> int:
        """Delete up to `limit` requests that started before, with their bodies; return how many."""
        with self._transaction():
            self._connection.execute(
                "DELETE FROM exchanges WHERE seq IN"
                " (SELECT seq FROM exchanges WHERE started_at < ? ORDER BY started_at LIMIT ?)",
                (before_ms, limit),
            )
            return self._connection.changes()

    def release_pages(self, pages: int) -> None:
        """Give up to `pages` free pages back to the file system."""
        with our_errors():
            self._connection.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall()

    def size_bytes(self) -> int:
        """Return the size of what is stored, free pages left out."""
        with our_errors():
            pages, free = (self._connection.pragma(name) for name in ("page_count", "freelist_count"))
            return (int(str(pages)) - int(str(free))) * self._page_bytes

    def _rebuild(self, index: str) -> None:
        """Write an index anew: where it grew, SQLite moved entries between pages, and left copies in the gaps."""
        with our_errors():
            self._connection.execute(f"REINDEX {index}")

    def _purge_bodies(self, choice: str, parameters: tuple[int, ...]) -> int:
        with self._transaction():
            chosen = [(row[0],) for row in self._connection.execute(choice, parameters)]
            self._connection.executemany("UPDATE bodies SET head = NULL, tail = NULL WHERE exchange = ?", chosen)
            self._connection.executemany("DELETE FROM pseudonyms WHERE exchange = ?", chosen)
            self._connection.executemany("UPDATE exchanges SET bodies_kept = 0 WHERE seq = ?", chosen)
        return len(chosen)
