from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from proxy.errors import StoreBusy, StoreError
from proxy.store import SqliteStore, pool, query
from proxy.store.pool import ReaderPool
from tests.recorder.builders import make_begin, make_record
from tests.store.test_reading import ENDLESS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write([make_record(make_begin(id="one"))], {})
    return path


def threads() -> int:
    """Return how many readers are open: each has a thread."""
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())


async def ids(readers: ReaderPool) -> list[str] | None:
    async with readers.reader() as reader:
        return [row.id for row in await reader.run(query.requests())] if reader else None


async def test_a_reader_is_used_again_and_closed_when_nobody_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.2)
    before = threads()
    readers = ReaderPool(path)
    async with readers.reader() as first:
        pass
    async with readers.reader() as second, readers.reader() as third:
        assert second is first
        assert third is not first
    for _ in range(100):
        if threads() == before:
            break
        await asyncio.sleep(0.05)
    assert threads() == before


def test_no_thread_outlives_the_event_loop(path: Path) -> None:
    before = threads()
    readers = ReaderPool(path)
    assert asyncio.run(ids(readers)) == ["one"]
    assert threads() == before
    assert asyncio.run(ids(readers)) == ["one"], "and in the next one it works again"


async def test_a_store_that_is_made_replaced_or_deleted_is_noticed_at_once(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    readers = ReaderPool(other)
    assert await ids(readers) is None
    with closing(SqliteStore(other)) as store:
        assert await ids(readers) == []
        store.write([make_record(make_begin(id="two"))], {})
    assert await ids(readers) == ["two"]
    await asyncio.to_thread(path.rename, other)
    assert await ids(readers) == ["one"]
    await asyncio.to_thread(other.unlink)
    assert await ids(readers) is None


async def test_a_file_that_is_no_store_is_an_error_and_the_next_question_is_answered(path: Path) -> None:
    good = path.with_name("good.db")
    await asyncio.to_thread(path.rename, good)
    await asyncio.to_thread(path.write_bytes, b"x" * 4096)
    readers = ReaderPool(path)
    with pytest.raises(StoreError):
        await ids(readers)
    await asyncio.to_thread(good.rename, path)
    assert await ids(readers) == ["one"]


async def test_who_finds_every_reader_taken_waits_for_a_moment_and_is_then_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_S", 0.2)
    readers = ReaderPool(path, readers=2)
    async with AsyncExitStack() as taken:
        await taken.enter_async_context(readers.reader())
        last = readers.reader()
        await last.__aenter__()
        with pytest.raises(StoreBusy, match="take long"):
            await ids(readers)
        waiting = asyncio.create_task(ids(readers))
        await asyncio.sleep(0.05)
        await last.__aexit__(None, None, None)
        assert await waiting == ["one"]


async def test_a_crowd_is_sent_away_at_once(path: Path) -> None:
    readers = ReaderPool(path, readers=1)
    async with readers.reader():
        crowd = [asyncio.create_task(ids(readers)) for _ in range(pool.WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy, match="too many"):
            await ids(readers)
    assert await asyncio.gather(*crowd) == [["one"]] * pool.WAITING


async def test_a_question_that_is_cancelled_leaves_its_place_to_others(path: Path) -> None:
    readers = ReaderPool(path, readers=1, time_limit_s=60)

    async def ask() -> None:
        async with readers.reader() as reader:
            assert reader is not None
            await reader.run(ENDLESS)

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0.2)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await asyncio.wait_for(ids(readers), 10) == ["one"]
