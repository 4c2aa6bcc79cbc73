"""Feedback: who said what last, found by its request whichever of the two came first, and gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Retention as Policy
from proxy.records import Feedback
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.deletion import Names, Selection
from proxy.store.feedback import FeedbackDay, feedback_by_day, feedback_on
from proxy.store.filter import FilterError, parse_filter
from proxy.store.rollups import DAY_MS
from proxy.store.values import values
from tests.recorder.builders import START_MS, make_begin, make_record

CANARY = "CANARY-OF-A-COMMENT"
MIDNIGHT = START_MS - START_MS % DAY_MS


def said(request: str = "a", value: float | None = 1.0, **more: Any) -> Feedback:
    fields: dict[str, Any] = {"name": "user", "source": "token:shop", "at_ms": START_MS} | more
    return Feedback(request=request, value=value, **fields)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "records.db")
    yield made
    made.close()


def put(store: SqliteStore, id_: str, **begin: Any) -> None:
    store.write([make_record(make_begin(id=id_, **begin))], {})


def give(store: SqliteStore, *feedback: Feedback) -> None:
    store.write([], {}, said=feedback)


def stored(store: SqliteStore, request: str = "a") -> list[Feedback]:
    with StoreReader(store.path) as reader:
        return reader.run(feedback_on(request))


def found(store: SqliteStore, text: str) -> set[str]:
    with StoreReader(store.path) as reader:
        return {row.id for row in reader.run(query.requests(parse_filter(text)))}


def test_what_is_said_again_under_the_same_name_is_said_instead(store: SqliteStore) -> None:
    give(store, said(comment="No!", value=0.0), said(name="tone"), said(source="ann"))
    give(store, said(value=0.75, at_ms=START_MS + 1))
    assert stored(store) == [said(name="tone"), said(source="ann"), said(value=0.75, at_ms=START_MS + 1)]
    give(store, said(value=None), said("b", value=None))
    assert stored(store) == [said(name="tone"), said(source="ann")]


sayings = st.builds(
    said,
    st.sampled_from("ab"),
    st.none() | st.floats(0, 1),
    name=st.sampled_from(["user", "tone"]),
    source=st.sampled_from(["ann", "bob"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(sayings, max_size=12), st.integers(0, 12))
def test_the_last_word_of_each_counts_however_it_is_cut_into_batches(
    tmp_path_factory: pytest.TempPathFactory, feedback: list[Feedback], cut: int
) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("said") / "records.db")
    give(store, *feedback[:cut])
    give(store, *feedback[cut:])
    last = {(each.request, each.name, each.source): each for each in feedback}
    expected = {place: each for place, each in last.items() if each.value is not None}
    there = [*stored(store, "a"), *stored(store, "b")]
    store.close()
    assert {(each.request, each.name, each.source): each for each in there} == expected


def test_it_is_joined_to_its_request_whichever_comes_first(store: SqliteStore) -> None:
    give(store, said("early"))
    for id_ in ("early", "late", "silent"):
        put(store, id_)
    give(store, said("late", 0.0), said("never", 0.0))
    assert found(store, "feedback:positive") == {"early"}
    assert found(store, "feedback:negative") == {"late"}
    assert found(store, "has:feedback") == {"early", "late"}
    assert found(store, "feedback:") == found(store, "-has:feedback") == {"silent"}
    assert found(store, "-feedback:positive") == {"late", "silent"}
    assert found(store, "feedback:(positive OR negative) -id:late") == {"early"}
    assert found(store, "feedback:positive OR id:silent") == {"early", "silent"}
    give(store, said("silent", 0.5))
    assert found(store, "feedback:(positive OR negative)") == {"early", "late"}
    assert found(store, "has:feedback") == {"early", "late", "silent"}


def test_a_word_that_is_neither_is_refused_where_it_stands() -> None:
    with pytest.raises(FilterError, match="write feedback:positive or feedback:negative") as caught:
        parse_filter("key:a feedback:great")
    assert caught.value.position == 15


def test_what_occurs_can_be_chosen_from(store: SqliteStore) -> None:
    for number in range(3):
        put(store, f"r{number}")
        give(store, said(f"r{number}", float(number > 0)))
    with StoreReader(store.path) as reader:
        listed = reader.run(values("feedback", from_ms=0, to_ms=START_MS + DAY_MS))
    assert [(each.value, each.requests) for each in listed.values] == [("positive", 2), ("negative", 1)]


def test_every_day_is_counted_exactly_and_from_an_index_alone(store: SqliteStore) -> None:
    give(
        store,
        said("old", at_ms=MIDNIGHT - 1),
        *(said(f"a{number}", number / 4, at_ms=MIDNIGHT + number) for number in range(5)),
        said("b", 0.0, at_ms=MIDNIGHT + DAY_MS),
    )
    with StoreReader(store.path) as reader:
        question = feedback_by_day(MIDNIGHT)
        assert reader.run(question) == [FeedbackDay(MIDNIGHT, 5, 2, 2), FeedbackDay(MIDNIGHT + DAY_MS, 1, 0, 1)]
        plan = reader._connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", question.parameters).fetchall()
    assert "SEARCH feedback USING COVERING INDEX feedback_by_time (at>?)" in [str(row[3]) for row in plan]


@pytest.mark.parametrize("text", ["feedback:negative", "has:feedback", "feedback:positive user:ann"])
def test_a_list_reads_only_requests_of_which_something_was_said(store: SqliteStore, text: str) -> None:
    where = parse_filter(text)
    assert where.anchor is not None
    with StoreReader(store.path) as reader:
        plan = reader._connection.execute(
            f"EXPLAIN QUERY PLAN SELECT seq FROM exchanges WHERE {where.anchor.sql}",  # noqa: S608 (the filter's own)
            where.anchor.parameters,
        ).fetchall()
        each = feedback_on("a")
        one = reader._connection.execute(f"EXPLAIN QUERY PLAN {each.sql}", each.parameters).fetchall()
    steps = [str(row[3]) for row in plan]
    assert not [step for step in steps if step.startswith("SCAN exchanges")], steps
    assert not [step for step in steps if step.startswith("SCAN feedback") and "COVERING INDEX" not in step], steps
    assert "SEARCH feedback USING PRIMARY KEY (request=?)" in [str(row[3]) for row in one]


@pytest.mark.parametrize("comes_first", ["feedback", "request"])
@pytest.mark.parametrize("no_store", ["request", "response", "all"])
def test_no_comment_is_kept_on_a_request_that_asked_not_to_be_stored(
    store: SqliteStore, no_store: str, comes_first: str
) -> None:
    if comes_first == "request":
        put(store, "a", no_store=no_store)
    give(store, said(comment=CANARY))
    if comes_first == "feedback":
        put(store, "a", no_store=no_store)
    assert stored(store) == [said()]
    put(store, "b")
    give(store, said("b", comment="kept"))
    assert stored(store, "b") == [said("b", comment="kept")]


def erase(store: SqliteStore, selection: Selection) -> None:
    names = Names((selection.user,) if selection.user else ())
    while any(store.deletion.erase(selection, names)):
        pass


@pytest.mark.parametrize("has_rows", [False, True])
def test_a_deletion_leaves_no_copy_of_it_and_nothing_new_is_kept_in_words(
    store: SqliteStore, tmp_path: Path, has_rows: bool
) -> None:
    for number in range(300):
        put(store, f"id-{number:05}", user="alice" if number % 3 else "bob")
        give(store, said(f"id-{number:05}", comment=f"{CANARY if number % 3 else 'of bob'} {number}" * 20))
    erase(store, Selection(user="alice", rows=has_rows))
    assert stored(store, "id-00001") == []
    assert stored(store, "id-00003")
    assert store.deletion.compact(is_bounded=True) == []
    assert sum(path.read_bytes().count(CANARY.encode()) for path in tmp_path.iterdir()) == 0
    if not has_rows:
        give(store, said("id-00001", comment=CANARY))
        assert stored(store, "id-00001") == [said("id-00001")]


def test_comments_go_with_the_bodies_and_the_rest_with_the_records(store: SqliteStore, tmp_path: Path) -> None:
    policy = Policy()
    ago = {"new": 0, "old": int(policy.bodies * 1000) + 1, "ancient": int(policy.records * 1000) + 1}
    now = START_MS + ago["ancient"]
    for name, ms in ago.items():
        text = "kept" if name == "new" else CANARY * 30
        for number in range(40):
            if number % 2:  # of the others nobody ever sees a request
                put(store, f"{name}-{number}", started_at_ms=now - ms)
            give(store, said(f"{name}-{number}", at_ms=now - ms, comment=text))
    while store.retention.purge(policy, now, 16).is_more:
        pass
    assert stored(store, "new-1")[0].comment == "kept"
    assert [each.comment for each in stored(store, "old-1") + stored(store, "old-2")] == [None, None]
    assert stored(store, "ancient-1") == stored(store, "ancient-2") == []
    store.checkpoint(at_pages=1)
    assert sum(path.read_bytes().count(CANARY.encode()) for path in tmp_path.iterdir()) == 0


def test_a_request_that_is_deleted_takes_what_was_said_of_it_along(store: SqliteStore) -> None:
    put(store, "a", started_at_ms=START_MS)
    give(store, said(at_ms=START_MS + 300 * DAY_MS))
    store.retention.purge(_Short(), START_MS + DAY_MS)
    assert stored(store) == []


class _Short(msgspec.Struct, frozen=True):
    bodies: float = 1.0
    records: float = 1.0
    max_size_gb: float = 1.0
