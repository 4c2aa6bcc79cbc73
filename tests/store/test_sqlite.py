from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import apsw
import msgspec
import pytest

from proxy.errors import EnvironmentUnusable, StoreError
from proxy.records import Reading
from proxy.store import JournalPosition, SqliteStore, StoreReader, Tally, query, sqlite
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD, PROMPT, START_MS, make_begin, make_end, make_record

PROMISED_COLUMNS = [
    "id",
    "started_at",
    "key",
    "user",
    "session",
    "trace_id",
    "parent_id",
    "environment",
    "tags",
    "upstream",
    "wire",
    "endpoint",
    "method",
    "path",
    "model_requested",
    "model",
    "streaming",
    "status",
    "outcome",
    "error_code",
    "error_message",
    "ttft_ms",
    "duration_ms",
    "overhead_ms",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "usage",
    "usage_source",
    "cost_usd",
    "cost_source",
    "price_version",
    "finish_reason",
    "prompt_name",
    "prompt_version",
    "attempt",
    "request_bytes",
    "response_bytes",
    "mutated",
    "retry_of",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path)) as store:
        yield store


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    # Not the standard library's SQLite: two copies in one process break each other's locks.
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(sql).fetchall()


def test_the_view_has_exactly_the_promised_columns(store: SqliteStore) -> None:
    columns = [str(row[0]) for row in ask(store.path, "SELECT name FROM pragma_table_info('requests')")]
    assert columns == PROMISED_COLUMNS


def test_a_row_of_the_view_says_what_happened(store: SqliteStore, path: Path) -> None:
    begin = make_begin(tags={"env": "prod"}, user="ann", mutated=("include_usage",), prompt_name="p", attempt=2)
    store.write([make_record(begin)], {})
    row = dict(zip(PROMISED_COLUMNS, ask(path, "SELECT * FROM requests")[0], strict=True))
    usage = row.pop("usage")
    assert json.loads(str(usage)) == json.loads(ANSWER)["usage"]
    assert row == {
        "id": begin.id,
        "started_at": START_MS,
        "key": "search-team",
        "user": "ann",
        "session": None,
        "trace_id": None,
        "parent_id": None,
        "environment": None,
        "tags": '{"env":"prod"}',
        "upstream": "openai",
        "wire": "openai",
        "endpoint": "chat",
        "method": "POST",
        "path": "/chat/completions",
        "model_requested": "gpt-4o-mini",
        "model": "gpt-4o-mini-2024-07-18",
        "streaming": 0,
        "status": 200,
        "outcome": "completed",
        "error_code": None,
        "error_message": None,
        "ttft_ms": None,
        "duration_ms": 500.0,
        "overhead_ms": 0.25,
        "input_tokens": 1000,
        "cached_input_tokens": None,
        "cache_write_tokens": None,
        "output_tokens": 100,
        "reasoning_tokens": None,
        "usage_source": "provider",
        "cost_usd": ANSWER_NANO_USD / 1e9,
        "cost_source": "table",
        "price_version": row["price_version"],
        "finish_reason": "stop",
        "prompt_name": "p",
        "prompt_version": None,
        "attempt": 2,
        "request_bytes": len(PROMPT),
        "response_bytes": len(ANSWER),
        "mutated": "include_usage",
        "retry_of": None,
    }
    assert str(row["price_version"]).startswith("genai-prices ")


def test_a_record_is_stored_and_counted_once_however_often_it_is_written(store: SqliteStore, path: Path) -> None:
    records = [make_record(make_begin(id=f"id-{index}")) for index in range(3)]
    assert store.write(records, {}) == ["id-0", "id-1", "id-2"]
    before = ask(path, "SELECT * FROM counters"), ask(path, "SELECT * FROM histograms")
    assert store.write(records, {}) == []
    assert store.write([*records, make_record(make_begin(id="id-3"))], {}) == ["id-3"]
    after = ask(path, "SELECT * FROM counters"), ask(path, "SELECT * FROM histograms")
    assert before != after
    assert ask(path, "SELECT count(*), count(DISTINCT id) FROM requests") == [(4, 4)]
    assert ask(path, "SELECT value FROM counters WHERE name = 'glassline_records_written_total'") == [(4,)]
    assert ask(path, "SELECT count(*) FROM bodies") == [(8,)]


def test_of_several_records_of_one_exchange_in_a_batch_the_first_is_stored(store: SqliteStore, path: Path) -> None:
    first, second = make_record(make_begin(id="same", user="first")), make_record(make_begin(id="same", user="second"))
    other = make_record(make_begin(id="other"))
    assert store.write([first, second, other], {}) == ["same", "other"]
    assert ask(path, "SELECT id, user FROM requests ORDER BY id") == [("other", None), ("same", "first")]
    assert ask(path, "SELECT value FROM counters WHERE name = 'glassline_records_written_total'") == [(2,)]
    found = ask(
        path, "SELECT e.id, count(*) FROM bodies b JOIN exchanges e ON e.seq = b.exchange GROUP BY 1 ORDER BY 1"
    )
    assert found == [("other", 2), ("same", 2)]


