"""app.db: what people change by hand. Its one writer is the holder of `run/app.lock`.

A change and the line of the audit that tells of it are one transaction.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

import apsw

from proxy.admin.identity import Identity
from proxy.clock import SYSTEM, Clock
from proxy.databases import open_database
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.locks import take_lock
from proxy.migrations import migrate
from proxy.pepper import load_pepper

_KEPT_FAILURES: Final = 10_000
"""Failed logins are written by strangers; all other lines by people who may, and stay."""
_PRUNE_EVERY: Final = 256
FAILURE: Final = "login.failed"


class AppDatabase:
    """app.db, opened for writing."""

    def __init__(self, data_dir: Path, *, clock: Clock = SYSTEM, patience_s: float = 0.0) -> None:
        """Take the lock and open the file. `patience_s`: how long to wait for another process that writes it.

        Raises EnvironmentUnusable.
        """
        self.data_dir = data_dir
        self.clock = clock
        self.pepper = load_pepper(data_dir)
        self._one_at_a_time = threading.RLock()
        self._lock = _lock(data_dir / "run" / "app.lock", patience_s)
        try:
            self._connection = _open(data_dir / "app.db")
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other thread from reading or changing."""
        with self._one_at_a_time:
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[apsw.Connection]:
        """Yield the connection inside one transaction. Raises StoreError when the disk will not have it."""
        try:
            with self._one_at_a_time, self._connection:
                yield self._connection
        except apsw.Error as error:
            raise StoreError(f"app.db: {error}") from error

    def read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a question. Raises StoreError."""
        try:
            with self._one_at_a_time:
                return self._connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise StoreError(f"app.db: {error}") from error

    def close(self) -> None:
        """Close the database and let another process write it."""
        self._connection.close()
        os.close(self._lock)


def note(connection: apsw.Connection, clock: Clock, who: Identity, action: str, subject: str) -> None:
    """Write one line of the audit, in the transaction of what it tells of."""
    connection.execute(
        "INSERT INTO audit (at_ms, actor, action, subject, address) VALUES (?, ?, ?, ?, ?)",
        (clock.wall_ms(), who.actor, action, subject, who.address),
    )
    if action == FAILURE and connection.last_insert_rowid() % _PRUNE_EVERY == 0:
        connection.execute(
            "DELETE FROM audit WHERE action = ?1 AND id <="
            " (SELECT id FROM audit WHERE action = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (FAILURE, _KEPT_FAILURES),
        )


def _open(path: Path) -> apsw.Connection:
    database = open_database(path, "write", busy_ms=2000)
    database.pragma("journal_mode", "wal")
    # A key that was handed out must not be forgotten by a power cut; this database is written by hand, not by traffic.
    database.pragma("synchronous", "full")
    # What was removed is gone from the file, too.
    database.pragma("secure_delete", "on")
    migrate(database, files("proxy.admin") / "migrations")
    return database


def _lock(path: Path, patience_s: float) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    while (lock := take_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise EnvironmentUnusable(f"{path}: another process is changing keys")
        time.sleep(0.02)
    return lock
