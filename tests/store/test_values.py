"""What occurs in a field, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.store import SqliteStore, StoreReader
from proxy.store.filter import FilterError, described, parse_filter
from proxy.store.values import NEWEST, values
from tests.recorder.builders import START_MS, make_begin, make_end, make_record
from tests.store.rows import write_rows
from tests.store.test_listing import plan_of

END_MS = START_MS + 10**9


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path = tmp_path_factory.mktemp("store") / "records.db"
    records = [
        make_record(
            make_begin(
                id=f"{number}",
                key="search" if number % 3 else "Chat",
                user=f"user-{number % 4}",
                session=f"s{number}",
                tags={"team": "red" if number % 5 else "blue", "n": "1"},
                prompt_name="hello",
                environment=None if number % 2 else "prod",
            ),
            make_end(status=200 if number else 500),
        )
        for number in range(12)
    ]
    with closing(SqliteStore(path)) as store:
        store.write(records, {})
    with StoreReader(path) as opened:
        yield opened


def listed(reader: StoreReader, field: str, q: str = "", containing: str = "") -> dict[str, int]:
    question = values(field, from_ms=0, to_ms=END_MS, containing=containing, where=parse_filter(q))
    return {value.value: value.requests for value in reader.run(question).values}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("key", {"search": 8, "Chat": 4}),
        ("user", {f"user-{number}": 3 for number in range(4)}),
        ("environment", {"prod": 6}),
        ("prompt", {"hello": 12}),
        ("meta.team", {"red": 9, "blue": 3}),
        ("meta", {"team": 12, "n": 12}),
        ("status", {"200": 11, "500": 1}),
        ("session", {f"s{number}": 1 for number in range(12)}),
        ("meta.none", {}),
    ],
)
def test_values_are_listed_with_how_often_they_occur(reader: StoreReader, field: str, expected: dict[str, int]) -> None:
    assert listed(reader, field) == expected


def test_under_a_filter_only_what_it_means_is_counted(reader: StoreReader) -> None:
    assert listed(reader, "key", q="user:user-0") == {"search": 2, "Chat": 1}
    assert listed(reader, "meta.team", q="key:Chat") == {"red": 3, "blue": 1}


def test_values_are_found_by_any_part_of_them_whatever_its_case(reader: StoreReader) -> None:
    assert listed(reader, "key", containing="cHA") == {"Chat": 4}
    assert listed(reader, "session", containing="11") == {"s11": 1}
    assert listed(reader, "key", containing="%") == {}


@pytest.mark.parametrize("field", ["", "colour", "latency", "cost", "id", "has", "meta."])
def test_what_has_no_values_to_choose_from_is_told(reader: StoreReader, field: str) -> None:
    with pytest.raises(FilterError, match="values can be listed of key, model"):
        listed(reader, field)


@pytest.mark.parametrize("field", [shape.name for shape in described() if shape.has_values] + ["meta", "meta.team"])
def test_no_question_for_values_reads_the_whole_table(reader: StoreReader, field: str) -> None:
    for where in ("", "key:search"):
        for sql, steps in plan_of(reader, values(field, from_ms=START_MS, to_ms=END_MS, where=parse_filter(where))):
            assert not any(
                step.startswith(("SCAN exchanges", "SCAN rollups")) for step in steps if "seq >= ?" not in sql
            )


def test_it_is_said_in_how_many_requests_values_were_counted(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, ({"id": str(n), "session": f"s{n}"} for n in range(NEWEST + 100)))
    with StoreReader(path) as reader:
        found = reader.run(values("session", from_ms=0, to_ms=END_MS, limit=5))
        assert (len(found.values), found.newest) == (5, NEWEST)
