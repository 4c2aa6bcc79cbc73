"""The reading side: read-only connections that run the queries of `proxy.store.query`.

A reader can never write, never checkpoints, and gives up after `TIME_LIMIT_S`: a log cannot be emptied while somebody
reads an old state of the database, so no reader may do so for long.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiosqlite
import apsw

from proxy.databases import open_database, open_database_async
from proxy.errors import StoreError
from proxy.store.query import Query

T = TypeVar("T")
TIME_LIMIT_S: Final = 2.0
"""For one query. Dashboards ask questions that take milliseconds."""
_STEPS: Final = 10_000
"""Virtual machine steps between two looks at the clock: about a millisecond."""
_BUSY_MS: Final = 1000
_PROBE: Final = Query("SELECT 1 FROM request_rows LIMIT 0", (), list[tuple[Any, ...]])
"""Fails when the file is no store, or not yet."""


class _Deadline:
    """Interrupts a query when its time is over."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ends_at = 0.0

    def restart(self) -> None:
        self._ends_at = time.monotonic() + self._limit_s

    def __call__(self) -> bool:
        return time.monotonic() > self._ends_at


class StoreReader:
    """A read-only connection for programs that may wait."""

    def __init__(self, path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        """Open the database. Raises StoreError when there is none yet or it cannot be read."""
        self._path = path
        self._deadline = _Deadline(time_limit_s)
        self._connection = open_database(path, "read", busy_ms=_BUSY_MS)
        self._connection.set_progress_handler(self._deadline, _STEPS)
        try:
            self.run(_PROBE)
        except StoreError:
            self._connection.close()
            raise

    def run(self, query: Query[T]) -> T:
        """Return the answer to a query. Raises StoreError."""
        self._deadline.restart()
        try:
            rows = self._connection.execute(query.sql, query.parameters).fetchall()
        except (apsw.Error, OverflowError, UnicodeError) as error:
            raise _our_error(self._path, error) from error
        return query.convert(rows)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStoreReader:
    """A read-only connection for programs with an event loop; a thread of its own does the waiting."""

    def __init__(self, path: Path, connection: aiosqlite.Connection, deadline: _Deadline) -> None:
        """Use `open` instead."""
        self._path = path
        self._connection = connection
        self._deadline = deadline

    @classmethod
    async def open(cls, path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> Self:
        """Open the database. Raises StoreError when there is none yet or it cannot be read."""
        # Asked first, because a failing `connect` leaves a thread behind that may outlive the event loop.
        if not await asyncio.to_thread(path.is_file):
            raise StoreError(f"{path.name}: unable to open database file: there is none yet")
        deadline = _Deadline(time_limit_s)
        connection = await open_database_async(path, "read", busy_ms=_BUSY_MS)
        reader = cls(path, connection, deadline)
        try:
            await connection.set_progress_handler(deadline, _STEPS)
            await reader.run(_PROBE)
        except StoreError:
            await reader.close()
            raise
        return reader

    async def run(self, query: Query[T]) -> T:
        """Return the answer to a query. Raises StoreError."""
        self._deadline.restart()
        try:
            rows = await self._connection.execute_fetchall(query.sql, query.parameters)
        except (apsw.Error, OverflowError, UnicodeError) as error:
            raise _our_error(self._path, error) from error
        return query.convert([tuple(row) for row in rows])

    async def close(self) -> None:
        """Close the connection and end its thread."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _our_error(path: Path, error: Exception) -> StoreError:
    if "interrupt" in str(error).lower():
        return StoreError(f"{path.name}: the question took too long: narrow it")
    return StoreError(f"{path.name}: {error}")
