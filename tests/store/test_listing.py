from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import StoreError
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.filter import Filter, parse_filter
from proxy.store.listing import Cursor, Place, Sort, SortError, TimeIsUp
from proxy.store.zones import SHIFT
from tests.recorder.builders import START_MS, make_begin, make_record
from tests.store.rows import Row, change, read_rows, write_rows
from tests.store.versions import at_version

T = TypeVar("T")
ROWS = 5 * 512 + 200
MEASURES: dict[str, Callable[[Row], Any]] = {
    "time": lambda row: row["started_at"],
    "cost": lambda row: row["cost_nano_usd"],
    "latency": lambda row: row["duration_us"],
    "ttft": lambda row: row["first_token_us"],
    "input": lambda row: row["input_tokens"],
    "output": lambda row: row["output_tokens"],
    "tokens": lambda row: (
        None
        if row["input_tokens"] is None and row["output_tokens"] is None
        else (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
    ),
}
SORTS = [f"{sign}{name}" for name in MEASURES for sign in ("", "-")]


def made_up(count: int, seed: int) -> Iterator[Row]:
    """Yield rows with few values, many that are the same, many that are missing, and each value in few places."""
    chance = random.Random(seed)

    def some(*values: Any) -> Any:
        return chance.choice(values)

    for number in range(count):
        period = number // 700
        yield {
            "id": f"id-{seed}-{number}",
            "started_at": START_MS + number * 10 - chance.randrange(20_000),
            "key": some(None, "", "a", f"b{period}"),
            "user": some(None, "ann", f"user-{number // 5}"),
            "session": some(None, f"session-{number // 50}"),
            "model": some(None, "m1", f"m2-{period}"),
            "model_requested": some(None, "m1", "m3"),
            "upstream": some("openai", f"other-{period}"),
            "provider": some("openai", None),
            "outcome": "timeout" if chance.random() < 0.005 else "completed",
            "error_code": f"error-{number % 100}" if chance.random() < 0.3 else None,
            "status": some(None, 200, 200, 200, 400 + number % 90, 500 if period == 1 else 200),
            "environment": some(None, "prod", f"e{period}"),
            "prompt_name": some(None, "p"),
            "prompt_version": some(None, "1", f"{period}"),
            "tags": some("{}", "{}", json.dumps({"team": f"t{period}"}), json.dumps({"team": "x", "n": str(number)})),
            "streaming": some(0, 1),
            "is_unpriced": some(0, 0, 1),
            "cost_nano_usd": some(None, 0, 0, chance.randrange(10**6)),
            "duration_us": some(None, chance.randrange(10**6), int(chance.lognormvariate(10, 3))),
            "first_token_us": some(None, chance.randrange(1000)),
            "input_tokens": some(None, chance.randrange(5000)),
            "output_tokens": some(None, 0, chance.randrange(50)),
        }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose full zones are all known, with rows after the last of them."""
    path = tmp_path_factory.mktemp("fresh") / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, made_up(ROWS, seed=1))
    return path


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which rows were changed and deleted since its zones were looked at."""
    path = tmp_path_factory.mktemp("changed") / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, made_up(ROWS, seed=2))
    change_rows(path)
    return path


