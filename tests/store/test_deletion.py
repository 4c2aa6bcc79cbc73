"""Deletion in the database: whose rows, what is left of them, and that nothing of them can be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from proxy.databases import open_database
from proxy.errors import StoreError
from proxy.store import SqliteStore
from proxy.store.backups import erase_backup, known_backups, remember_backup
from proxy.store.deletion import Names, Selection, condition, count
from proxy.store.rollups import Rollups
from tests.recorder.builders import START_MS, make_begin, make_end, make_exchange, make_record
from tests.store.versions import newest_of

ALICE = Selection(user="alice")


def names_of(selection: Selection) -> Names:
    return Names(*((name,) if name else () for name in (selection.user, selection.session)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "records.db")
    yield made
    made.close()


def put(store: SqliteStore, number: int, **begin: Any) -> str:
    text = b'{"n":%d,"said":"CANARY"}' % number
    fields = {"id": f"{number:09d}", "started_at_ms": START_MS + number, "tags": {"a": "CANARY"}} | begin
    made = make_record(make_begin(**fields), make_end(text, text), request=text, response=text)
    store.write([made], {})
    return f"{number:09d}"


def rows(store: SqliteStore, sql: str, *values: Any) -> list[dict[str, Any]]:
    connection = open_database(store.path, "read")
    try:
        cursor = connection.execute(sql, values)
        return [dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in cursor]
    except apsw.ExecutionCompleteError:
        return []
    finally:
        connection.close()


def erase(store: SqliteStore, selection: Selection, limit: int = 7) -> tuple[int, int]:
    emptied = deleted = 0
    while True:
        more = store.deletion.erase(selection, names_of(selection), limit)
        if not any(more):
            return emptied, deleted
        emptied, deleted = emptied + more[0], deleted + more[1]


def test_only_the_numbers_are_left_of_a_row_and_nothing_changes_for_others(store: SqliteStore) -> None:
    for number in range(20):
        put(store, number, user="alice" if number % 2 else "bob", session=f"s{number % 3}", trace_id="CANARY")
    others = rows(store, "SELECT * FROM exchanges WHERE user = 'bob'")
    before = rows(store, "SELECT id, model, input_tokens, output_tokens, cost_nano_usd, key FROM exchanges")
    assert erase(store, ALICE) == (10, 0)
    assert rows(store, "SELECT * FROM exchanges WHERE user = 'bob'") == others
    assert rows(store, "SELECT id, model, input_tokens, output_tokens, cost_nano_usd, key FROM exchanges") == before
    emptied = rows(store, "SELECT * FROM exchanges WHERE privacy = 'erased'")
    assert len(emptied) == 10
    for row in emptied:
        assert "CANARY" not in str(row)
        assert (row["user"], row["session"], row["path"], row["tags"], row["bodies_kept"]) == (None, None, "", "{}", 0)
    payloads = rows(store, "SELECT payloads.* FROM payloads JOIN exchanges ON seq = exchange WHERE privacy = 'erased'")
    assert {(row["request_sha256"], row["response_sha256"]) for row in payloads} == {(b"", b"")}
    assert {row[name] for row in payloads for name in ("head_pieces", "heads", "pieces", "contents")} == {None}
    assert erase(store, ALICE) == (0, 0)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(user="alice"), {1, 3, 5}),
        (Selection(session="s1"), {1, 4}),
        (Selection(user="alice", session="s1"), {1}),
        (Selection(key="team"), {0, 5}),
        (Selection(user="alice", before_ms=START_MS + 3), {1}),
        (Selection(user="alic"), set()),
        (Selection(user="%"), set()),
        (Selection(user="ALICE"), set()),
    ],
)
def test_a_selection_is_about_what_fits_all_of_it(store: SqliteStore, selection: Selection, expected: set[int]) -> None:
    for number in range(6):
        key = "team" if number % 5 == 0 else "other"
        put(store, number, user="alice" if number % 2 else "bob", session=f"s{number % 3}", key=key)
    connection = open_database(store.path, "read")
    assert count(connection, selection, names_of(selection)) == len(expected)
    connection.close()
    assert erase(store, selection) == (len(expected), 0)
    found = {int(row["id"]) for row in rows(store, "SELECT id FROM exchanges WHERE privacy = 'erased'")}
    assert found == expected


def test_a_selection_that_names_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="everybody"):
        condition(Selection(before_ms=1), Names())


def test_rows_go_when_asked_for_but_those_the_ledger_may_ask_about(store: SqliteStore) -> None:
    store.deletion = type(store.deletion)(store.deletion._connection, store._our_transaction, lambda: START_MS + 1000)
    put(store, 1, user="alice")
    put(store, 2, user="alice", is_reserved=True)
    put(store, 3, user="alice", is_reserved=True, started_at_ms=START_MS - 27 * 3_600_000)
    assert erase(store, Selection(user="alice", rows=True)) == (1, 2)
    (left,) = rows(store, "SELECT * FROM exchanges")
    assert (left["id"], left["user"], left["privacy"]) == ("000000002", None, "erased")
    assert store.settlements(["000000002"])
    assert len(rows(store, "SELECT * FROM bodies")) == 2


def test_after_compacting_nothing_can_be_found_in_any_file(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(3000):
        whose = "CANARY" if number % 3 else f"user{number}"
        put(store, number, user=whose, session=f"{number * 7919 % 3001:04d}{whose}")
    selection = Selection(user="CANARY")
    assert erase(store, selection, 200) == (2000, 0)
    assert store.deletion.compact(is_bounded=True) == []
    connection = open_database(store.path, "write")
    connection.execute("UPDATE exchanges SET tags = '{}'")
    connection.execute("DELETE FROM rollups WHERE dimension = 'tag'")
    connection.execute("UPDATE payloads SET contents = NULL")
    connection.execute("VACUUM")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    assert all(b"CANARY" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_reader_that_never_ends_is_named_instead_of_waited_for_for_ever(store: SqliteStore) -> None:
    put(store, 1, user="alice")
    reader = open_database(store.path, "read")
    reader.execute("BEGIN; SELECT * FROM exchanges").fetchall()
    erase(store, ALICE)
    (missed,) = store.deletion.compact(is_bounded=True, patience_s=0.2)
    assert "records.db-wal" in missed
    reader.close()
    assert store.deletion.compact(is_bounded=True) == []


def test_what_others_say_after_a_deletion_is_found(store: SqliteStore) -> None:
    body = b'{"messages":[{"role":"system","content":"%b"}]}' % (b"Tell everybody about zebras. " * 4)
    for number, user in enumerate(["alice", "bob"]):
        begin = make_begin(id=user, user=user, started_at_ms=START_MS + number)
        store.write([make_record(begin, make_end(request=body), request=body)], {})
        erase(store, ALICE)
    assert rows(store, "SELECT rowid FROM texts WHERE texts MATCH 'zebras'") == [{"rowid": 2}]


def test_pseudonyms_go_with_what_they_stand_in(store: SqliteStore) -> None:
    exchange = make_exchange(make_begin(id="1", user="alice"))
    made = msgspec.structs.replace(make_record(), exchange=exchange, pseudonyms=(("[EMAIL:1]", "a@example.com"),))
    store.write([made], {})
    assert rows(store, "SELECT * FROM pseudonyms")[0]["original"] == "a@example.com"
    erase(store, ALICE)
    assert rows(store, "SELECT * FROM pseudonyms") == []


@pytest.mark.parametrize("newest", range(1, newest_of("records.db") + 1))
def test_a_copy_from_an_older_version_is_emptied_as_well(tmp_path: Path, newest: int) -> None:
    from importlib.resources import files

    copy = tmp_path / "records.db.old"
    connection = open_database(copy, "write")
    for file in sorted((files("proxy.store") / "migrations").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql") and int(file.name[:4]) <= newest:
            connection.execute(file.read_text())
    text = {"tags": "'{}'", "cost_components": "'{}'", "finish_reasons": "'[]'", "tool_calls": "'[\"CANARY\"]'"}
    columns = {
        row[1]: text.get(row[1], "'alice'" if row[1] == "user" else "'x'" if "TEXT" in row[2] else "1")
        for row in connection.execute("PRAGMA table_info(exchanges)")
    }
    connection.execute(f"INSERT INTO exchanges ({', '.join(columns)}) VALUES ({', '.join(columns.values())})")  # noqa: S608
    table = "bodies" if newest < 6 else "whole_bodies"
    connection.execute(
        f"INSERT INTO {table} (exchange, side, headers, size, sha256, codec, head, head_size, tail)"  # noqa: S608
        " VALUES (1, 0, 'CANARY', 1, x'', 'raw', 'CANARY', 1, NULL)"
    )
    if newest >= 6:
        connection.execute("INSERT INTO pieces VALUES (1, x'01', 1, NULL, 'CANARY')")
        connection.execute("INSERT INTO payloads VALUES (1, 1, 'CANARY', 1, 'CANARY', '[]', 'CANARY', '[1]', 'CANARY')")
    if newest >= 7:
        Rollups(connection).add([1])
    if newest >= 12:
        connection.execute("INSERT INTO feedback SELECT id, 'user', 'token:shop', 1, 0, 'CANARY' FROM exchanges")
    connection.close()
    assert known_backups(tmp_path) == [copy]
    assert erase_backup(copy, ALICE, names_of(ALICE)) == 1
    assert b"CANARY" not in copy.read_bytes()
    assert b"alice" not in copy.read_bytes()
    assert erase_backup(copy, ALICE, names_of(ALICE)) == 0


def test_backups_elsewhere_are_remembered_once(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar", "a.tar"):
        remember_backup(tmp_path, tmp_path / "elsewhere" / name)
    assert [path.name for path in known_backups(tmp_path)] == ["a.tar", "b.tar"]


def test_rows_that_were_emptied_before_go_as_well_when_asked_for(store: SqliteStore) -> None:
    put(store, 1, key="team")
    assert erase(store, Selection(key="team")) == (1, 0)
    assert erase(store, Selection(key="team", rows=True)) == (0, 1)
    assert rows(store, "SELECT 1 FROM exchanges") == []


def test_a_damaged_copy_is_not_said_to_be_empty(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(300):
        put(store, number, user="alice")
    store.checkpoint(at_pages=1)
    store.close()
    data = bytearray(store.path.read_bytes())
    quarter = len(data) // 4
    data[quarter : 3 * quarter] = b"\xff" * (2 * quarter)
    copy = tmp_path / "records.db.corrupt-1"
    copy.write_bytes(data)
    bob = Selection(user="bob")
    with pytest.raises(StoreError):
        erase_backup(copy, bob, names_of(bob))


def replay(store: SqliteStore, number: int, of: str) -> str:
    return put(store, number, key="playground.operator", tags={"replay_of": of})


@pytest.mark.parametrize("has_rows", [False, True])
def test_what_others_replayed_of_somebody_goes_with_them_and_so_do_replays_of_replays(
    store: SqliteStore, has_rows: bool
) -> None:
    of_bob = replay(store, 1, put(store, 0, user="bob"))
    replay(store, 4, replay(store, 3, put(store, 2, user="alice")))
    assert erase(store, Selection(user="alice", rows=has_rows)) == ((2, 1) if has_rows else (3, 0))
    left = rows(store, "SELECT id FROM exchanges WHERE tags != '{}' ORDER BY seq")
    assert [row["id"] for row in left] == ["000000000", of_bob]
    assert rows(store, "SELECT count(*) AS n FROM payloads WHERE contents IS NOT NULL") == [{"n": 2}]


def test_a_replay_that_ends_after_its_original_was_erased_is_erased_too(store: SqliteStore) -> None:
    original = put(store, 0, user="alice")
    assert erase(store, ALICE) == (1, 0)
    replay(store, 1, original)
    assert erase(store, ALICE) == (1, 0)
    assert erase(store, ALICE) == (0, 0)
    assert rows(store, "SELECT count(*) AS n FROM payloads WHERE contents IS NOT NULL") == [{"n": 0}]


def test_what_others_replayed_of_somebody_goes_from_backups_too(store: SqliteStore, tmp_path: Path) -> None:
    replay(store, 2, replay(store, 1, put(store, 0, user="alice")))
    copy = tmp_path / "copy.db"
    apsw.Connection(str(store.path)).execute("VACUUM INTO ?", (str(copy),))
    assert erase_backup(copy, ALICE, names_of(ALICE)) == 1
    assert b"CANARY" not in copy.read_bytes()
    assert apsw.Connection(str(copy)).execute("SELECT DISTINCT tags FROM exchanges").fetchall() == [("{}",)]
