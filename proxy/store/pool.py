"""A few readers that are lent for one question after the other.

To open a database takes longer than to ask most questions. Readers that nobody wanted for a while are closed, so that a
store at rest is held open by nobody; a store that was made, replaced or deleted meanwhile is noticed at once. There are
never more than `READERS`: who comes then waits a moment, and is told when that will not do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from proxy.errors import StoreBusy
from proxy.store.reading import TIME_LIMIT_S, AsyncStoreReader

READERS: Final = 4
"""As many questions use as many cores; more would only wait for each other."""
WAITING: Final = 16
WAIT_S: Final = 2.0
IDLE_S: Final = 2.0
_Identity = tuple[int, int]


class ReaderPool:
    """Lends readers of one store, in one event loop."""

    def __init__(self, path: Path, *, readers: int = READERS, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._path = path
        self._time_limit_s = time_limit_s
        self._turns = asyncio.Semaphore(readers)
        self._most = readers + WAITING
        self._asking = 0
        self._idle: list[AsyncStoreReader] = []
        self._identity: _Identity | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._was_used = False

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncStoreReader | None]:
        """Lend a reader for a few questions; None: there is no store yet. Raises StoreBusy and StoreError."""
        async with self._turn():
            identity = self._look()
            if identity is None:
                yield None
                return
            if identity != self._identity:
                self._identity = identity
                await self._close_idle()
            reader = self._idle.pop() if self._idle else await self._open()
            try:
                yield reader
            except BaseException:
                await reader.close()  # it may still be busy, or look at a damaged file
                raise
            await self._give_back(reader, identity)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._asking >= self._most:
            raise StoreBusy("too many questions at once: ask again in a moment")
        self._asking += 1
        try:
            try:
                await asyncio.wait_for(self._turns.acquire(), WAIT_S)
            except TimeoutError:
                raise StoreBusy("other questions take long: ask again in a moment") from None
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._asking -= 1

    def _look(self) -> _Identity | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    async def _open(self) -> AsyncStoreReader:
        return await AsyncStoreReader.open(self._path, time_limit_s=self._time_limit_s)

    async def _give_back(self, reader: AsyncStoreReader, identity: _Identity) -> None:
        if identity != self._identity:
            await reader.close()
            return
        self._idle.append(reader)
        self._was_used = True
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Close the readers when nobody asks any more, or when the event loop ends."""
        try:
            while self._was_used:
                self._was_used = False
                await asyncio.sleep(IDLE_S)
        finally:
            await self._close_idle()

    async def _close_idle(self) -> None:
        while self._idle:
            with suppress(Exception):
                await self._idle.pop().close()
