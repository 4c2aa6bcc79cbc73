"""Lists of sessions and users are right whatever the filter, and read what they show."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import SqliteStore, StoreReader, query
from proxy.store.filter import parse_filter
from proxy.store.keyset import Order, Place
from proxy.store.sessions import ORDERS, latest_sessions, session, sessions
from proxy.store.user import failures, profile
from proxy.store.users import ORDERS as USER_ORDERS
from proxy.store.users import users
from tests.recorder.builders import START_MS
from tests.store.rows import read_rows, write_summed

ROWS = 7000
SESSIONS = 6000
"""More than are found by their names."""
DAY_MS = 86_400_000


def made_up() -> Iterator[dict[str, Any]]:
    numbers = random.Random(3)
    for number in range(ROWS):
        yield {
            "id": f"id-{number:05d}",
            "started_at": START_MS + numbers.randrange(20 * DAY_MS),
            "session": f"s{number % SESSIONS:04d}" if number % 10 else None,
            "user": numbers.choice(["ann", "bob", "cy", None]),
            "key": "a" if number < 40 else "b",
            "status": numbers.choice([200, 200, 200, 500]),
            "cost_nano_usd": numbers.choice([None, 1000, numbers.randrange(10**6)]),
        }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("sessions") / "records.db"
    with closing(SqliteStore(found)) as store:
        write_summed(store, made_up())
    return found


def listed(path: Path, text: str, order: Order, limit: int = 500) -> list[str]:
    """Return the sessions of all pages."""
    found: list[str] = []
    after: Place | None = None
    with StoreReader(path) as reader:
        while True:
            page = reader.run(sessions(parse_filter(text), order=order, limit=limit, after=after))
            found += [row.id for row in page.rows]
            if page.next is None:
                return found
            after = page.next


def expected(path: Path, is_meant: Any, order: Order) -> list[str]:
    rows = [row for row in read_rows(path) if row["session"]]
    meant = {row["session"] for row in rows if is_meant(row)}
    values: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        values.setdefault(row["session"], []).append(row)
    measures: dict[str, Callable[[list[dict[str, Any]]], int]] = {
        "last": lambda some: max(row["started_at"] for row in some),
        "first": lambda some: min(row["started_at"] for row in some),
        "cost": lambda some: sum(row["cost_nano_usd"] or 0 for row in some),
        "turns": len,
        "errors": lambda some: sum(row["status"] >= 400 for row in some),
        "duration": lambda some: max(row["started_at"] for row in some) - min(row["started_at"] for row in some),
    }
    measure = measures[order.name]
    sign = -1 if order.is_descending else 1
    return sorted(meant, key=lambda name: (sign * measure(values[name]), name))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("is_descending", [True, False])
def test_pages_follow_each_other_in_every_order(path: Path, name: str, is_descending: bool) -> None:
    order = Order(name, is_descending)
    assert listed(path, "", order) == expected(path, lambda _: True, order)


@pytest.mark.parametrize(
    ("text", "is_meant"),
    [
        ("key:a", lambda row: row["key"] == "a"),
        ("user:ann status:500", lambda row: row["user"] == "ann" and row["status"] == 500),
        ("key:b", lambda row: row["key"] == "b"),
        ("-key:a", lambda row: row["key"] == "b"),
        ("status:200 OR cost:>0", lambda row: row["status"] == 200 or (row["cost_nano_usd"] or 0) > 0),
    ],
)
@pytest.mark.parametrize("order", [Order("last"), Order("cost"), Order("turns", is_descending=False)])
def test_a_filter_finds_the_same_sessions_however_many_they_are(
    path: Path, text: str, is_meant: Any, order: Order
) -> None:
    assert listed(path, text, order, limit=700) == expected(path, is_meant, order)


def test_a_list_is_read_from_the_sums_and_from_indexes(path: Path) -> None:
    questions = [
        sessions(from_ms=START_MS),
        sessions(order=Order("cost")),
        sessions(parse_filter("key:b")),
        session("s0001"),
        latest_sessions("ann", from_ms=0, to_ms=2**50, limit=10),
        query.turns("s0001", 3),
        profile("ann", START_MS, START_MS + 10 * DAY_MS),
        query.page(failures("ann"), limit=10),
    ]
    with StoreReader(path) as reader:
        for question in questions:
            for line in explained(reader, question):
                assert not line.startswith("SCAN exchanges"), line
                assert "AUTOMATIC" not in line, line
        (newest, *_) = explained(reader, sessions(from_ms=START_MS))
    assert newest.startswith("SEARCH sessions USING INDEX sessions_by_time")


def explained(reader: StoreReader, question: Any) -> list[str]:
    """Return how each step of a question is answered, but for what is in no zone yet."""
    lines: list[str] = []
    if isinstance(question, query.Query):
        asked = [(question.sql, question.parameters)]
    else:
        asked = []
        steps = question.steps()
        try:
            step = next(steps)
            while True:
                asked.append(step)
                step = steps.send(reader._connection.execute(*step).fetchall())
        except StopIteration:
            pass
    for sql, parameters in asked:
        found = reader._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        lines += [str(row[3]) for row in found]
    return lines


@pytest.mark.parametrize("name", USER_ORDERS)
def test_users_are_the_same_from_sums_as_from_rows(path: Path, name: str) -> None:
    span: dict[str, Any] = {"from_ms": START_MS + 1, "to_ms": START_MS + 15 * DAY_MS + 5}
    with StoreReader(path) as reader:
        summed = reader.run(users(**span, order=Order(name)))
        counted = reader.run(users(parse_filter("key:(a OR b)"), **span, order=Order(name)))
    assert [row.id for row in summed.rows] == [row.id for row in counted.rows]
    assert summed.nameless == counted.nameless
    assert summed.count == counted.count == 3
    for one, other in zip(summed.rows, counted.rows, strict=True):
        assert (one.requests, one.errors, one.cost_nano_usd) == (other.requests, other.errors, other.cost_nano_usd)
