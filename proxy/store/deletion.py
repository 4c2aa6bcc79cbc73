"""Deletion: everything that was said by or about one user, session or key, taken out of the database.

By default the numbers stay, because somebody pays by them: time, model, tokens and cost of each request, without
anything that says whose it was or what it was about. With `rows` the rows go, too. Counters and budgets are sums of what
happened and never change.

The work is done in slices, so that recording goes on beside it; `compact` then overwrites what SQLite leaves of deleted
content: in the log, in free pages and in the gaps inside pages from which rows were moved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import apsw
import msgspec

from proxy.clock import SYSTEM
from proxy.errors import StoreError
from proxy.failpoints import failpoint
from proxy.store.faults import our_errors
from proxy.store.rollups import Rollups
from proxy.store.text import Value
from proxy.store.words import Words

SLICE: Final = 200
"""Rows at a time: some ten milliseconds with their bodies."""
ERASED: Final = "erased"
"""What `privacy` says of a row whose texts were taken out."""
_SETTLED_MS: Final = 26 * 3_600_000
"""After so long no reservation is open any more that the ledger could ask about."""
_COMPACT_BYTES: Final = 1024**3
"""A larger file is not rewritten while recording waits for it."""
_EMPTY: Final[dict[str, str]] = {
    "user": "NULL",
    "session": "NULL",
    "trace_id": "NULL",
    "parent_id": "NULL",
    "environment": "NULL",
    "tags": "'{}'",
    "path": "''",
    "prompt_name": "NULL",
    "prompt_version": "NULL",
    "error_message": "NULL",
    "response_id": "NULL",
    "tool_calls": "'[]'",
    "usage": "NULL",
    "bodies_kept": "0",
}
"""Columns that hold words of strangers, and what is left of them."""
_NO_WHOLE_BODY: Final[dict[str, str]] = {
    "headers": "'[]'",
    "sha256": "x''",
    "head": "NULL",
    "tail": "NULL",
    "edit": "''",
}
_NO_PAYLOAD: Final[dict[str, str]] = {
    "request_sha256": "x''",
    "response_sha256": "x''",
    "head_pieces": "NULL",
    "heads": "NULL",
    "pieces": "NULL",
    "contents": "NULL",
}
_LEFT: Final = (
    ("exchanges", "seq", _EMPTY),
    ("payloads", "exchange", _NO_PAYLOAD),
    ("whole_bodies", "exchange", _NO_WHOLE_BODY),
    ("bodies", "exchange", _NO_WHOLE_BODY),
)
"""Tables of this and of earlier versions, by which column a request is found in them, and what is left there."""
_REPLAYS: Final = """
SELECT seq FROM exchanges WHERE key >= 'playground.' AND key < 'playground/' AND EXISTS (
    SELECT 1 FROM exchanges AS original WHERE original.id = json_extract(exchanges.tags, '$.replay_of') AND {}
)
"""
"""Requests of the playground that say again what others said; they are of whoever sent them, and go with the others."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Whose records are meant: all that fit everything that is said."""

    user: str | None = None
    session: str | None = None
    key: str | None = None
    before_ms: int | None = None
    """Requests that started before; None: all."""
    rows: bool = False
    """The rows go, too."""

    @property
    def is_empty(self) -> bool:
        """Say whether nobody is named."""
        return self.user is None and self.session is None and self.key is None


class Names(msgspec.Struct, frozen=True):
    """A name and the pseudonyms under which it may be stored."""

    user: tuple[str, ...] = ()
    session: tuple[str, ...] = ()