@pytest.fixture(scope="module")
def relearned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which the zones of what was changed were looked at again."""
    path = tmp_path_factory.mktemp("relearned") / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, made_up(ROWS, seed=3))
        change_rows(path)
        for _ in range(10):
            store.put_status({})
    with StoreReader(path) as reader:
        assert reader.run(query.Query("SELECT count(*) FROM zones WHERE is_known = 0", (), list)) == [(0,)]
    return path


def change_rows(path: Path) -> None:
    """Do to a few zones what pricing anew, reading anew, erasure and retention do."""
    change(path, "UPDATE exchanges SET cost_nano_usd = 10 * seq, is_unpriced = 0 WHERE seq % 700 = 3")
    change(path, "UPDATE exchanges SET model = 'new', input_tokens = 10000 WHERE seq BETWEEN 600 AND 605")
    change(path, "UPDATE exchanges SET tags = '{}', environment = NULL WHERE seq BETWEEN 1100 AND 1110")
    change(path, "DELETE FROM exchanges WHERE seq < 530")


Case = tuple[str, Callable[[Row], bool]]


def equals(field: str, *columns: str) -> st.SearchStrategy[Case]:
    values = st.sampled_from(
        ["a", "b1", "b9", "m1", "m2-2", "openai", "other-3", "timeout", "error-7", "e2", "p", "new"]
    )

    def case(value: str) -> Case:
        return f"{field}:{value}", lambda row: any(row[column] == value for column in columns)

    def glob(value: str) -> Case:
        pattern = value[:2] + "*"
        return f"{field}:{pattern}", lambda row: any(
            row[column] is not None and fnmatchcase(row[column], pattern) for column in columns
        )

    missing: Case = f"{field}:", lambda row: not any(row[column] for column in columns)
    present: Case = f"has:{field}", lambda row: any(row[column] for column in columns)
    return values.map(case) | values.map(glob) | st.sampled_from([missing, present])


def compared(
    field: str, value: Callable[[Row], Any], numbers: st.SearchStrategy[int], unit: str, scale: int
) -> st.SearchStrategy[Case]:
    operators: dict[str, Callable[[Any, Any], bool]] = {
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        "": lambda a, b: a == b,
    }

    def case(operator: str, number: int) -> Case:
        holds = operators[operator]
        return (
            f"{field}:{operator}{number}{unit}",
            lambda row: value(row) is not None and holds(value(row), number * scale),
        )

    def between(low: int, high: int) -> Case:
        text = f"{field}:{low}{unit}..{high}{unit}"
        return text, lambda row: value(row) is not None and low * scale <= value(row) <= high * scale

    return st.builds(case, st.sampled_from(list(operators)), numbers) | st.builds(between, numbers, numbers)


LEAVES = st.one_of(
    equals("key", "key"),
    equals("user", "user"),
    equals("session", "session"),
    equals("model", "model", "model_requested"),
    equals("upstream", "upstream"),
    equals("provider", "provider"),
    equals("outcome", "outcome"),
    equals("error", "error_code"),
    equals("environment", "environment"),
    equals("prompt", "prompt_name"),
    compared("status", lambda row: row["status"], st.sampled_from([200, 400, 450, 500]), "", 1),
    compared("latency", MEASURES["latency"], st.sampled_from([0, 1, 50, 900]), "ms", 1000),
    compared("ttft", MEASURES["ttft"], st.sampled_from([0, 1]), "ms", 1000),
    compared("input", MEASURES["input"], st.sampled_from([0, 4990, 10_000]), "", 1),
    compared("tokens", MEASURES["tokens"], st.sampled_from([0, 1, 10_000]), "", 1),
    st.sampled_from(
        [
            ("user:user-77", lambda row: row["user"] == "user-77"),
            ("session:(session-3 OR session-40)", lambda row: row["session"] in ("session-3", "session-40")),
            ("cost:0", lambda row: row["cost_nano_usd"] == 0),
            ("cost:>$0.00099", lambda row: (row["cost_nano_usd"] or 0) > 990_000),
            ("status:5xx", lambda row: 500 <= (row["status"] or 0) <= 599),
            ("streaming:true", lambda row: row["streaming"] == 1),
            ("unpriced:true", lambda row: row["is_unpriced"] == 1),
            ("meta.team:t2", lambda row: json.loads(row["tags"]).get("team") == "t2"),
            ("meta.n:*7", lambda row: json.loads(row["tags"]).get("n", "").endswith("7")),
            ("has:meta.n", lambda row: "n" in json.loads(row["tags"])),
            ("prompt:p@2", lambda row: row["prompt_name"] == "p" and row["prompt_version"] == "2"),
        ]
    ),
)


def negated(case: Case) -> Case:
    text, holds = case
    return f"-({text})", lambda row: not holds(row)


def joined(word: str, every: Callable[[Any], bool]) -> Callable[[list[Case]], Case]:
    def join(cases: list[Case]) -> Case:
        text = word.join(f"({text})" for text, _ in cases)
        return text, lambda row: every(holds(row) for _, holds in cases)

    return join


CASES = st.recursive(
    LEAVES,
    lambda cases: st.one_of(
        cases.map(negated),
        st.lists(cases, min_size=2, max_size=3).map(joined(" ", all)),
        st.lists(cases, min_size=2, max_size=3).map(joined(" OR ", any)),
    ),
    max_leaves=4,
)


def expected(rows: list[Row], case: Case, sort: str) -> list[int]:
    """Return the rows that a list shows, in its order, as a reader of this sentence would find them."""
    value, upwards = MEASURES[sort.removeprefix("-")], not sort.startswith("-")
    meant = [row for row in rows if case[1](row)]
    known = [row for row in meant if value(row) is not None]
    known.sort(key=lambda row: (value(row), row["seq"]), reverse=not upwards)
    unknown = sorted((row["seq"] for row in meant if value(row) is None), reverse=not upwards)
    return [row["seq"] for row in known] + unknown


def shown(reader: StoreReader, text: str, sort: str, limit: int) -> list[int]:
    """Return the rows of all pages; the cursor goes through its text, as it does with a client."""
    found: list[int] = []
    after: Cursor | None = None
    while True:
        page = reader.run(query.page(parse_filter(text), sort=Sort.parse(sort), limit=limit, after=after))
        assert len(page.rows) <= limit
        assert page.reached is None
        found += [row.seq for row in page.rows]
        if page.cursor is None:
            return found
        after = Cursor.parse(str(page.cursor))
        assert after == page.cursor


@pytest.mark.parametrize("store", ["fresh", "changed", "relearned"])
def test_every_filter_in_every_order_shows_what_a_look_at_each_row_finds(
    store: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(store)
    rows = read_rows(path)
    assert len(rows) > 2000

    @given(case=CASES, sort=st.sampled_from(SORTS), limit=st.sampled_from([1000, 997, 300]))
    @settings(max_examples=150, deadline=None)
    def check(case: Case, sort: str, limit: int) -> None:
        with StoreReader(path) as reader:
            assert shown(reader, case[0], sort, limit) == expected(rows, case, sort), case[0]

    check()


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_every_order_show_every_request_once(fresh: Path, sort: str) -> None:
    everything: Case = "", lambda _: True
    with StoreReader(fresh) as reader:
        assert shown(reader, "", sort, 211) == expected(read_rows(fresh), everything, sort)


@pytest.mark.parametrize("sort", SORTS)
def test_new_requests_do_not_shift_a_page(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store, StoreReader(path) as reader:
        write_rows(store, made_up(800, seed=4))
        before = expected(read_rows(path), ("", lambda _: True), sort)
        first = reader.run(query.page(sort=Sort.parse(sort), limit=300))
        write_rows(store, made_up(800, seed=5))
        rest: list[int] = []
        page = first
        while page.cursor is not None:
            page = reader.run(query.page(limit=300, after=page.cursor))
            rest += [row.seq for row in page.rows if row.seq <= max(before)]
        assert [row.seq for row in first.rows] + rest == before


def test_an_order_that_does_not_exist_is_told() -> None:
    with pytest.raises(SortError, match="colour is none of time, cost"):
        Sort.parse("-colour")


@pytest.mark.parametrize(
    "text", ["", "1-2", "-time.1", "-time.1.2.3", "time.²1.1", "colour.1.2", f"cost.{10**19}.1", "cost.-.1"]
)
def test_a_place_that_is_none_is_none(text: str) -> None:
    assert Cursor.parse(text) is None
    assert Cursor.parse("-cost.-5.7") == Cursor(Sort("cost", is_descending=True), Place(-5, 7))


class Interrupted:
    """Answers the steps of a plan, and lets the time be over at one of them."""

    def __init__(self, path: Path, step: int) -> None:
        self._reader = StoreReader(path, time_limit_s=60)
        self._left = step

    def run(self, plan: query.Plan[T]) -> T:
        steps, connection = plan.steps(), self._reader._connection
        try:
            step = next(steps)
            while True:
                self._left -= 1
                rows = connection.execute(*step).fetchall()
                step = steps.throw(TimeIsUp()) if self._left == 0 else steps.send(rows)
        except StopIteration as end:
            answer: T = end.value
            return answer
        finally:
            self._reader.close()


@pytest.mark.parametrize("sort", SORTS)
def test_what_was_found_when_the_time_is_over_is_right_as_far_as_it_goes(fresh: Path, sort: str) -> None:
    case: Case = "-outcome:completed", lambda row: row["outcome"] != "completed"
    everything = expected(read_rows(fresh), case, sort)
    ended_early = 0
    for number in range(4, 8):
        try:
            page = Interrupted(fresh, number).run(query.page(parse_filter(case[0]), sort=Sort.parse(sort), limit=1000))
        except TimeIsUp:
            continue
        found = [row.seq for row in page.rows]
        assert found == everything[: len(found)]
        if page.cursor is not None:
            ended_early += 1
            with StoreReader(fresh) as reader:
                rest = reader.run(query.page(parse_filter(case[0]), limit=1000, after=page.cursor))
            assert found + [row.seq for row in rest.rows] == everything
    assert ended_early


def test_a_list_that_found_nothing_in_its_time_says_so(fresh: Path) -> None:
    with pytest.raises(TimeIsUp):
        Interrupted(fresh, 1).run(query.page())
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with StoreReader(fresh, time_limit_s=0.1) as reader, pytest.raises(StoreError, match="too long"):
        reader.run(query.page(Filter(f"seq = ({endless})")))


SHAPES = [
    "", "key:a", "-key:a", "key:(a OR b1)", "key:b*", "model:m1", "upstream:openai", "provider:openai", "endpoint:chat",
    "outcome:timeout", "-outcome:completed", "error:error-7", "has:error", "status:429", "status:>=400", "status:5xx",
    "cost:>$1", "latency:>2s", "latency:1s..2s", "ttft:<1s", "tokens:>1k", "user:ann", "session:session-3", "id:x",
    "meta.team:t2", "environment:prod", "prompt:p", "prompt:p@2", "streaming:true", "unpriced:true", "finish:stop",
    "key:a model:m1 status:>=400", "(status:5xx OR latency:>1m) -key:a",
]  # fmt: skip


@pytest.mark.parametrize("text", SHAPES)
def test_no_list_reads_the_whole_table(fresh: Path, text: str) -> None:
    with StoreReader(fresh) as reader:
        for sort in SORTS:
            for sql, steps in plan_of(reader, query.page(parse_filter(text), sort=Sort.parse(sort))):
                for step in steps:
                    assert not step.startswith("SCAN exchanges"), sql
                    # Sorted is what was found in some zones, or the zones themselves; never all requests.
                    is_small = "FROM zones z" in sql or "json_each(?)" in sql or "seq >= ?" in sql
                    assert "TEMP B-TREE" not in step or is_small, sql
                    # A zone's facets are found by the zone, and not among those of all zones.
                    assert "SEARCH f USING PRIMARY KEY (name=?)" not in step, sql


def plan_of(reader: StoreReader, plan: query.Plan[Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each statement that answers a question and how SQLite runs it."""
    steps, connection = plan.steps(), reader._connection
    try:
        step = next(steps)
        while True:
            explained = connection.execute(f"EXPLAIN QUERY PLAN {step[0]}", step[1]).fetchall()
            yield step[0], [str(row[3]) for row in explained]
            step = steps.send(connection.execute(*step).fetchall())
    except StopIteration:
        return


