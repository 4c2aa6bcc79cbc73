"""Retention: what is too old, or too much, goes; in small batches, so that recording goes on beside it.

Bodies go first, records later; above the size limit the oldest bodies go whatever their age. The file shrinks with them:
free pages are given back to the file system, a few at a time. What was deleted is overwritten, also where an index keeps
copies of it, and the log, which holds older states of pages, is cut when a purge is through.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import apsw
import msgspec

from proxy.store.faults import our_errors
from proxy.store.feedback import FeedbackWriter
from proxy.store.rollups import Rollups
from proxy.store.words import Words

BATCH: Final = 500
"""Rows at a time: a few milliseconds."""
_NAMING: Final = ("exchanges_by_user", "exchanges_by_session", "exchanges_by_trace", "rollups_by_place")
"""Indexes whose entries may name somebody; a million of them are rebuilt in a second."""
_GROWING: Final = ("sessions", "feedback")
"""Tables of names and texts whose rows grow or go one by one, so that SQLite moves them."""
_WRITE_ANEW: Final = {
    name: f"CREATE TABLE anew AS SELECT * FROM {name}; DELETE FROM {name}; INSERT INTO {name} SELECT * FROM anew;"  # noqa: S608 (constants)
    " DROP TABLE anew"
    for name in _GROWING
}
_BLOCK: Final = 256
"""Ids of pieces, see `torn_pieces`."""
_MARGIN: Final = 150
"""Pieces before and after a block that are on the same pages: these hold a hundred, and rarely more."""
_MOST_MENDED: Final = 16 * 1024 * 1024
"""Bytes of pieces that are written anew at a time; among more of them only the small ones, which move between pages."""
_SMALL: Final = 16 * 1024
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
        self._rollups = Rollups(connection)
        self._words = Words(connection)
        self._feedback = FeedbackWriter(connection)
        # What an earlier writer deleted before it died may have left copies as well.
        self._is_sweeping = self._words.must_sweep()
        self._stale = [*_NAMING, *_GROWING] if self._is_sweeping else []
        self._tidied_ms = 0
        self._must_cut_log = True  # an earlier writer may have died before it could

    def purge(self, policy: RetentionPolicy, now_ms: int, limit: int = BATCH) -> Purged:
        """Delete one batch of what is too old or too much. Raises StoreError."""
        old_bodies, old_records = (now_ms - int(seconds * 1000) for seconds in (policy.bodies, policy.records))
        records = self.purge_records(old_records, limit)
        # While there are more of those, the oldest bodies are theirs and go with them.
        bodies = self.purge_bodies(old_bodies, limit) if records < limit else 0
        if self.size_bytes() > policy.max_size_gb * _GIGABYTE:
            bodies = max(bodies, self.purge_oldest_bodies(limit))
        feedback = self._purge_feedback(old_bodies, old_records, limit)
        most = max(records, bodies, feedback)
        self._must_cut_log |= most > 0
        is_more = most >= limit
        if most and now_ms - self._tidied_ms >= _TIDY_EVERY_MS:
            self._stale, self._is_sweeping, self._tidied_ms = [*_NAMING, *_GROWING], True, now_ms
            self._words.begin_sweep()
        is_more |= self.release_pages(limit)
        return Purged(records, bodies, is_more or self._tidy())

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
            chosen = self._connection.execute(
                "SELECT seq FROM exchanges WHERE started_at < ? ORDER BY started_at LIMIT ?", (before_ms, limit)
            ).fetchall()
            seqs = [int(str(seq)) for (seq,) in chosen]
            self._rollups.part_with(seqs)
            self._words.remove(seqs)
            self._connection.executemany("DELETE FROM exchanges WHERE seq = ?", chosen)
            return len(chosen)

    def _purge_feedback(self, comments_before_ms: int, before_ms: int, limit: int) -> int:
        """Delete feedback that is too old and not deleted with its request; return how many rows that were at most."""
        with self._transaction():
            return self._feedback.purge(comments_before_ms, before_ms, limit)

    def release_pages(self, pages: int) -> bool:
        """Give up to `pages` free pages back to the file system; return whether there were more."""
        with our_errors():
            before = self._count("freelist_count")
            if before:
                self._connection.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall()
            return 0 < self._count("freelist_count") < before

    def size_bytes(self) -> int:
        """Return the size of what is stored, free pages left out."""
        with our_errors():
            return (self._count("page_count") - self._count("freelist_count")) * self._page_bytes

    def _tidy(self) -> bool:
        """Do the next thing that is due when all is deleted; return whether there is more to do."""
        if self._stale or self._is_sweeping:
            if self._stale:
                self._rebuild(self._stale.pop())
            self._is_sweeping = self._is_sweeping and self._sweep()
            return True
        if self._mend():
            return True
        if self._must_cut_log:
            self._must_cut_log = not self._cut_log()
        return False

    def _mend(self) -> bool:
        """Write the pieces around deleted ones anew, so that the gaps of their pages are empty; return whether any was."""
        execute = self._connection.execute
        with self._transaction():
            block = execute("SELECT min(block) FROM torn_pieces").get
            if block is None:
                return False
            first = int(str(block)) * _BLOCK
            window = (first - _MARGIN, first + _BLOCK + _MARGIN)
            total = execute("SELECT total(length(data)) FROM pieces WHERE id BETWEEN ? AND ?", window).get
            most = _SMALL if float(str(total)) > _MOST_MENDED else _MOST_MENDED
            some = (*window, most)
            rows = execute("SELECT * FROM pieces WHERE id BETWEEN ? AND ? AND length(data) <= ?", some).fetchall()
            execute("DELETE FROM pieces WHERE id BETWEEN ? AND ? AND length(data) <= ?", some)
            self._connection.executemany("INSERT INTO pieces VALUES (?, ?, ?, ?, ?)", rows)
            execute("DELETE FROM torn_pieces WHERE block = ?", (block,))
        return True

    def _cut_log(self) -> bool:
        """Copy the log into the database and cut it to nothing; False: somebody is reading, so it has to wait."""
        with our_errors():
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
        return True

    def _sweep(self) -> bool:
        """Write a part of the full-text index anew, without what was deleted; return whether there is more."""
        with self._transaction():
            return self._words.sweep()

    def _rebuild(self, name: str) -> None:
        """Write an index or a table anew: where it grew, SQLite moved entries between pages, and left copies in the gaps."""
        if name in _GROWING:
            with self._transaction():
                self._connection.execute(_WRITE_ANEW[name])
            return
        with our_errors():
            self._connection.execute(f"REINDEX {name}")

    def _count(self, pages: str) -> int:
        return int(str(self._connection.pragma(pages)))

    def _purge_bodies(self, choice: str, parameters: tuple[int, ...]) -> int:
        with self._transaction():
            chosen = [(row[0],) for row in self._connection.execute(choice, parameters)]
            self._words.remove([int(str(seq)) for (seq,) in chosen])
            self._connection.executemany(
                "UPDATE payloads SET pieces = NULL, contents = NULL WHERE exchange = ?", chosen
            )
            self._connection.executemany("UPDATE whole_bodies SET head = NULL, tail = NULL WHERE exchange = ?", chosen)
            self._connection.executemany("DELETE FROM pseudonyms WHERE exchange = ?", chosen)
            self._connection.executemany("UPDATE exchanges SET bodies_kept = 0 WHERE seq = ?", chosen)
        return len(chosen)
