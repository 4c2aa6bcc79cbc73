"""Rows of `exchanges` in bulk, written past the recorder: for tests that need thousands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proxy.databases import open_database
from proxy.store import SqliteStore
from tests.recorder.builders import make_begin, make_record

Row = dict[str, Any]


def write_rows(store: SqliteStore, rows: Iterable[Row]) -> None:
    """Insert rows: the columns that are given, and those of an ordinary request."""
    template = _template(store)
    with _connection(store.path) as connection:
        for row in rows:
            whole = template | row
            marks = ", ".join("?" * len(whole))
            sql = f"INSERT INTO exchanges ({', '.join(whole)}) VALUES ({marks})"  # noqa: S608 - columns of our own
            connection.execute(sql, tuple(whole.values()))
    store.put_status({})


def write_summed(store: SqliteStore, rows: Iterable[Row]) -> None:
    """Insert rows and their roll-ups: as an upgrade would make these for rows that are older."""
    write_rows(store, rows)
    forget_roll_ups(store)
    while store.backfill_rollups():
        pass


def forget_roll_ups(store: SqliteStore) -> None:
    """Leave the database as a version without roll-ups would have."""
    for table in ("rollups", "sessions"):
        change(store.path, f"DELETE FROM {table}")  # noqa: S608 - names of our own
    change(
        store.path, "UPDATE folds SET done_seq = 0, last_seq = (SELECT max(seq) FROM exchanges) WHERE name = 'rollups'"
    )


def change(path: Path, sql: str, *values: Any) -> None:
    """Run a statement that changes rows, as another program would."""
    with _connection(path) as connection:
        connection.execute(sql, values)


def read_rows(path: Path) -> list[Row]:
    """Return every row."""
    connection = open_database(path, "read")
    names = [str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info('exchanges')")]
    rows = connection.execute(f"SELECT {', '.join(names)} FROM exchanges ORDER BY seq").fetchall()  # noqa: S608
    connection.close()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _connection(path: Path) -> Any:
    return open_database(path, "write", busy_ms=10_000)


def _template(store: SqliteStore) -> Row:
    store.write([make_record(make_begin(id="template"))], {})
    (row,) = [row for row in read_rows(store.path) if row["id"] == "template"]
    change(store.path, "DELETE FROM exchanges WHERE id = 'template'")
    return {name: value for name, value in row.items() if name not in ("seq", "id")}
