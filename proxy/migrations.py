"""Numbered SQL files, applied once each, in order, in one transaction with the row that records them.

Files are named `0001_what.sql` and are append-only: a file that was released is never edited. A database that holds a
number this program does not know was written by a newer one and is refused, untouched.
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from typing import Final

import apsw

from proxy.errors import StoreDamaged, StoreError
from proxy.failpoints import failpoint

_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
) STRICT
"""


def migrate(connection: apsw.Connection, directory: Traversable) -> int:
    """Apply what `directory` holds and the database lacks; return the number of the newest migration.

    Raises StoreError when the database is newer than the files, damaged or locked.
    """
    files = migration_files(directory)
    newest = max(files, default=0)
    try:
        applied = applied_numbers(connection)
        if max(applied, default=0) > newest:
            raise StoreError(
                f"the database is at version {max(applied)}, this program knows {newest}: use a newer Glassline"
            )
        for number in sorted(files.keys() - applied):
            _apply(connection, number, files[number])
    except apsw.Error as error:
        is_damaged = isinstance(error, apsw.CorruptError | apsw.NotADBError)
        kind = StoreDamaged if is_damaged else StoreError
        raise kind(f"the database cannot be migrated: {error}") from error
    return newest


def migration_files(directory: Traversable) -> dict[int, Traversable]:
    """Return the migrations of `directory` by number."""
    found = {}
    for file in directory.iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            found[int(match[1])] = file
    return found


def applied_numbers(connection: apsw.Connection) -> set[int]:
    """Return the numbers of the migrations that the database holds."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'")
    if not known.fetchall():
        return set()
    return {int(str(number)) for (number,) in connection.execute("SELECT number FROM migrations")}


def _apply(connection: apsw.Connection, number: int, file: Traversable) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_TABLE)
        connection.execute(file.read_text(encoding="utf-8"))
        connection.execute("INSERT INTO migrations (number, name) VALUES (?, ?)", (number, file.name))
        failpoint("migrations.before_commit")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    failpoint("migrations.after_commit")
