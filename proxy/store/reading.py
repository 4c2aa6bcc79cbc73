"""The reading side: read-only connections that run the queries of `proxy.store.query`.

A reader can never write, never checkpoints, and gives up after `TIME_LIMIT_S`: a log cannot be emptied while somebody
reads an old state of the database, so no reader may do so for long. A plan that has found something by then returns it;
a question nobody waits for any more is interrupted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiosqlite
import apsw

from proxy.databases import open_database, open_database_async
from proxy.errors import StoreError
from proxy.store.listing import Rows, Step, TimeIsUp
from proxy.store.payloads import PayloadDamaged
from proxy.store.query import Plan, Query

T = TypeVar("T")
TIME_LIMIT_S: Final = 2.0
"""For one question. Dashboards ask questions that take milliseconds."""
_GRACE_S: Final = 0.5
"""For the rows of what a plan has found when its time is over."""
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

    def grace(self) -> None:
        self._ends_at = time.monotonic() + _GRACE_S

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

    def run(self, question: Query[T] | Plan[T]) -> T:
        """Return the answer to a question. Raises StoreError."""
        self._deadline.restart()
        try:
            return self._run(question)
        except _FAULTS as error:
            raise _our_error(self._path, error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, question: Query[T] | Plan[T]) -> T:
        if isinstance(question, Query):
            answer: T = question.convert(self._connection.execute(question.sql, question.parameters).fetchall())
            return answer
        steps: Generator[Step, Rows, T] = question.steps()
        try:
            step = next(steps)
            while True:
                try:
                    rows = self._connection.execute(*step).fetchall()
                except apsw.InterruptError:
                    self._deadline.grace()
                    step = steps.throw(TimeIsUp())
                else:
                    step = steps.send(rows)
        except StopIteration as end:
            found: T = end.value
            return found


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
        except BaseException:
            await reader.close()
            raise
        return reader

    async def run(self, question: Query[T] | Plan[T]) -> T:
        """Return the answer to a question. Raises StoreError. Cancelled, it interrupts the database."""
        self._deadline.restart()
        try:
            return await self._run(question)
        except asyncio.CancelledError:
            await self._connection.interrupt()
            raise
        except _FAULTS as error:
            raise _our_error(self._path, error) from error

    async def close(self) -> None:
        """Close the connection and end its thread."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, question: Query[T] | Plan[T]) -> T:
        if isinstance(question, Query):
            answer: T = question.convert(await self._rows(question.sql, question.parameters))
            return answer
        steps: Generator[Step, Rows, T] = question.steps()
        try:
            step = next(steps)
            while True:
                try:
                    rows = await self._rows(*step)
                except apsw.InterruptError:
                    self._deadline.grace()
                    step = steps.throw(TimeIsUp())
                else:
                    step = steps.send(rows)
        except StopIteration as end:
            found: T = end.value
            return found

    async def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.execute_fetchall(sql, parameters)]


_FAULTS: Final = (apsw.Error, OverflowError, UnicodeError, TimeIsUp, PayloadDamaged)


def _our_error(path: Path, error: Exception) -> StoreError:
    if isinstance(error, apsw.InterruptError | TimeIsUp):
        return StoreError(f"{path.name}: the question took too long: narrow it")
    return StoreError(f"{path.name}: {error}")
