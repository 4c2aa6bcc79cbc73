"""Databases as earlier versions of this program left them, made from the migrations they had."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import apsw

from proxy.migrations import migration_files
from proxy.upgrade import MIGRATIONS

DATABASES = tuple(MIGRATIONS)
_TABLE = """CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))) STRICT"""


def newest_of(name: str) -> int:
    """Return the newest version of a database."""
    return max(migration_files(files("proxy") / MIGRATIONS[name] / "migrations"))


def at_version(path: Path, version: int) -> str:
    """Make a database of that version, with something in it; return its dump."""
    connection = apsw.Connection(str(path))
    if path.name == "records.db":
        connection.pragma("page_size", 16384)
        connection.pragma("auto_vacuum", 2)
    connection.execute(_TABLE)
    for number, file in sorted(migration_files(files("proxy") / MIGRATIONS[path.name] / "migrations").items()):
        if number <= version:
            connection.execute(file.read_text(encoding="utf-8"))
            connection.execute("INSERT INTO migrations (number, name) VALUES (?, ?)", (number, file.name))
    if path.name == "ledger.db":
        connection.execute(
            "INSERT INTO accounts (budget, scope, window_start_ms, is_hard, limit_nano_usd, granted_nano_usd,"
            " spent_nano_usd) VALUES ('everything', '', 0, 1, 1000, 1000, 700)"
        )
    if path.name == "records.db":
        connection.execute("INSERT INTO counters (name, labels, value) VALUES ('glassline_requests_total', '{}', 42)")
    connection.pragma("journal_mode", "wal")
    connection.close()
    path.chmod(0o600)
    return dump(path)


def dump(path: Path) -> str:
    """Return everything in a database but when its migrations were applied."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
        tables = [str(name) for kind, name, _ in schema if kind == "table" and not str(name).startswith("sqlite_")]
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}  # noqa: S608
        return repr((schema, rows))
    finally:
        connection.close()