def test_numbers_of_rows_are_never_used_twice(store: SqliteStore, path: Path) -> None:
    store.write([make_record(), make_record()], {})
    apsw.Connection(str(path)).execute("DELETE FROM exchanges")
    store.write([make_record()], {})
    assert ask(path, "SELECT seq FROM exchanges") == [(3,)]


def test_a_failing_batch_changes_nothing_at_all(store: SqliteStore, path: Path) -> None:
    good, bad = make_record(), msgspec.structs.replace(make_record(), outcome=None)
    with pytest.raises(apsw.ConstraintError):
        store.write([good, bad], {"segment": JournalPosition(1, 2)}, [Tally("glassline_records_lost_total", (), 1)])
    for table in ("exchanges", "payloads", "pieces", "counters", "histograms", "journal_segments"):
        assert ask(path, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608 - names stand above
    assert store.write([good], {}) == [good.exchange.begin.id]
    assert ask(path, "SELECT value FROM counters WHERE name = 'glassline_records_written_total'") == [(1,)]


def test_counters_and_histograms_go_on_after_a_restart(path: Path) -> None:
    for _ in range(3):
        with closing(SqliteStore(path)) as store:
            store.write([make_record(), make_record()], {})
    with StoreReader(path) as reader:
        counters = {(row.name, row.labels.get("type")): row.value for row in reader.run(query.counters())}
        histograms = {(row.name, row.labels.get("gen_ai_token_type")): row for row in reader.run(query.histograms())}
    assert counters["glassline_requests_total", None] == 6
    assert counters["glassline_tokens_total", "input"] == 6000
    assert counters["glassline_cost_usd_total", None] == 6 * ANSWER_NANO_USD
    durations = histograms["gen_ai_client_operation_duration_seconds", None]
    assert (durations.count, durations.sum, sum(durations.buckets)) == (6, 3.0, 6)
    # 0.5 s lies in the bucket up to 0.64 s, the seventh.
    assert durations.buckets[6] == 6
    assert histograms["gen_ai_client_token_usage", "input"].sum == 6000


def test_positions_are_kept_and_forgotten(store: SqliteStore) -> None:
    store.write([], {"a": JournalPosition(1, 5), "b": JournalPosition(2, 2)})
    store.write([], {"a": JournalPosition(3, 9), "b": None})
    assert store.positions() == {"a": JournalPosition(3, 9)}


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\U0010ffff\udfff", "'; DROP TABLE exchanges; --", "é" * 100_000])
def test_no_text_breaks_an_insert(store: SqliteStore, path: Path, text: str) -> None:
    begin = make_begin(
        user=text,
        path=text,
        tags={text: text},
        key=text,
        headers=((b"\xff\xfe\0", text.encode("utf-8", "surrogatepass")),),
    )
    record = make_record(begin)
    reading = msgspec.structs.replace(record.reading, error_message=text, finish_reasons=(text, None), model=text)
    store.write([msgspec.structs.replace(record, reading=reading)], {})
    with StoreReader(path) as reader:
        (row,) = reader.run(query.requests())
        assert reader.run(query.body(row.id, "request")) is not None
    assert row.user is not None
    assert "\0" not in row.user
    row.user.encode()


def test_integers_beyond_64_bits_are_unknown(store: SqliteStore, path: Path) -> None:
    record = make_record()
    totals = msgspec.structs.replace(record.totals, input=10**30, output=-(10**30))
    store.write([msgspec.structs.replace(record, totals=totals)], {})
    assert ask(path, "SELECT input_tokens, output_tokens FROM requests") == [(None, None)]


def test_bodies_come_back_byte_for_byte(store: SqliteStore, path: Path) -> None:
    odd = bytes(range(256)) * 20
    record = make_record(make_begin(id="odd"), make_end(odd, odd), request=odd, response=odd)
    empty = make_record(make_begin(id="empty"), make_end(b"", b"", status=204), request=b"", response=b"")
    store.write([record, empty], {})
    with StoreReader(path) as reader:
        for side in (query.body("odd", "request"), query.body("odd", "response")):
            body = reader.run(side)
            assert body is not None
            assert (body.head, body.is_whole, body.sha256) == (odd, True, sha256(odd).digest())
            assert body.headers == (("content-type", "application/json"),)
        nothing = reader.run(query.body("empty", "response"))
        assert nothing is not None
        assert (nothing.head, nothing.is_whole, nothing.size) == (b"", True, 0)
        assert reader.run(query.body("missing", "request")) is None


def test_large_texts_are_compressed(store: SqliteStore, path: Path) -> None:
    store.write([make_record(response=ANSWER.replace(b"Hello!", b"Hello! " * 2000))], {})
    ((size, stored),) = ask(path, "SELECT response_size, length(contents) FROM payloads")
    assert isinstance(size, int)
    assert isinstance(stored, int)
    assert stored < size / 20


def test_the_database_is_private_and_has_the_pragmas_it_needs(store: SqliteStore, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    names = ("page_size", "journal_mode", "synchronous", "foreign_keys", "auto_vacuum", "secure_delete")
    assert [store._connection.pragma(name) for name in names] == [16384, "wal", 1, 1, 2, 1]
    assert store._connection.pragma("wal_autocheckpoint") == 0


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MINIMUM_SQLITE", (99, 0, 0))
    with pytest.raises(EnvironmentUnusable, match=r"99\.0\.0 or newer"):
        SqliteStore(path)
    assert not path.exists()


def test_a_newer_database_is_refused_and_left_as_it_is(path: Path) -> None:
    SqliteStore(path).close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer"):
        SqliteStore(path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["records.db"]


def test_a_locked_database_is_the_environments_fault_and_passes(store: SqliteStore, path: Path) -> None:
    record = make_record()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            store.write([record], {})
        other.execute("ROLLBACK")
    assert store.write([record], {}) == [record.exchange.begin.id]


def test_a_full_disk_is_the_environments_fault_and_passes(store: SqliteStore) -> None:
    noise = b"".join(sha256(str(index).encode()).digest() for index in range(10_000))
    record = make_record(request=noise)
    store._connection.pragma("max_page_count", store._connection.pragma("page_count"))
    with pytest.raises(StoreError, match="full"):
        store.write([record], {})
    store._connection.pragma("max_page_count", 100_000)
    assert store.write([record], {}) == [record.exchange.begin.id]


def test_retention_deletes_bodies_first_and_rows_later(store: SqliteStore, path: Path) -> None:
    secret = b"employee E123456"
    for index in range(10):
        request = PROMPT.replace(b"Say hello", secret + str(index).encode())
        store.write([make_record(make_begin(started_at_ms=START_MS + index), request=request)], {})
    assert store.retention.purge_bodies(START_MS + 6, 4) == 4
    assert store.retention.purge_bodies(START_MS + 6, 4) == 2
    assert store.retention.purge_bodies(START_MS + 6, 4) == 0
    assert ask(path, "SELECT count(*) FROM payloads WHERE contents IS NOT NULL") == [(4,)]
    assert ask(path, "SELECT count(*) FROM requests") == [(10,)]
    assert store.retention.purge_records(START_MS + 3, 500) == 3
    assert ask(path, "SELECT count(*), min(started_at) FROM requests") == [(7, START_MS + 3)]
    assert ask(path, "SELECT count(*) FROM bodies") == [(14,)]
    assert store.retention.purge_oldest_bodies(500) == 4
    with StoreReader(path) as reader:
        (newest,) = reader.run(query.requests(limit=1))
        body = reader.run(query.body(newest.id, "request"))
    assert body is not None
    assert (body.head, body.is_whole) == (None, False)
    assert body.size > 0


def test_what_retention_deleted_is_not_in_the_file_any_more(path: Path) -> None:
    marker = sha256(b"a secret that zstd cannot compress").hexdigest().encode() * 3
    with closing(SqliteStore(path)) as store:
        store.write([make_record(make_begin(user=marker.decode()), request=PROMPT + marker)], {})
        store.checkpoint(at_pages=1)
        assert marker in path.read_bytes()
        assert store.retention.purge_records(START_MS + 1, 500) == 1
        store.retention.release_pages(500)
    assert marker not in path.read_bytes()


def test_pages_are_given_back(store: SqliteStore) -> None:
    noise = b"".join(sha256(str(index).encode()).digest() for index in range(20_000))
    empty = store.retention.size_bytes()
    store.write([make_record(request=noise[number:]) for number in range(5)], {})
    grown = store.retention.size_bytes() - empty
    store.retention.purge_oldest_bodies(5)
    assert store.retention.size_bytes() - empty < grown / 10
    store.retention.release_pages(10_000)
    assert store._connection.pragma("freelist_count") == 0


def test_a_checkpoint_empties_the_log_for_the_next_round(store: SqliteStore, path: Path) -> None:
    for _ in range(30):
        store.write([make_record()], {})
    wal = path.with_name("records.db-wal")
    grown = wal.stat().st_size
    store.checkpoint()
    assert store._wal_pages > 0
    store.checkpoint(at_pages=1)
    store.sync()
    for _ in range(30):
        store.write([make_record()], {})
    assert wal.stat().st_size <= grown * 1.2


def test_settlements_and_known_ids_are_found(store: SqliteStore) -> None:
    reserved = make_record(make_begin(id="reserved", is_reserved=True))
    store.write([reserved, make_record(make_begin(id="free"))], {})
    assert store.known(["reserved", "free", "missing", "x' OR '1'='1"]) == {"reserved", "free"}
    settlement = store.settlements(["reserved", "missing"])["reserved"]
    assert settlement == reserved.settlement
    assert settlement.nano_usd == ANSWER_NANO_USD


def test_only_the_facts_are_needed_to_store_a_record(store: SqliteStore, path: Path) -> None:
    record = msgspec.structs.replace(make_record(), reading=Reading(reader="none", endpoint="other"))
    store.write([record], {})
    assert ask(path, "SELECT endpoint, model, streaming FROM requests") == [("other", None, 0)]


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(file.name for file in (files("proxy.store") / "migrations").iterdir() if file.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
