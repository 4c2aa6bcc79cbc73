"""Questions about money are answered from sums: none of them reads the rows of the time that it is about."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from proxy.store import SqliteStore, StoreReader, query
from proxy.store.deployed import deployments
from proxy.store.overview import overview
from proxy.store.quality import MOST, _blocks, quality
from proxy.store.query import Grouping, Query
from proxy.store.recent import MOST as NEWEST
from proxy.store.recent import hours, newest, seen
from proxy.store.rollups import DAY_MS, HOUR_MS
from proxy.store.spending import first_sum, leaves, spent_by_step, spent_by_tag, spent_in
from tests.store.rows import Row, write_summed

START_MS = 20_000 * DAY_MS
END_MS = START_MS + 10 * DAY_MS
ROWS = 3000


def rows() -> Iterator[Row]:
    numbers = random.Random(11)
    for number, started_at in enumerate(sorted(numbers.randrange(START_MS, END_MS) for _ in range(ROWS))):
        yield {
            "id": f"{number:05}",
            "started_at": started_at,
            "key": numbers.choice(["a", "b", None]),
            "user": numbers.choice(["u", "v", None]),
            "model": numbers.choice(["m", "n"]),
            "cost_nano_usd": numbers.randrange(10**6),
            "tags": numbers.choice(["{}", '{"team":"x"}', '{"version":"2"}']),
            "finish_reason": numbers.choice(["stop", "length", "content_filter"]),
        }


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path: Path = tmp_path_factory.mktemp("spending") / "records.db"
    with closing(SqliteStore(path)) as store:
        write_summed(store, rows())
    with closing(StoreReader(path)) as made:
        yield made


def plan_of(reader: StoreReader, question: Query[Any]) -> list[str]:
    explained = reader._connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", question.parameters).fetchall()
    return [str(row[3]) for row in explained]


FROM, TO = START_MS + HOUR_MS // 2, END_MS - HOUR_MS // 2
SUMMED = [name for name in get_args(Grouping) if name not in ("session", "day")]
QUESTIONS: dict[str, Callable[[], Query[Any]]] = {
    **{f"by {name}": partial(query.costs, [name], from_ms=FROM, to_ms=TO) for name in SUMMED},
    **{f"by {name}, by hour": partial(spent_by_step, name, "hour", from_ms=FROM, to_ms=TO) for name in SUMMED},
    "by key and model": lambda: query.costs(["key", "model"], from_ms=FROM, to_ms=TO),
    "all by day": lambda: spent_by_step(None, "day", from_ms=FROM, to_ms=TO),
    "one key by hour": lambda: spent_in("key_model", from_ms=FROM, to_ms=TO, value="a"),
    "users by day": lambda: spent_in("user", from_ms=FROM, to_ms=TO),
    "a tag": lambda: spent_by_tag("team", from_ms=FROM, to_ms=TO),
    "leaves": lambda: leaves("key_model", from_ms=FROM, to_ms=TO),
    "overview": lambda: overview(FROM, TO, "hour"),
    "the first day": first_sum,
    "hours": lambda: hours(FROM),
    "the newest": newest,
    "the newest rows": lambda: seen(FROM),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_scans_the_rows_or_all_sums(reader: StoreReader, name: str) -> None:
    steps = plan_of(reader, QUESTIONS[name]())
    assert not any(step.startswith(("SCAN exchanges", "SCAN rollups")) and "INDEX" not in step for step in steps), steps
    assert all("rollups_by_place (dimension=? AND span=?" in step for step in steps if "rollups" in step), steps


def test_hours_and_days_add_up_to_the_same(reader: StoreReader) -> None:
    for name in SUMMED:
        by_hour = reader.run(spent_by_step(name, "hour", from_ms=FROM, to_ms=TO))
        by_day = reader.run(spent_by_step(name, "day", from_ms=FROM, to_ms=TO))
        assert sum(each.cost_nano_usd for each in by_hour) == sum(each.cost_nano_usd for each in by_day)
        if name != "user":
            assert len({each.at for each in by_hour}) > 200, "no day was taken for an hour"


def test_an_overview_by_hour_takes_no_day_for_an_hour(reader: StoreReader) -> None:
    points = reader.run(overview(START_MS, END_MS, "hour")).points
    assert len(points) > 200
    assert max(point.requests for point in points) < ROWS / 50


def test_tags_are_summed(reader: StoreReader) -> None:
    found = reader.run(spent_by_tag("team", from_ms=START_MS, to_ms=END_MS))
    expected = sum(row["cost_nano_usd"] for row in rows() if "team" in row["tags"])
    assert [(row.group, row.cost_nano_usd) for row in found] == [(("x",), expected)]


def test_quality_reads_everything_where_there_is_little(reader: StoreReader) -> None:
    counted = reader.run(quality(START_MS + 3 * DAY_MS))
    expected = [row for row in rows() if row["started_at"] >= START_MS + 3 * DAY_MS]
    assert counted.read == len(expected)
    assert sum(day.cut for day in counted.days) == sum(row["finish_reason"] == "length" for row in expected)
    assert sum(day.refusals for day in counted.days) == sum(
        row["finish_reason"] == "content_filter" for row in expected
    )


def test_quality_reads_blocks_that_are_spread_evenly_where_there_is_much() -> None:
    blocks = _blocks(1, 10_000_000)
    assert len(blocks) * 128 <= MOST
    assert blocks == sorted(set(blocks))
    gaps = {later - earlier for earlier, later in itertools.pairwise(blocks)}
    assert max(gaps) - min(gaps) <= 128
    assert blocks[-1] > 9_900_000
    assert _blocks(5, 5) == [5]


def test_deployments_know_the_first_of_each(reader: StoreReader) -> None:
    found = reader.run(deployments(END_MS - 1))
    assert {each.name for each in found.models} == {"m", "n"}
    assert all(each.is_from_the_start for each in found.models)
    assert [(each.name, each.version) for each in found.apps] == [("version", "2")]


def test_the_newest_rows_are_never_more_than_can_be_read_at_once(reader: StoreReader) -> None:
    assert seen(0).parameters[-1] == NEWEST
    newest_first = [row.started_at for row in reader.run(seen(START_MS))]
    assert newest_first == sorted(newest_first, reverse=True)
