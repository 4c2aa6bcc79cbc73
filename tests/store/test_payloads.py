"""Heads and bodies in the database: each piece once, for as long as somebody holds it, and not a byte longer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config import Retention as Policy
from proxy.databases import open_database
from proxy.errors import StoreError
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.deletion import Names, Selection
from tests.recorder.builders import PROMPT, START_MS, make_begin, make_end, make_record
from tests.store.versions import at_version

NOISE = random.Random(3)
DAY_MS = 86_400_000


def said(size: int = 400) -> str:
    return NOISE.randbytes(size // 2).hex()


def chat(messages: list[dict[str, Any]], **members: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, **members}).encode()


def record(number: int, request: bytes, response: bytes = b"{}", **begin: Any) -> Any:
    made = make_begin(id=f"{number:09d}", started_at_ms=START_MS + number, **begin)
    return make_record(made, make_end(response, request), request=request, response=response)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "records.db")
    yield made
    made.close()


def body(store: SqliteStore, number: int, side: query.Side = "request") -> bytes | None:
    with StoreReader(store.path) as reader:
        found = reader.run(query.body(f"{number:09d}", side))
    assert found is not None
    return found.head


def one(store: SqliteStore, sql: str, *values: Any) -> Any:
    with closing(open_database(store.path, "read")) as connection:
        return connection.execute(sql, values).get


def assert_counts_are_right(connection: apsw.Connection) -> None:
    held: Counter[int] = Counter()
    for table, column in (("payloads", "head_pieces"), ("payloads", "pieces"), ("pieces", "pieces")):
        for (ids,) in connection.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608
            held.update(json.loads(str(ids)))
    assert dict(connection.execute("SELECT id, uses FROM pieces")) == held


def erase(store: SqliteStore, user: str, *, rows: bool = False) -> None:
    while any(store.deletion.erase(Selection(user=user, rows=rows), Names((user,)))):
        pass


def test_a_history_that_is_sent_again_and_again_is_stored_once(store: SqliteStore) -> None:
    messages: list[dict[str, Any]] = [{"role": "system", "content": said(4000)}]
    bodies = []
    for number in range(60):
        messages += [{"role": "user", "content": said()}, {"role": "assistant", "content": said()}]
        bodies.append(chat([*messages, {"role": "user", "content": said()}]))
        store.write([record(number, bodies[-1])], {})
    assert [body(store, number) for number in range(60)] == bodies
    stored = one(store, "SELECT sum(length(data)) FROM pieces") + one(
        store, "SELECT sum(length(contents)) FROM payloads"
    )
    assert stored < sum(map(len, bodies)) / 25
    sizes = [
        one(store, "SELECT length(pieces) + length(contents) FROM payloads WHERE exchange = ?", at) for at in (9, 60)
    ]
    assert sizes[1] < 3 * sizes[0]
    assert_counts_are_right(store._connection)


def test_two_in_one_batch_share_what_is_new_in_both(store: SqliteStore) -> None:
    system, picture = {"role": "system", "content": said(9000)}, {"role": "user", "content": said(30_000)}
    store.write(
        [record(number, chat([system, picture, {"role": "user", "content": str(number)}])) for number in range(9)], {}
    )
    assert one(store, "SELECT count(*) FROM pieces WHERE length(data) > 3000") == 2
    assert one(store, "SELECT min(uses) FROM pieces WHERE length(data) > 3000") == 9
    assert_counts_are_right(store._connection)


def test_a_document_of_ever_so_many_paragraphs_takes_no_longer_than_its_size_says(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        data = chat([{"role": "user", "content": "\n\n".join(f"{at} {'word ' * 104}" for at in range(count))}])
        with closing(SqliteStore(tmp_path / f"{said(8)}.db")) as store:
            store.write([], {})
            begin = time.process_time()
            store.write([record(1, data)], {})
            spent = time.process_time() - begin
            assert body(store, 1) == data
        return spent

    assert seconds(18_000) < 35 * min(seconds(1_500) for _ in range(2))


def test_a_store_that_is_opened_again_finds_what_it_stored_before(store: SqliteStore, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": said(3000)} for _ in range(30)]
    store.write([record(1, chat(messages))], {})
    before = one(store, "SELECT count(*) FROM pieces")
    store.close()
    again = SqliteStore(tmp_path / "records.db")
    again.write([record(2, chat(messages))], {})
    assert one(again, "SELECT count(*) FROM pieces") == before
    assert body(again, 1) == body(again, 2) == chat(messages)
    again.close()


def test_what_another_request_still_holds_stays_and_the_rest_is_in_no_byte(store: SqliteStore, tmp_path: Path) -> None:
    shared = [{"role": "system", "content": said(5000)}, {"role": "user", "content": said()}]
    secret = {"role": "user", "content": "CANARY " * 400 + said(1000)}
    store.write(
        [record(1, chat([*shared, secret, *shared]), user="alice"), record(2, chat([*shared, *shared]), user="bob")], {}
    )
    held = dict(store._connection.execute("SELECT id, data FROM pieces"))
    erase(store, "alice")
    store.deletion.compact(is_bounded=True)
    left = dict(store._connection.execute("SELECT id, data FROM pieces"))
    gone = [bytes(held[id_]) for id_ in held.keys() - left.keys()]
    assert gone
    assert body(store, 1) is None
    assert body(store, 2) == chat([*shared, *shared])
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(data in each for data in gone for each in files)
    assert all(any(bytes(data) in each for each in files) for data in left.values())
    assert_counts_are_right(store._connection)


@pytest.mark.parametrize("data", [b"", b"\x01damaged", b"\xffof a newer version"])
def test_a_damaged_piece_is_an_error_of_the_store_and_of_whoever_holds_it_alone(
    store: SqliteStore, data: bytes
) -> None:
    store.write([record(1, chat([{"role": "user", "content": said(9000)}])), record(2, b"{}")], {})
    store._connection.execute(
        "UPDATE pieces SET data = ? WHERE length(data) = (SELECT max(length(data)) FROM pieces)", (data,)
    )
    with pytest.raises(StoreError, match="damaged"):
        body(store, 1)
    assert body(store, 2) == b"{}"


def test_the_last_one_to_go_takes_everything_with_it(store: SqliteStore) -> None:
    messages: list[dict[str, Any]] = []
    for number in range(40):
        messages += [{"role": "user", "content": said(6000)}, {"role": "tool", "content": said(200)}]
        store.write([record(number, chat(messages, tools=[{"name": said(900)}]), user=f"u{number % 3}")], {})
    for user in ("u1", "u0"):
        erase(store, user, rows=user == "u0")
        assert_counts_are_right(store._connection)
        assert one(store, "SELECT count(*) FROM pieces") > 0
    erase(store, "u2")
    assert one(store, "SELECT count(*) FROM pieces") == 0


def test_retention_takes_bodies_before_heads_and_heads_with_the_record(store: SqliteStore) -> None:
    messages = [{"role": "user", "content": said(3000)} for _ in range(12)]
    store.write([record(number, chat(messages[: number + 2])) for number in range(10)], {})
    assert store.retention.purge_bodies(START_MS + 9, 500) == 9
    assert body(store, 8) is None
    assert body(store, 9) == chat(messages[:11])
    assert_counts_are_right(store._connection)
    with StoreReader(store.path) as reader:
        found = reader.run(query.body("000000003", "request"))
    assert found is not None
    assert found.headers == (("content-type", "application/json"),)
    assert found.sha256 == make_record(request=chat(messages[:5])).request.sha256
    assert store.retention.purge_records(START_MS + 100, 500) == 10
    assert one(store, "SELECT count(*) FROM pieces") == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("erase"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("bodies"), st.integers(1, 9), st.none()),
        st.tuples(st.just("records"), st.integers(1, 9), st.none()),
        st.tuples(st.just("fail"), st.integers(0, 3), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_in_whatever_order_things_come_and_go_the_counts_are_right(tmp_path: Path, steps: list[Any]) -> None:
    path = tmp_path / "records.db"
    for each in tmp_path.iterdir():
        each.unlink()
    store, talks, kept = SqliteStore(path), [[{"role": "system", "content": "s" * 400}] for _ in range(4)], {}
    try:
        for number, (step, which, how) in enumerate(steps):
            if step in ("write", "fail"):
                batch = []
                for at in range(how or 1):
                    talks[which].append({"role": "user", "content": f"{which}-{len(talks[which])} " * 40})
                    made = chat(talks[which])
                    batch.append(record(number * 10 + at, made, user=f"u{which}"))
                    kept[number * 10 + at] = (made, which)
                if step == "fail":
                    bad = msgspec.structs.replace(record(number * 10 + 9, b"{}"), outcome=None)
                    with pytest.raises(apsw.ConstraintError):
                        store.write([*batch, bad], {})
                    del kept[number * 10]
                else:
                    store.write(batch, {})
            elif step == "erase":
                erase(store, f"u{which}", rows=how)
                kept = {number: each for number, each in kept.items() if each[1] != which}
            else:
                chosen = sorted(kept)[:which]
                before = START_MS + (chosen[-1] + 1 if chosen else 0)
                (store.retention.purge_bodies if step == "bodies" else store.retention.purge_records)(before, 500)
                kept = {number: each for number, each in kept.items() if number not in chosen}
            assert_counts_are_right(store._connection)
        assert {number: body(store, number) for number in kept} == {number: made for number, (made, _) in kept.items()}
        assert (
            kept
            or store._connection.execute(
                "SELECT count(*) FROM pieces WHERE id NOT IN (SELECT value FROM payloads, json_each(head_pieces))"
            ).get
            == 0
        )
    finally:
        store.close()


@pytest.mark.parametrize("point", ["store.before_commit", "store.after_commit"])
def test_a_kill_in_the_middle_of_a_deletion_leaves_the_counts_right_and_it_can_go_on(
    tmp_path: Path, point: str
) -> None:
    store = SqliteStore(tmp_path / "records.db")
    messages: list[dict[str, Any]] = []
    for number in range(30):
        messages.append({"role": "user", "content": said(500)})
        store.write([record(number, chat(messages), user="alice")], {})
    store.close()
    code = (
        "import os, sys; from pathlib import Path; from proxy import failpoints; from proxy.store import SqliteStore;"
        "from proxy.store.deletion import Names, Selection; store = SqliteStore(Path(sys.argv[1]));"
        "failpoints.arm(os.environ); store.deletion.erase(Selection(user='alice'), Names(('alice',)), 10)"
    )
    environment = os.environ | {"GLASSLINE_FAILPOINTS": f"{point}:kill"}
    done = subprocess.run([sys.executable, "-c", code, store.path], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    again = SqliteStore(tmp_path / "records.db")
    left = one(again, "SELECT count(*) FROM payloads WHERE contents IS NOT NULL")
    assert left == (30 if point == "store.before_commit" else 20)
    assert_counts_are_right(again._connection)
    erase(again, "alice")
    assert one(again, "SELECT count(*) FROM pieces") == 0
    again.close()


def test_bodies_of_earlier_versions_are_read_and_deleted_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    at_version(path, 5)
    store = SqliteStore(path)
    store.write([record(0, PROMPT)], {})
    store._connection.execute("DELETE FROM payloads")
    store._connection.executemany(
        "INSERT INTO whole_bodies VALUES (1, ?, ?, ?, x'01', 'raw', ?, 3, ?, ?)",
        [(0, '[["a","b"]]', 3, b"abc", None, ""), (1, "[]", 9, b"xyz", b"end", "redacted_cut")],
    )
    bodies = store.jobs.bodies(1)
    assert bodies is not None
    assert (bodies[0].headers, bodies[0].head, bodies[0].is_whole) == ((("a", "b"),), b"abc", True)
    assert (bodies[1].head, bodies[1].tail, bodies[1].edit) == (b"xyz", b"end", "redacted_cut")
    assert store.retention.purge_bodies(START_MS + 1, 5) == 1
    assert body(store, 0) is None
    store.close()


def test_nobody_can_tell_a_text_by_the_name_of_its_piece(tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        store = SqliteStore(tmp_path / folder / "records.db")
        store.write([record(1, chat([{"role": "system", "content": "a secret that could be guessed" * 10}] * 2))], {})
        names.append(set(store._connection.execute("SELECT hash FROM pieces")))
        store.close()
    assert names[0].isdisjoint(names[1])


def test_heads_that_differ_in_a_few_values_share_the_rest(store: SqliteStore) -> None:
    always = tuple((b"x-stainless-%d" % at, b"the same every time") for at in range(20))
    sent = [(*always, (b"x-request-id", said(32).encode()), (b"date", b"%d" % (number // 7))) for number in range(50)]
    store.write([record(number, PROMPT, headers=headers) for number, headers in enumerate(sent)], {})
    assert one(store, "SELECT count(*) FROM pieces") <= 5
    assert one(store, "SELECT max(length(heads)) FROM payloads") < 100
    with StoreReader(store.path) as reader:
        for number, headers in enumerate(sent):
            found = reader.run(query.body(f"{number:09d}", "request"))
            assert found is not None
            assert tuple((name.encode(), value.encode()) for name, value in found.headers) == headers


def test_heads_of_ever_so_many_shapes_are_all_read_as_they_were(store: SqliteStore) -> None:
    sent = [((b"x-%d" % number, b"\xff\x00" + b"%d" % number), (b"X-%d" % number, b"")) for number in range(700)]
    store.write([record(number, PROMPT, headers=headers) for number, headers in enumerate(sent)], {})
    with StoreReader(store.path) as reader:
        for number in (0, 255, 256, 699):
            found = reader.run(query.body(f"{number:09d}", "request"))
            assert found is not None
            assert (
                tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers)
                == sent[number]
            )


def test_retention_works_through_shared_bodies_in_batches(store: SqliteStore) -> None:
    messages: list[dict[str, Any]] = []
    for number in range(100):
        messages.append({"role": "user", "content": said(300)})
        store.write([record(number, chat(messages))], {})
    policy = Policy(bodies=1, records=DAY_MS / 1000)
    batches = 0
    while store.retention.purge(policy, START_MS + DAY_MS // 2, limit=7).is_more:
        batches += 1
    assert batches >= 100 // 7
    assert_counts_are_right(store._connection)
    assert one(store, "SELECT count(*) FROM payloads WHERE contents IS NOT NULL") == 0


def gaps(path: Path) -> list[bytes]:
    """Return what lies between the cells of the pages of tables."""
    data, found = path.read_bytes(), []
    for start in range(16384, len(data), 16384):
        page = data[start : start + 16384]
        if page[0] == 0x0D:
            found.append(page[8 + 2 * int.from_bytes(page[3:5]) : int.from_bytes(page[5:7])])
    return found


def test_after_retention_no_gap_of_a_page_holds_what_was_deleted(store: SqliteStore) -> None:
    chance = random.Random(5)
    talks: list[list[dict[str, Any]]] = []
    records = []
    for number in range(2000):
        if not talks or chance.random() < 0.15:
            talks.append([{"role": "system", "content": chance.randbytes(200).hex()}])
        talk = chance.choice(talks[-30:])
        talk.append({"role": "user", "content": chance.randbytes(chance.randint(20, 900)).hex()})
        answer = chance.randbytes(300).hex()
        records.append(record(number * 1000, chat(talk), answer.encode()))
        talk.append({"role": "assistant", "content": answer})
    for start in range(0, len(records), 50):
        store.write(records[start : start + 50], {})
    before = dict(store._connection.execute("SELECT id, data FROM pieces"))
    policy = Policy(bodies=DAY_MS / 1000, records=10 * DAY_MS / 1000)
    while store.retention.purge(policy, START_MS + 1_333_000 + DAY_MS).is_more:
        pass
    left = dict(store._connection.execute("SELECT id, data FROM pieces"))
    assert_counts_are_right(store._connection)
    deleted = b"".join(bytes(before[id_]) for id_ in before.keys() - left.keys())
    assert len(deleted) > 500_000
    assert 0 < len(left) < len(before)
    runs = {gap[at : at + 16] for gap in gaps(store.path) for at in range(0, len(gap) - 16, 16)}
    kept = b"".join(bytes(data) for data in left.values())
    assert not [run for run in runs if any(run) and run in deleted and run not in kept]
    assert all(before.get(id_, data) == data for id_, data in left.items())
    assert body(store, 1_999_000) == records[-1].request.head
