from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StoreError
from proxy.store import AsyncStoreReader, SqliteStore, StoreReader, query
from proxy.store.overview import overview
from proxy.store.query import Query
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD, START_MS, make_begin, make_end, make_record

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 60 requests over two days, many in the same millisecond, recorded in no order."""
    path = tmp_path_factory.mktemp("store") / "records.db"
    order = list(range(60))
    random.Random(7).shuffle(order)
    with closing(SqliteStore(path)) as store:
        for index in order:
            begin = make_begin(
                id=f"id-{index:03d}",
                started_at_ms=START_MS + index // 10 * (DAY_MS // 4),
                key="search" if index % 3 else "chat",
                user=f"user-{index % 4}",
            )
            store.write([make_record(begin)], {})
        unpriced = make_begin(id="unpriced", upstream="local", provider=None, key="local", started_at_ms=START_MS)
        store.write([make_record(unpriced)], {})
    return path


@pytest.fixture
def reader(path: Path) -> Iterator[StoreReader]:
    with StoreReader(path) as reader:
        yield reader


def test_pages_show_every_request_once_newest_first(reader: StoreReader) -> None:
    page = reader.run(query.page(limit=7))
    seen = list(page.rows)
    while page.cursor is not None:
        page = reader.run(query.page(limit=7, after=page.cursor))
        seen += page.rows
    assert len({row.id for row in seen}) == len(seen) == 61
    assert seen == sorted(seen, key=lambda row: (row.started_at, row.seq), reverse=True)


def test_a_page_is_bounded(reader: StoreReader) -> None:
    assert len(reader.run(query.requests(limit=10**9))) == 61
    assert query.requests_after(0, limit=10**9).parameters[-1] == query.MAX_ROWS
    assert reader.run(query.requests(limit=-1)) == []


def test_a_follower_sees_rows_in_the_order_of_recording(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store, StoreReader(path) as reader:
        assert reader.run(query.newest_seq()) == 0
        store.write([make_record(make_begin(id="a", started_at_ms=START_MS + 9))], {})
        seq = reader.run(query.newest_seq())
        store.write([make_record(make_begin(id="b")), make_record(make_begin(id="c"))], {})
        assert [row.id for row in reader.run(query.requests_after(seq))] == ["b", "c"]
        # A follower must not miss a row because the newest ones were deleted meanwhile.
        store.retention.purge_records(START_MS + 100, 500)
        store.write([make_record(make_begin(id="d"))], {})
        assert [row.id for row in reader.run(query.requests_after(seq + 2))] == ["d"]


def test_a_request_is_found_by_id_or_by_its_unique_beginning(reader: StoreReader) -> None:
    whole = reader.run(query.request("id-042"))
    assert whole is not None
    assert whole.id == "id-042"
    assert reader.run(query.request("id-04x")) is None
    assert reader.run(query.request("unp")) is not None
    with pytest.raises(query.AmbiguousIdError, match="id-04"):
        reader.run(query.request("id-04"))


def test_a_whole_id_wins_over_longer_ones_that_begin_with_it(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write([make_record(make_begin(id=name)) for name in ("abc", "abcd", "abcde")], {})
    with StoreReader(path) as reader:
        found = reader.run(query.request("abc"))
    assert found is not None
    assert found.id == "abc"


def test_costs_are_summed_exactly_by_group(reader: StoreReader) -> None:
    end = START_MS + 10 * DAY_MS
    by_key = {row.group: row for row in reader.run(query.costs(["key"], from_ms=START_MS, to_ms=end))}
    assert by_key["search",].cost_nano_usd == 40 * ANSWER_NANO_USD
    assert by_key["chat",].requests == 20
    local = by_key["local",]
    assert (local.cost_nano_usd, local.unpriced, local.input_tokens) == (0, 1, 1000)
    (total,) = reader.run(query.costs([], from_ms=START_MS, to_ms=end))
    assert (total.group, total.requests, total.cost_nano_usd) == ((), 61, 60 * ANSWER_NANO_USD)
    days = reader.run(query.costs(["day", "user"], from_ms=START_MS, to_ms=end))
    assert sum(row.requests for row in days) == 61
    assert {row.group[0] for row in days} == {"2026-09-21", "2026-09-22"}
    (first,) = reader.run(query.costs([], from_ms=START_MS, to_ms=START_MS + 1))
    assert first.requests == 11


def test_an_overview_counts_errors_and_what_has_no_price(reader: StoreReader) -> None:
    total = reader.run(overview(START_MS, START_MS + 50 * DAY_MS, "day")).total
    assert (total.requests, total.errors, total.unpriced) == (61, 0, 1)
    assert reader.run(overview(START_MS + 100 * DAY_MS, START_MS + 101 * DAY_MS)).total.requests == 0


async def test_the_asynchronous_reader_gives_the_same_answers(path: Path, reader: StoreReader) -> None:
    async with await AsyncStoreReader.open(path) as asynchronous:
        assert await asynchronous.run(query.requests()) == reader.run(query.requests())
        assert await asynchronous.run(query.counters()) == reader.run(query.counters())
        assert await asynchronous.run(query.histograms()) == reader.run(query.histograms())
        body = await asynchronous.run(query.body("id-001", "response"))
        assert body is not None
        assert body.head == ANSWER


def test_a_reader_cannot_write(reader: StoreReader) -> None:
    with pytest.raises(StoreError, match="readonly"):
        reader.run(Query("DELETE FROM exchanges", (), list))


async def test_a_store_that_does_not_exist_yet_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    missing = tmp_path / "records.db"
    with pytest.raises(StoreError, match="unable to open"):
        StoreReader(missing)
    with pytest.raises(StoreError, match="unable to open"):
        await AsyncStoreReader.open(missing)
    missing.write_bytes(b"")
    with pytest.raises(StoreError, match="no such table"):
        StoreReader(missing)
    assert missing.stat().st_size == 0


ENDLESS: Query[Any] = Query(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", (), list
)


async def test_a_question_that_takes_too_long_is_given_up(path: Path) -> None:
    with StoreReader(path, time_limit_s=0.1) as reader:
        with pytest.raises(StoreError, match="too long"):
            reader.run(ENDLESS)
        assert len(reader.run(query.requests(limit=5))) == 5
    async with await AsyncStoreReader.open(path, time_limit_s=0.1) as asynchronous:
        with pytest.raises(StoreError, match="too long"):
            await asyncio.wait_for(asynchronous.run(ENDLESS), 30)
        page = await asynchronous.run(query.requests(limit=5))
    assert len(page) == 5


async def test_a_question_that_nobody_waits_for_is_interrupted(path: Path) -> None:
    async with await AsyncStoreReader.open(path, time_limit_s=60) as reader:
        asked = asyncio.create_task(reader.run(ENDLESS))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        page = await asyncio.wait_for(reader.run(query.requests(limit=5)), 10)
    assert len(page) == 5


def test_an_error_is_listed_with_its_status(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    error = b'{"error":{"message":"slow down","type":"rate_limit","code":"rate_limit_exceeded"}}'
    with closing(SqliteStore(path)) as store:
        store.write([make_record(end=make_end(error, status=429), response=error)], {})
    with StoreReader(path) as reader:
        (row,) = reader.run(query.requests())
    assert (row.status, row.error_message, row.cost_nano_usd, row.usage_source) == (429, "slow down", 0, "none")
    assert row.error_code in ("rate_limit", "rate_limit_exceeded")
