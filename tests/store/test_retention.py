"""Retention: what is too old or too much goes, in small batches, and is nowhere in the files afterwards."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from proxy.config import Retention as Policy
from proxy.store import Record, SqliteStore
from proxy.store.retention import BATCH
from tests.recorder.builders import START_MS, make_begin, make_end, make_record

DAY_MS = 86_400_000
SECRET = b"CANARY-OF-THE-OLD"


def record(number: int, *, user: str = "", at_ms: int = START_MS) -> Record:
    # Short bodies lie uncompressed in the file, so that a search finds them.
    text = b'{"n":%d,"said":"%b"}' % (number, user.encode())
    begin = make_begin(id=f"{at_ms:013d}-{number:09d}", started_at_ms=at_ms, user=user, session=f"{user}/{number % 97}")
    return make_record(begin, make_end(text, text), request=text, response=text)


def fill(store: SqliteStore, records: Sequence[Record]) -> None:
    for start in range(0, len(records), 200):
        store.write(records[start : start + 200], {})


def search(directory: Path, word: bytes) -> int:
    return sum(path.read_bytes().count(word) for path in directory.iterdir())


def rss_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


def retention(directory: Path, rows: int) -> dict[str, Any]:
    """Fill a store with old and new rows, purge it, and say what that took and what it left."""
    store = SqliteStore(directory / "records.db")
    templates = [record(number, user=SECRET.decode()) for number in range(200)]
    for start in range(0, rows, 200):
        batch = [
            msgspec.structs.replace(each, exchange=_renumbered(each, start + at, START_MS + start + at))
            for at, each in enumerate(templates[: min(200, rows - start)])
        ]
        store.write(batch, {})
    now = START_MS + 400 * DAY_MS
    fill(store, [record(number, user="new", at_ms=now - 1000) for number in range(200)])
    store.checkpoint(at_pages=1)
    before = store.retention.size_bytes()
    gc.collect()
    memory, most, batches, deleted = rss_kb(), 0, 0, 0
    while True:
        purged = store.retention.purge(Policy(), now)
        store.checkpoint()
        batches, deleted = batches + 1, deleted + purged.records
        most = max(most, rss_kb() - memory)
        assert purged.records <= BATCH
        if not purged.is_more and not purged.records:
            break
    store.checkpoint(at_pages=1)
    after = store.retention.size_bytes()
    store.close()
    return {
        "rows": rows,
        "deleted": deleted,
        "batches": batches,
        "rss_growth_kb": most,
        "bytes_before": before,
        "bytes_after": after,
        "file_bytes": (directory / "records.db").stat().st_size,
        "hits": search(directory, SECRET),
    }


def _renumbered(each: Record, number: int, at_ms: int) -> Any:
    begin = msgspec.structs.replace(each.exchange.begin, id=f"{at_ms:013d}-{number:09d}", started_at_ms=at_ms)
    return msgspec.structs.replace(each.exchange, begin=begin)


def test_a_full_store_is_purged_in_small_batches_and_the_file_shrinks_and_nothing_can_be_found(tmp_path: Path) -> None:
    rows = 20_000
    found = retention(tmp_path, rows)
    assert found["deleted"] == rows
    assert found["batches"] <= rows // BATCH + 7
    assert found["bytes_after"] < found["bytes_before"] / 10
    assert found["file_bytes"] < found["bytes_before"] / 5
    assert found["rss_growth_kb"] < 50_000
    assert found["hits"] == 0


def test_bodies_go_before_their_records_and_their_text_cannot_be_found(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    bodies = [b'{"said":"CANARY-%04d"}' % number for number in range(300)]
    fill(
        store,
        [make_record(make_begin(id=f"{n:09d}"), make_end(b, b), request=b, response=b) for n, b in enumerate(bodies)],
    )
    policy = Policy(bodies=DAY_MS / 1000, records=10 * DAY_MS / 1000)
    purged = store.retention.purge(policy, START_MS + 2 * DAY_MS)
    assert (purged.records, purged.bodies) == (0, 300)
    store.checkpoint(at_pages=1)
    assert store.retention.purge(policy, START_MS + 2 * DAY_MS).bodies == 0
    assert store.known(["000000007"]) == {"000000007"}
    store.close()
    assert search(tmp_path, b"CANARY-") == 0


def test_above_the_size_limit_the_oldest_bodies_go_whatever_their_age(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    big = os.urandom(20_000)
    records = []
    for number in range(100):
        begin = make_begin(id=f"{number:09d}", started_at_ms=START_MS + number)
        records.append(make_record(begin, make_end(big, big), request=big, response=big))
    fill(store, records)
    policy = Policy(max_size_gb=2_000_000 / 1024**3)
    while store.retention.size_bytes() > 2_000_000:
        assert store.retention.purge(policy, START_MS + 1000, limit=10).bodies == 10
    kept = [each.exchange.begin.id for each in records if _has_bodies(store, each)]
    assert kept == sorted(kept)[-len(kept) :]
    assert kept[-1] == "000000099"
    store.close()


def _has_bodies(store: SqliteStore, each: Record) -> bool:
    from proxy.databases import open_database

    connection = open_database(store.path, "read")
    try:
        sql = "SELECT bodies_kept FROM exchanges WHERE id = ?"
        return bool(next(iter(connection.execute(sql, (each.exchange.begin.id,))))[0])
    finally:
        connection.close()


def test_large_bodies_leave_no_free_pages_however_many_they_were(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    bodies = [os.urandom(60_000) for _ in range(300)]
    fill(
        store,
        [
            make_record(make_begin(id=f"{number:09d}"), make_end(body, body), request=body, response=body)
            for number, body in enumerate(bodies)
        ],
    )
    store.checkpoint(at_pages=1)
    full_bytes = store.path.stat().st_size
    while store.retention.purge(Policy(), START_MS + 400 * DAY_MS).is_more:
        pass
    assert full_bytes > 300 * 2 * 60_000
    assert store.path.stat().st_size < full_bytes / 45
    store.close()


def test_a_file_that_cannot_shrink_is_not_purged_for_ever(tmp_path: Path) -> None:
    made = apsw.Connection(str(tmp_path / "records.db"))
    made.execute("CREATE TABLE x (y); DROP TABLE x")  # by somebody who did not ask for a file that shrinks
    made.close()
    store = SqliteStore(tmp_path / "records.db")
    fill(store, [record(number) for number in range(1000)])
    purges = [store.retention.purge(Policy(), START_MS + 400 * DAY_MS) for _ in range(10)]
    assert sum(each.records for each in purges) == 1000
    assert not purges[-1].is_more
    store.close()


def test_the_log_of_what_was_deleted_goes_while_everything_runs_as_soon_as_nobody_reads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    fill(store, [record(number, user=SECRET.decode()) for number in range(1000)])
    reader = apsw.Connection(str(tmp_path / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN; SELECT 1 FROM exchanges").fetchall()
    later = START_MS + 400 * DAY_MS
    while store.retention.purge(Policy(), later).is_more:
        pass
    assert search(tmp_path, SECRET) > 0, "the reader still needs it"
    reader.close()
    assert not store.retention.purge(Policy(), later).is_more
    assert search(tmp_path, SECRET) == 0
    store.close()


def test_a_recorder_that_died_before_it_could_cut_the_log_leaves_that_to_the_next(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    fill(store, [record(number, user=SECRET.decode()) for number in range(1000)])
    store.retention.purge_records(START_MS + DAY_MS, 1000)
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in ("records.db", "records.db-wal"):
        (copy / part).write_bytes((tmp_path / part).read_bytes())
    store.close()
    assert search(copy, SECRET) > 0
    store = SqliteStore(copy / "records.db")
    while store.retention.purge(Policy(), START_MS).is_more:
        pass
    assert search(copy, SECRET) == 0
    store.close()


def test_a_purge_with_nothing_to_do_reads_little_however_much_is_stored(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    steps = []
    for rows in (200, 4000):
        fill(store, [record(number) for number in range(rows)])
        steps.append(_steps_of_a_purge(store, START_MS + DAY_MS))
    assert steps[1] < steps[0] + 50
    store.close()


def _steps_of_a_purge(store: SqliteStore, now_ms: int) -> int:
    """Return tenths of the steps that SQLite took."""
    taken: list[int] = []

    def note() -> bool:
        taken.append(1)
        return False

    store._connection.set_progress_handler(note, 10)
    store.retention.purge(Policy(), now_ms)
    store.purge_bills(now_ms)
    store.give_up_waiting(now_ms)
    store._connection.set_progress_handler(None)
    return len(taken)


def test_names_cannot_be_found_in_the_gaps_of_indexes_either(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db")
    numbers = random.Random(2)
    now = START_MS + 400 * DAY_MS
    records = []
    for number in range(6000):
        is_old = number < 3000
        name = f"{numbers.getrandbits(64):x}{SECRET.decode() if is_old else ''}"
        at_ms = (START_MS if is_old else now - 1000) + number
        records.append(
            make_record(make_begin(id=f"{number:09d}", started_at_ms=at_ms, user=name, session=name, trace_id=name))
        )
    fill(store, records)
    while store.retention.purge(Policy(), now).is_more:
        pass
    store.checkpoint(at_pages=1)
    store.close()
    assert search(tmp_path, SECRET) == 0
