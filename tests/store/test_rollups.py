"""Roll-ups are what the rows add up to, whatever happens to the rows and in whatever batches they come."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.store import Record, SqliteStore, StoreReader, histogram, query
from proxy.store.deletion import Names, Selection
from proxy.store.filter import Filter
from proxy.store.histogram import bucket_of
from proxy.store.jobs import Job, Revision, Task
from proxy.store.overview import overview
from proxy.store.rollups import DAY_MS, HOUR_MS, MAX_VALUES, OTHER
from tests.recorder.builders import START_MS, make_begin, make_end, make_record
from tests.store.rows import forget_roll_ups

Sums = dict[tuple[str, str, int, str, str], tuple[dict[str, int], Counter[int], Counter[int]]]
OUTCOMES = ("completed", "completed", "completed", "refused", "client_closed", "timeout", "interrupted")
LAST_MS = START_MS - START_MS % DAY_MS + 3 * DAY_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "records.db")) as made:
        yield made


def some_record(numbers: random.Random, number: int) -> Record:
    def one_of(*values: Any) -> Any:
        return numbers.choice(values)

    begin = make_begin(
        id=f"{number:06d}",
        started_at_ms=LAST_MS - numbers.randrange(3 * DAY_MS),
        key=one_of("search", "chat", None),
        user=one_of("ann", "bob", None),
        session=one_of("s1", "s2", None),
        environment=one_of("prod", None),
        upstream=one_of("openai", "local"),
        prompt_name=one_of("greet", None),
        prompt_version=one_of("1", "2"),
        tags=one_of({}, {"team": "a"}, {"team": "b", "job": "née"}),
    )
    end = make_end(
        outcome=one_of(*OUTCOMES), status=one_of(200, 200, 404, 429, 500, None), ended_us=numbers.randrange(10**7)
    )
    record = make_record(begin, end)
    reading = msgspec.structs.replace(record.reading, model=one_of("gpt-4o", "o3", None))
    is_pending = numbers.random() < 0.2
    return msgspec.structs.replace(record, reading=reading, pending_id=begin.id if is_pending else None)


def rows_of(store: SqliteStore) -> list[dict[str, Any]]:
    cursor = store._connection.execute("SELECT * FROM exchanges")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def added_up(rows: Sequence[dict[str, Any]]) -> Sums:
    """Add rows up as somebody would who knows nothing of how it is done."""
    sums: Sums = defaultdict(lambda: (defaultdict(int), Counter(), Counter()))
    for row in rows:
        model = row["model"] or row["model_requested"] or ""
        places = [
            ("all", "", ""),
            ("key", row["key"] or "", ""),
            ("model", model, ""),
            ("key_model", row["key"] or "", model),
            ("upstream", row["upstream"], ""),
            ("provider", row["provider"] or "", ""),
            ("endpoint", row["endpoint"], ""),
            ("environment", row["environment"] or "", ""),
            ("prompt", row["prompt_name"] or "", row["prompt_version"] or ""),
            ("user", row["user"] or "", ""),
            *(("tag", name, value) for name, value in json.loads(row["tags"]).items()),
        ]
        for dimension, value, part in places:
            is_named = dimension in ("user", "tag")
            for span, length in (("hour", HOUR_MS), ("day", DAY_MS)):
                if is_named and span == "hour":
                    continue
                start = row["started_at"] // length * length
                measures, latency, ttft = sums[dimension, span, start, value, part]
                count(measures, row)
                for name, counts in (("duration_us", latency), ("first_token_us", ttft)):
                    if row[name] is not None and not is_named:
                        counts[bucket_of(row[name])] += 1
    return {place: (dict(measures), latency, ttft) for place, (measures, latency, ttft) in sums.items()}


def count(measures: dict[str, int], row: dict[str, Any]) -> None:
    status, is_completed = row["status"] or 0, row["outcome"] == "completed"
    measures["requests"] += 1
    for outcome in OUTCOMES[3:]:
        measures[outcome] += row["outcome"] == outcome
    measures["status_4xx"] += is_completed and 400 <= status < 500
    measures["status_429"] += is_completed and status == 429
    measures["status_5xx"] += is_completed and status >= 500
    measures["unpriced"] += row["is_unpriced"]
    for name in ("request_bytes", "response_bytes", "input_tokens", "output_tokens", "cost_nano_usd"):
        measures[name] += row[name] or 0


def stored(store: SqliteStore) -> Sums:
    cursor = store._connection.execute("SELECT * FROM rollups")
    names = [column[0] for column in cursor.description]
    found: Sums = {}
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        place = (row["dimension"], row["span"], row["start"], row["value"], row["part"])
        latency, ttft = (Counter(histogram.unpacked(row[name])) for name in ("latency", "ttft"))
        found[place] = ({name: row[name] for name in MEASURED}, latency, ttft)
    return found


MEASURED = (
    *("requests", "refused", "client_closed", "timeout", "interrupted", "status_4xx", "status_429", "status_5xx"),
    *("unpriced", "request_bytes", "response_bytes", "input_tokens", "output_tokens", "cost_nano_usd"),
)


def sessions_added_up(rows: Sequence[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Add the rows of each session up."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["session"] is not None:
            by_name[row["session"]].append(row)
    return {
        (
            name,
            min(row["started_at"] for row in some),
            max(row["started_at"] for row in some),
            len(some),
            sum(row["outcome"] != "completed" or (row["status"] or 0) >= 400 for row in some),
            *(
                sum(row[column] or 0 for row in some)
                for column in ("is_unpriced", "cost_nano_usd", "input_tokens", "output_tokens")
            ),
        )
        for name, some in by_name.items()
    }


def stored_sessions(store: SqliteStore) -> set[tuple[Any, ...]]:
    columns = "name, first_at, last_at, requests, errors, unpriced, cost_nano_usd, input_tokens, output_tokens"
    return set(store._connection.execute(f"SELECT {columns} FROM sessions"))  # noqa: S608 (constants)


def write_in_pieces(store: SqliteStore, records: Sequence[Record], numbers: random.Random) -> None:
    at = 0
    while at < len(records):
        size = numbers.randrange(1, 20)
        store.write(records[at : at + size], {})
        at += size


def revise(store: SqliteStore, numbers: random.Random) -> None:
    """Change costs, models and users of some rows, and resolve what was awaited by some, as `reprice` and `reread` do."""
    rows = numbers.sample(rows_of(store), 15)
    revisions = [
        Revision(
            seq=row["seq"],
            day="2026-09-21",
            model="m",
            before_nano_usd=row["cost_nano_usd"],
            after_nano_usd=5,
            was_unpriced=False,
            is_unpriced=False,
            is_changed=True,
            columns={
                "cost_nano_usd": numbers.choice([None, 7, 10**12]),
                "model": "new",
                "user": "eve",
                "is_unpriced": 1,
            },
            resolves=(numbers.choice(rows)["id"],),
            exchange=row["id"],
        )
        for row in rows
    ]
    job = Job(id=str(numbers.random()), task=Task(kind="reread"), last_seq=10**6, done_seq=0, total=15, done=0)
    store.jobs.add(job, 0)
    store.jobs.move_on(job, 10**6, revisions, 1)


def test_a_session_begins_with_its_first_row_that_is_left_though_an_earlier_one_was_never_folded(
    store: SqliteStore,
) -> None:
    def put(number: int) -> None:
        begin = make_begin(id=str(number), session="s", started_at_ms=START_MS + number)
        store.write([make_record(begin)], {})

    put(0)
    forget_roll_ups(store)
    for number in (5, 6, 7):
        put(number)
    with store._our_transaction():
        store.rollups.part_with([2])
        store._connection.execute("DELETE FROM exchanges WHERE seq = 2")
    store.retention.purge_records(START_MS + 1, 1)
    found = store._connection.execute("SELECT first_at, last_at, requests FROM sessions").fetchall()
    assert found == [(START_MS + 6, START_MS + 7, 2)]


@pytest.mark.parametrize("seed", range(6))
def test_sums_are_what_the_rows_add_up_to_whatever_happens_to_the_rows(store: SqliteStore, seed: int) -> None:
    numbers = random.Random(seed)
    records = [some_record(numbers, number) for number in range(120)]
    write_in_pieces(store, records[:60], numbers)
    if seed % 2:
        forget_roll_ups(store)
    resolving = [
        msgspec.structs.replace(record, resolves=(numbers.choice(records[:90]).exchange.begin.id,))
        for record in records[60:]
    ]
    for part in (resolving[:30], resolving[20:]):  # some of them a second time
        write_in_pieces(store, part, numbers)
        revise(store, numbers)
        store.rollups.backfill(numbers.randrange(1, 40))
        store.give_up_waiting(LAST_MS - DAY_MS)
        store.deletion.erase(Selection(user="bob"), Names(user=("bob",)), 5)
    while store.backfill_rollups():
        pass
    assert stored(store) == added_up(rows_of(store))
    assert stored_sessions(store) == sessions_added_up(rows_of(store))
    assert any(row["user"] == "eve" for row in rows_of(store)), "revised"
    assert any("erased" in row["privacy"] for row in rows_of(store)), "erased"
    assert any(str(row["cost_reason"]).startswith("billed with") for row in rows_of(store)), "billed late"


@pytest.mark.parametrize("is_folded", [True, False])
def test_sums_outlive_their_rows_but_for_those_that_may_name_somebody(store: SqliteStore, is_folded: bool) -> None:
    numbers = random.Random(5)
    write_in_pieces(store, [some_record(numbers, number) for number in range(80)], numbers)
    before = added_up(rows_of(store))
    if not is_folded:
        forget_roll_ups(store)
    store.retention.purge_records(LAST_MS - DAY_MS - HOUR_MS, 500)
    left = added_up(rows_of(store))
    assert 0 < len(rows_of(store)) < 80
    while store.backfill_rollups():
        pass
    kept = {place: sums for place, sums in before.items() if place[0] not in ("user", "tag")}
    named = {place: sums for place, sums in left.items() if place[0] in ("user", "tag")}
    assert stored(store) == kept | named
    assert stored_sessions(store) == sessions_added_up(rows_of(store))


@pytest.mark.parametrize("rows", [True, False])
def test_of_a_deleted_user_the_numbers_stay_and_no_name(store: SqliteStore, rows: bool) -> None:
    numbers = random.Random(6)
    write_in_pieces(store, [some_record(numbers, number) for number in range(80)], numbers)
    total = sum(
        sums["cost_nano_usd"]
        for (dimension, span, *_), (sums, *_) in stored(store).items()
        if (dimension, span) == ("all", "day")
    )
    while any(store.deletion.erase(Selection(user="ann", rows=rows), Names(user=("ann", "pseudonym")))):
        pass
    assert stored_sessions(store) == sessions_added_up(rows_of(store))
    after = stored(store)
    assert "ann" not in {place[3] for place in after}
    assert total == sum(
        sums["cost_nano_usd"]
        for (dimension, span, *_), (sums, *_) in after.items()
        if (dimension, span) == ("all", "day")
    )
    assert rows == (len(rows_of(store)) < 80)


def test_above_the_bound_values_are_summed_as_others_and_come_back_from_there(store: SqliteStore) -> None:
    def write(*names: str) -> None:
        begins = [make_begin(id=name, user=name, environment=name) for name in names]
        replace = msgspec.structs.replace
        store.write([replace(template, exchange=replace(template.exchange, begin=begin)) for begin in begins], {})

    def sums(dimension: str) -> dict[str, int]:
        found = stored(store).items()
        return {place[3]: measures["requests"] for place, (measures, *_) in found if place[:2] == (dimension, "day")}

    template = make_record()
    write(*(f"u{number}" for number in range(MAX_VALUES + 50)))
    assert len(sums("environment")) == MAX_VALUES + 1
    assert sums("environment")[OTHER] == 50
    # What has a row of its own goes, and counts as nobody's; what comes then is still one of the others.
    store.deletion.erase(Selection(user="u0"), Names(user=("u0",)))
    store.deletion.erase(Selection(user=f"u{MAX_VALUES + 7}"), Names(user=(f"u{MAX_VALUES + 7}",)))
    write("late")
    found = sums("environment")
    assert (found[OTHER], "late" in found, "u0" in found) == (52, False, False)
    assert sum(found.values()) == MAX_VALUES + 51
    # Users go with their records, so each of them has a row.
    assert len(sums("user")) == MAX_VALUES + 50


def test_numbers_that_a_provider_makes_up_cost_no_record(store: SqliteStore) -> None:
    record = make_record()
    absurd = msgspec.structs.replace(record.totals, input=2**62, output=2**62)
    for number in range(3):
        exchange = msgspec.structs.replace(record.exchange, begin=make_begin(id=str(number)))
        store.write([msgspec.structs.replace(record, exchange=exchange, totals=absurd)], {})
    assert len(rows_of(store)) == 3


@pytest.mark.parametrize(
    "by", [[], ["key"], ["model", "day"], ["day", "user"], ["model", "key"], ["upstream"], ["endpoint"]]
)
@pytest.mark.parametrize("is_folded", [True, False])
def test_costs_are_the_same_from_sums_as_from_rows(store: SqliteStore, by: list[Any], is_folded: bool) -> None:
    numbers = random.Random(7)
    write_in_pieces(store, [some_record(numbers, number) for number in range(150)], numbers)
    if not is_folded:
        forget_roll_ups(store)
        store.rollups.backfill(70)
    everything = Filter("started_at > ?", (0,))
    with StoreReader(store.path) as reader:
        for _ in range(40):
            start, end = sorted(LAST_MS - numbers.randrange(-HOUR_MS, 4 * DAY_MS) for _ in range(2))
            summed = reader.run(query.costs(by, from_ms=start, to_ms=end))
            counted = reader.run(query.costs(by, from_ms=start, to_ms=end, where=everything))
            assert sorted(map(str, summed)) == sorted(map(str, counted))


@pytest.mark.parametrize("is_folded", [True, False])
def test_an_overview_says_what_happened_in_each_step(store: SqliteStore, is_folded: bool) -> None:
    numbers = random.Random(8)
    write_in_pieces(store, [some_record(numbers, number) for number in range(150)], numbers)
    if not is_folded:
        forget_roll_ups(store)
        store.rollups.backfill(70)
    rows = rows_of(store)
    with StoreReader(store.path) as reader:
        found = reader.run(overview(LAST_MS - 3 * DAY_MS + 1, LAST_MS, "day"))
    assert [point.start for point in found.points] == [LAST_MS - days * DAY_MS for days in (3, 2, 1)]
    assert found.total.requests == sum(point.requests for point in found.points) == 150
    assert found.total.cost_nano_usd == sum(row["cost_nano_usd"] or 0 for row in rows)
    assert found.total.unpriced == sum(row["is_unpriced"] for row in rows)
    errors = [row for row in rows if row["outcome"] != "completed" or (row["status"] or 0) >= 400]
    assert found.total.errors == len(errors) > 0
    assert [point.errors for point in found.points] == [
        sum(point.start <= row["started_at"] < point.start + DAY_MS for row in errors) for point in found.points
    ]
    durations = sorted(row["duration_us"] / 1000 for row in rows if row["duration_us"] is not None)
    middle = durations[(len(durations) - 1) // 2]
    assert found.total.latency_ms.p50 == pytest.approx(middle, rel=0.02)
    assert found.total.ttft_ms.p50 is None


def test_a_failing_batch_leaves_the_sums_as_they_were(store: SqliteStore) -> None:
    store.write([make_record()], {})
    before = stored(store)
    broken = msgspec.structs.replace(make_record(), pseudonyms=(("name", None),))
    with pytest.raises(Exception, match=r".*"):
        store.write([make_record(), broken], {})
    assert stored(store) == before