@pytest.mark.parametrize("text", SHAPES)
def test_a_follower_reads_only_what_is_new(fresh: Path, text: str) -> None:
    question = query.requests_after(2700, parse_filter(text))
    with StoreReader(fresh) as reader:
        steps = reader._connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", question.parameters).fetchall()
    plan = [str(step[3]) for step in steps]
    assert any("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in step for step in plan)
    assert not any("SCAN exchanges" in step or "exchanges_by" in step for step in plan)


def test_a_rare_value_is_found_by_reading_the_zones_that_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store, StoreReader(path) as reader:
        rare = {700: "needle", 4000: "needle"}
        write_rows(store, ({"id": str(n), "key": rare.get(n, "hay")} for n in range(10 << SHIFT)))
        read: list[str] = []

        def note(_: object, sql: str, values: Any) -> bool:
            if "z.zone <<" in sql:
                read.append(values[0])
            return True

        reader._connection.set_exec_trace(note)
        assert len(reader.run(query.requests(parse_filter("key:needle")))) == 2
    assert read == ["[7,1]"]


def test_no_value_of_a_deleted_request_stays_in_its_zone(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(
            store, ({"id": str(n), "key": "secret" if n == 5 else "a", "environment": "word"} for n in range(600))
        )
        facets = query.Query("SELECT value FROM facets WHERE value IN ('secret', 'word')", (), list)
        with StoreReader(path) as reader:
            assert reader.run(facets) == [("secret",)], "of a stranger's words a hash is kept"
            change(path, "DELETE FROM exchanges WHERE id = '5'")
            assert reader.run(facets) == []
            store.put_status({})
            assert reader.run(facets) == []
            assert reader.run(query.Query("SELECT count(*) FROM zones WHERE is_known = 1", (), list)) == [(1,)]


def test_requests_of_an_older_store_are_found_before_and_after_its_zones_are_known(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    with closing(SqliteStore(path)) as store:
        write_rows(store, made_up(1500, seed=6))
    # What the migration leaves: zones of which the times are known and nothing else.
    change(path, "DELETE FROM facets; UPDATE zones SET is_known = 0, cost_max = NULL, cost_min = NULL")
    case: Case = "key:a", lambda row: row["key"] == "a"
    for _ in range(2):
        for sort in SORTS:
            with StoreReader(path) as reader:
                assert shown(reader, case[0], sort, 1000) == expected(read_rows(path), case, sort)
        with closing(SqliteStore(path)) as store:
            store.put_status({})


def test_what_is_recorded_into_the_last_zone_of_an_older_store_is_found(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    at_version(path, 5)
    with closing(SqliteStore(tmp_path / "template.db")) as store:
        write_rows(store, made_up(700, seed=6))
    columns = ", ".join(name for name in read_rows(store.path)[0] if name != "privacy")
    change(path, f"ATTACH '{store.path}' AS o; INSERT INTO exchanges ({columns}) SELECT {columns} FROM o.exchanges")  # noqa: S608
    case: Case = "key:late", lambda row: row["key"] == "late"
    with closing(SqliteStore(path)) as store:
        store.put_status({})
        store.write([make_record(make_begin(id=f"{number}", key="late")) for number in range(400)], {})
    with StoreReader(path) as reader:
        assert len(shown(reader, case[0], "-time", 1000)) == 400
        assert shown(reader, case[0], "-cost", 1000) == expected(read_rows(path), case, "-cost")


def test_a_batch_after_everything_was_deleted_looks_for_no_zones_among_what_is_gone(tmp_path: Path) -> None:
    steps = [0]

    def count() -> bool:
        steps[0] += 1
        return False

    spent = []
    with closing(SqliteStore(tmp_path / "records.db")) as store:
        for gone in (0, 50_000_000):
            write_rows(store, [{"id": f"gone-{gone}", "seq": gone + 512}])
            change(store.path, "DELETE FROM exchanges WHERE id = ?", f"gone-{gone}")
            store._connection.set_progress_handler(count, 10)
            steps[0] = 0
            store.write([make_record(make_begin(id=f"{gone}"))], {})
            spent.append(steps[0])
    assert spent[1] < 1.5 * spent[0]
