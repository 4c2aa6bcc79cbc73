"""How many requests a filter means, what they cost and when they were: the same as a look at each row says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store import SqliteStore, StoreReader, extent, query
from proxy.store.extent import Bars, Extent
from proxy.store.filter import parse_filter
from proxy.store.listing import TimeIsUp
from proxy.store.rollups import HOUR_MS, MAX_VALUES, OTHER
from tests.recorder.builders import START_MS, make_begin, make_end, make_record
from tests.store.rows import Row, read_rows, write_rows
from tests.store.test_listing import CASES, Case, Interrupted, changed, fresh, plan_of, relearned

__all__ = ["changed", "fresh", "relearned"]

MINUTE_MS = 60_000


def failed(row: Row) -> bool:
    return row["outcome"] != "completed" or (row["status"] or 0) >= 400


def counted(rows: list[Row]) -> tuple[int, int, int, int, int]:
    return (
        len(rows),
        sum(row["cost_nano_usd"] or 0 for row in rows),
        sum(row["is_unpriced"] for row in rows),
        sum(map(failed, rows)),
        sum((row["duration_us"] or 0) > extent.SLOW_US for row in rows),
    )


def sums(found: Extent) -> tuple[int, int, int, int, int]:
    return found.requests, found.cost_nano_usd, found.unpriced, found.failed, found.slow


@pytest.mark.parametrize("store", ["fresh", "changed", "relearned"])
def test_every_filter_counts_what_a_look_at_each_row_finds(store: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(store)
    rows = read_rows(path)

    @given(case=CASES, span=st.none() | st.tuples(st.integers(0, 30_000), st.integers(1, 30_000)))
    @settings(max_examples=100, deadline=None)
    def check(case: Case, span: tuple[int, int] | None) -> None:
        start, end = (START_MS + span[0], START_MS + span[0] + span[1]) if span else (None, None)
        meant = [row for row in rows if case[1](row) and (start or 0) <= row["started_at"] < (end or 2**62)]
        with StoreReader(path) as reader:
            found = reader.run(extent.extent(parse_filter(case[0]), from_ms=start, to_ms=end))
        assert (sums(found), found.is_exact, found.looked_to) == (counted(meant), True, None), case[0]

    check()


@pytest.mark.parametrize("store", ["fresh", "changed", "relearned"])
def test_bars_show_each_request_in_its_time(store: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(store)
    rows = read_rows(path)

    @given(case=CASES, first=st.integers(-10_000, 30_000), length=st.integers(1, 60_000), most=st.integers(2, 240))
    @settings(max_examples=100, deadline=None)
    def check(case: Case, first: int, length: int, most: int) -> None:
        start, end = START_MS + first, START_MS + first + length
        with StoreReader(path) as reader:
            found = reader.run(extent.bars(parse_filter(case[0]), from_ms=start, to_ms=end, most=most))
        meant = [row for row in rows if case[1](row) and start <= row["started_at"] < end]
        assert_bars(found, meant, start, end)
        assert len(found.requests) <= most

    check()


def assert_bars(found: Bars, meant: list[Row], start: int, end: int) -> None:
    places = Counter((row["started_at"] - found.start) // found.width_ms for row in meant)
    bad = Counter((row["started_at"] - found.start) // found.width_ms for row in meant if failed(row))
    bars = range(len(found.requests))
    assert found.start <= start
    assert found.start + len(bars) * found.width_ms >= end
    assert found.requests == [places[number] for number in bars]
    assert found.failed == [bad[number] for number in bars]
    assert found.looked_to is None


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    """Lend a store of three days, recorded with its sums."""
    path = tmp_path_factory.mktemp("long") / "records.db"
    chance = random.Random(8)
    records = []
    for number in range(1500):
        key = chance.choice(["a", "b", None])
        begin = make_begin(
            id=f"{number}",
            started_at_ms=START_MS + number * 3 * MINUTE_MS,
            key=key,
            prompt_name=chance.choice(["p", None]),
            prompt_version=chance.choice(["1", "2"]),
        )
        end = make_end(
            status=chance.choice([200, 200, 200, 429, 500]),
            outcome=chance.choice(["completed", "completed", "completed", "timeout"]),
            ended_us=chance.choice([10_000, 9_000_000, 20_000_000]),
        )
        records.append(make_record(begin, end))
    with closing(SqliteStore(path)) as store:
        store.write(records, {})
    with StoreReader(path) as reader:
        yield reader


@pytest.mark.parametrize("text", ["", "key:a", "prompt:p", "upstream:openai", "provider:openai", "key:nobody"])
@pytest.mark.parametrize(("first", "last"), [(0, 4500), (7, 4490), (65, 3001), (1000, 1001)])
def test_sums_say_what_rows_say(long: StoreReader, text: str, first: int, last: int) -> None:
    start, end = START_MS + first * MINUTE_MS, START_MS + last * MINUTE_MS
    where = parse_filter(text)
    assert extent.is_summed(where)
    rows = read_rows_of(long, text, start, end)
    found = long.run(extent.extent(where, from_ms=start, to_ms=end))
    assert (sums(found), found.is_exact) == (counted(rows), True)
    for most in (12, 48, 120):
        assert_bars(long.run(extent.bars(where, from_ms=start, to_ms=end, most=most)), rows, start, end)


def read_rows_of(reader: StoreReader, text: str, start: int, end: int) -> list[Row]:
    field, _, value = text.partition(":")
    column = {"prompt": "prompt_name", "": "1"}.get(field, field)
    names = ("started_at", "outcome", "status", "cost_nano_usd", "is_unpriced", "duration_us")
    sql = f"SELECT {', '.join(names)} FROM exchanges WHERE {column} = ? AND started_at >= ? AND started_at < ?"  # noqa: S608
    rows = reader.run(query.Query(sql, (value or 1, start, end), list))
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_what_the_roll_ups_do_not_name_is_counted_in_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write(
            [make_record(make_begin(id=f"{n}", environment=f"e{n}")) for n in range(MAX_VALUES + 5)],
            {},
        )
    last = f"environment:e{MAX_VALUES + 4}"
    with StoreReader(path) as reader:
        others = query.Query("SELECT count(*) FROM rollups WHERE value = ?", (OTHER,), list)
        assert reader.run(others) != [(0,)]
        assert reader.run(extent.extent(parse_filter(last), from_ms=None, to_ms=None)).requests == 1
        start, end = START_MS - 100 * HOUR_MS, START_MS + 100 * HOUR_MS
        assert sum(reader.run(extent.bars(parse_filter(last), from_ms=start, to_ms=end)).requests) == 1


def test_a_large_number_is_not_counted_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    many = extent.MOST_COUNTED + 30_000
    with closing(SqliteStore(path)) as store:
        write_rows(store, ({"id": str(n), "started_at": START_MS + n} for n in range(many)))
    with StoreReader(path) as reader:
        found = reader.run(extent.extent(parse_filter("status:200"), from_ms=None, to_ms=None))
    assert not found.is_exact
    assert extent.MOST_COUNTED < found.requests < many
    assert found.looked_to is not None
    assert found.requests == pytest.approx(START_MS + many - found.looked_to, abs=512), "all since then were counted"


def test_a_search_that_finds_only_the_newest_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("proxy.store.extent", "proxy.store.search"):
        monkeypatch.setattr(f"{module}.MOST_FOUND", 5)
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        store.write([make_record(make_begin(id=f"{n}", started_at_ms=START_MS + n)) for n in range(9)], {})
    with StoreReader(path) as reader:
        found = reader.run(extent.extent(parse_filter("hello"), from_ms=None, to_ms=None))
        late = reader.run(extent.extent(parse_filter("hello"), from_ms=START_MS + 5, to_ms=None))
    assert (found.requests, found.is_exact, found.looked_to) == (5, False, START_MS + 4)
    assert (late.requests, late.is_exact, late.looked_to) == (4, True, None), "all that was meant was among them"


def test_what_was_counted_when_the_time_is_over_is_said_to_be_a_part(fresh: Path) -> None:
    where = parse_filter("-outcome:completed")
    rows = [row for row in read_rows(fresh) if row["outcome"] != "completed"]
    ended_early = 0
    for step in range(3, 8):
        plan: Any = extent.extent(where, from_ms=None, to_ms=None)
        try:
            found: Any = Interrupted(fresh, step).run(plan)
        except TimeIsUp:
            continue
        if found.looked_to is not None:
            ended_early += 1
            assert found.requests >= len([row for row in rows if row["started_at"] >= found.looked_to])
            assert not found.is_exact
    assert ended_early


@pytest.mark.parametrize("text", ["", "key:a", "status:500", "-key:a", "user:ann", "meta.team:t2", "failed:true"])
def test_no_count_reads_the_whole_table(fresh: Path, text: str) -> None:
    where = parse_filter(text)
    plans: list[Any] = [
        extent.extent(where, from_ms=START_MS, to_ms=None),
        extent.bars(where, from_ms=START_MS, to_ms=START_MS + 30_000),
        extent.bars(where, from_ms=START_MS, to_ms=START_MS + 5000 * HOUR_MS),
    ]
    with StoreReader(fresh) as reader:
        for plan in plans:
            for sql, steps in plan_of(reader, plan):
                assert not any(step.startswith("SCAN exchanges") for step in steps if "seq >= ?" not in sql), sql
                assert not any("SCAN rollups" in step for step in steps), sql


def test_failed_is_what_did_not_complete_or_was_answered_with_an_error(fresh: Path) -> None:
    rows = read_rows(fresh)
    with StoreReader(fresh) as reader:
        for text, is_failed in (("failed:true", True), ("failed:false", False), ("-failed:true", False)):
            found = reader.run(extent.extent(parse_filter(text), from_ms=None, to_ms=None))
            assert found.requests == sum(failed(row) == is_failed for row in rows), text