class Deletion:
    """Deletes in the database of one writer."""

    def __init__(
        self,
        connection: apsw.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        clock_ms: Callable[[], int] = SYSTEM.wall_ms,
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._clock_ms = clock_ms
        self._rollups = Rollups(connection)
        self._words = Words(connection)

    def erase(self, selection: Selection, names: Names, limit: int = SLICE) -> tuple[int, int]:
        """Deal with up to `limit` requests; return how many were emptied and how many rows deleted. Both 0: done."""
        where, values = condition(selection, names)
        with self._transaction():
            doomed = self._doomed(where, values, limit) if selection.rows else []
            others = f"{where} AND seq NOT IN ({_listed(doomed)}) AND instr(privacy, ?) = 0"
            chosen = self._chosen(others, (*values, ERASED), limit - len(doomed))
            # Also of what was erased before: a replay may have been under way meanwhile.
            replays = _REPLAYS.format(
                f"(original.seq IN ({_listed([*doomed, *chosen])}) OR instr(original.privacy, ?))"
            )
            again = [_number(seq) for (seq,) in self._connection.execute(replays, (ERASED,))]
            chosen += sorted({*again} - {*doomed, *chosen})
            with self._rollups.following(f"seq IN ({_listed([*doomed, *chosen])})", ()):
                _empty(self._connection, [(seq,) for seq in (*doomed, *chosen)])
            self._words.remove([*doomed, *chosen])
            if doomed or chosen:
                self._words.begin_sweep()
            self._connection.executemany(
                "UPDATE exchanges SET privacy = ltrim(privacy || ',' || ?1, ',') WHERE seq = ?2",
                [(ERASED, seq) for seq in chosen],
            )
            self._rollups.part_with(doomed)
            self._connection.execute(f"DELETE FROM exchanges WHERE seq IN ({_listed(doomed)})")  # noqa: S608 (numbers)
        return len(chosen), len(doomed)

    def _doomed(self, where: str, values: Sequence[Value], limit: int) -> list[int]:
        """Return rows to delete, also such as were emptied before, but those the ledger may still ask about."""
        return self._chosen(
            f"{where} AND pending_id IS NULL AND (is_reserved = 0 OR started_at < ?)",
            (*values, self._clock_ms() - _SETTLED_MS),
            limit,
        )

    def _chosen(self, where: str, values: Sequence[Value], limit: int) -> list[int]:
        sql = f"SELECT seq FROM exchanges WHERE {where} LIMIT ?"  # noqa: S608 (constants)
        return [_number(seq) for (seq,) in self._connection.execute(sql, (*values, limit))]

    def sweep(self) -> bool:
        """Write a part of the full-text index anew, without what was deleted; return whether there is more."""
        with self._transaction():
            return self._words.sweep()

    def compact(self, *, is_bounded: bool, patience_s: float = 10.0) -> list[str]:
        """Overwrite what is left of deleted content; return in words what could not be reached. Raises StoreError.

        `is_bounded`: recording waits for it, so a large file is left as it is.
        """
        missed = []
        while self.sweep():
            pass
        with our_errors():
            pages, page_bytes = (_number(self._connection.pragma(name)) for name in ("page_count", "page_size"))
            if is_bounded and pages * page_bytes > _COMPACT_BYTES:
                missed.append(
                    "records.db: copies of rows that SQLite moved between pages may be left in the gaps of other pages:"
                    " the file is too large to be rewritten while requests are recorded; stop Glassline and prune again"
                )
            else:
                self._connection.execute("DELETE FROM torn_pieces; VACUUM")
            if not _empty_log(self._connection, patience_s):
                missed.append("records.db-wal: somebody was reading the database all the time: prune again")
        return missed


def count(connection: apsw.Connection, selection: Selection, names: Names) -> int:
    """Return how many requests a selection is about."""
    where, values = condition(selection, names)
    with our_errors():
        return _number(
            next(
                iter(
                    connection.execute(
                        f"SELECT count(*) FROM exchanges WHERE {where} AND instr(privacy, ?) = 0",  # noqa: S608 (constants)
                        (*values, ERASED),
                    )
                )
            )[0]
        )


def erase_copy(connection: apsw.Connection, selection: Selection, names: Names) -> int:
    """Take the selection out of a copy of the database, of whatever version; return how many requests it was about."""
    where, values = condition(selection, names)
    with our_errors():
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise StoreError("it is damaged, so that nobody can tell what it holds: delete the file")
        connection.pragma("secure_delete", 1)
        connection.pragma("foreign_keys", 1)
        connection.pragma("recursive_triggers", 1)
        with connection:
            chosen = connection.execute(f"SELECT seq FROM exchanges WHERE {where}", values).fetchall()  # noqa: S608 (constants)
            _forget(connection, [(seq,) for seq in _with_replays(connection, [_number(seq) for (seq,) in chosen])])
            if selection.rows:
                connection.executemany("DELETE FROM exchanges WHERE seq = ? AND is_reserved = 0", chosen)
            if chosen:  # whoever dies before the end leaves this: the next one finds no such rows any more
                connection.execute("CREATE TABLE IF NOT EXISTS unswept (at)")
        failpoint("deletion.before_vacuum")
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'unswept'").fetchall():
            connection.execute("VACUUM")
            connection.execute("DROP TABLE unswept")
        _empty_log(connection, 10.0)
    return len(chosen)


def condition(selection: Selection, names: Names) -> tuple[str, list[Value]]:
    """Return what rows a selection is about, as SQL and its values."""
    parts: list[str] = []
    values: list[Value] = []
    for column, wanted in (("user", names.user), ("session", names.session)):
        if wanted:
            parts.append(f'"{column}" IN ({", ".join("?" * len(wanted))})')
            values.extend(wanted)
    if selection.key is not None:
        parts.append("key = ?")
        values.append(selection.key)
    if not parts:
        raise ValueError("a selection that names nobody is about everybody")
    if selection.before_ms is not None:
        parts.append("started_at < ?")
        values.append(selection.before_ms)
    return " AND ".join(parts), values


@contextmanager
def spilling_into(folder: str) -> Iterator[None]:
    """Let SQLite put what a rewrite of a database needs for a moment beside the database, where it is private."""
    before = os.environ.get("SQLITE_TMPDIR")
    os.environ["SQLITE_TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["SQLITE_TMPDIR"]
        else:
            os.environ["SQLITE_TMPDIR"] = before


def _with_replays(connection: apsw.Connection, seqs: Sequence[int]) -> list[int]:
    """Return rows with those that say again what they said, and so on."""
    found, new = dict.fromkeys(seqs), list(seqs)
    while new:
        replays = _REPLAYS.format(f"original.seq IN ({_listed(new)})")
        rows = connection.execute(replays)
        new = [seq for seq in (_number(seq) for (seq,) in rows) if seq not in found]
        found |= dict.fromkeys(new)
    return list(found)


def _forget(connection: apsw.Connection, chosen: Sequence[tuple[Value, ...]]) -> None:
    """Empty rows of a copy, and whatever was made of them, as far as its version has that."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'rollups'").fetchall():
        _empty(connection, chosen)
        return
    seqs = [_number(seq) for (seq,) in chosen]
    with Rollups(connection).following(f"seq IN ({_listed(seqs)})", ()):
        _empty(connection, chosen)
    Words(connection).remove(seqs)
    connection.execute("INSERT INTO texts (texts) VALUES ('optimize')")


def _empty(connection: apsw.Connection, chosen: Sequence[tuple[Value, ...]]) -> None:
    """Leave nothing of rows but their numbers; columns that an older database lacks have nothing to lose."""
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table, place, columns in _LEFT:
        if table not in tables:
            continue
        there = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
        settings = ", ".join(f'"{name}" = {value}' for name, value in columns.items() if name in there)
        connection.executemany(f"UPDATE {table} SET {settings} WHERE {place} = ?", chosen)  # noqa: S608 (constants)
    if "pseudonyms" in tables:
        connection.executemany("DELETE FROM pseudonyms WHERE exchange = ?", chosen)
    if "feedback" in tables:
        by_id = "DELETE FROM feedback WHERE request = (SELECT id FROM exchanges WHERE seq = ?)"
        connection.executemany(by_id, chosen)


def _empty_log(connection: apsw.Connection, patience_s: float) -> bool:
    """Copy the log into the database and cut it to nothing; False: a reader was in the way for all that time."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _number(value: object) -> int:
    return int(str(value))
