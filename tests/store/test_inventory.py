from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import SqliteStore, StoreReader, query
from proxy.store.inventory import inventory, keepsakes
from proxy.store.query import Query
from tests.store.rows import write_summed

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_790_000_000_000 - 1_790_000_000_000 % DAY_MS
ROWS = 3000
EVERY_MS = 30 * DAY_MS // ROWS


def rows() -> Iterator[dict[str, Any]]:
    for number in range(ROWS):
        yield {
            "id": f"{number:08d}",
            "started_at": START_MS + number * EVERY_MS,
            "key": ("a", "b", None)[number % 3],
            "upstream": ("openai", "groq")[number % 2],
            "outcome": "upstream_error" if number % 100 == 0 else "completed",
            "status": 200,
            "request_bytes": 10,
            "response_bytes": 30,
            "bodies_kept": int(number >= 1000),
        }


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path: Path = tmp_path_factory.mktemp("inventory") / "records.db"
    with closing(SqliteStore(path)) as store:
        write_summed(store, rows())
    with closing(StoreReader(path)) as made:
        yield made


def test_what_is_kept_is_counted_from_the_ends(reader: StoreReader) -> None:
    found = reader.run(inventory())
    assert (found.records, found.oldest_ms, found.oldest_body_ms) == (ROWS, START_MS, START_MS + 1000 * EVERY_MS)


@pytest.mark.parametrize(("records", "bodies"), [(0, 0), (500, 500), (0, 1500), (1200, 1500), (ROWS, ROWS)])
def test_what_would_go_is_what_is_there_and_old_enough(reader: StoreReader, records: int, bodies: int) -> None:
    found = reader.run(keepsakes(START_MS + records * EVERY_MS, START_MS + bodies * EVERY_MS))
    assert found.records == records
    assert found.bodies == max(0, max(records, bodies) - 1000)
    assert found.payload_bytes == found.bodies * 40
    assert found.all_payload_bytes == 2000 * 40


def test_an_empty_store_keeps_nothing(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "records.db").close()
    with closing(StoreReader(tmp_path / "records.db")) as reader:
        assert reader.run(inventory()).records == 0
        assert reader.run(keepsakes(START_MS, START_MS)).records == 0


def test_the_last_day_of_a_key_is_found(reader: StoreReader) -> None:
    last = START_MS + (ROWS - 1) * EVERY_MS
    assert reader.run(query.last_days("key", from_ms=START_MS)) == dict.fromkeys("ab", last - last % DAY_MS)
    assert reader.run(query.last_days("key", from_ms=last + DAY_MS)) == {}


def test_outcomes_are_counted_by_upstream(reader: StoreReader) -> None:
    found = reader.run(query.outcomes("upstream", from_ms=START_MS, to_ms=START_MS + 30 * DAY_MS))
    assert (found["openai"].requests, found["openai"].errors, found["openai"].unreachable) == (1500, 30, 30)
    assert (found["groq"].requests, found["groq"].errors) == (1500, 0)


END_MS = START_MS + 30 * DAY_MS
QUESTIONS: dict[str, Callable[[], Query[Any]]] = {
    "last days": lambda: query.last_days("key", from_ms=START_MS),
    "outcomes": lambda: query.outcomes("upstream", from_ms=START_MS + 1, to_ms=END_MS - 1),
    "the price of a request": lambda: query.price_of("00000001"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_scans_the_rows_or_all_sums(reader: StoreReader, name: str) -> None:
    assert_is_quick(reader, QUESTIONS[name]().sql, QUESTIONS[name]().parameters)


@pytest.mark.parametrize("plan", [inventory(), keepsakes(START_MS + 5 * DAY_MS + 1, START_MS + 20 * DAY_MS + 1)])
def test_no_step_of_an_inventory_scans_the_rows(reader: StoreReader, plan: query.Plan[Any]) -> None:
    steps = plan.steps()
    step = next(steps)
    try:
        while True:
            assert_is_quick(reader, *step)
            step = steps.send(reader._connection.execute(*step).fetchall())
    except StopIteration:
        pass


def assert_is_quick(reader: StoreReader, sql: str, parameters: tuple[Any, ...]) -> None:
    explained = reader._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    steps = [str(row[3]) for row in explained]
    assert not any(step.startswith(("SCAN exchanges", "SCAN rollups")) and "INDEX" not in step for step in steps), steps
    assert all("rollups_by_place (dimension=? AND span=?" in step for step in steps if "rollups" in step), steps
