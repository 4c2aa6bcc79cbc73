from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import NoReturn

import apsw
import pytest

from proxy import failpoints
from proxy.config import Config
from proxy.journal import CHUNK_RESPONSE, JournalWriter
from proxy.recorder import Recorder
from proxy.recorder.bills import Bills
from proxy.recorder.durability import SegmentSync
from proxy.recorder.interpret import Interpreter
from proxy.store import SqliteStore, StoreReader, query
from proxy.store.query import RequestRow
from tests.harness.process import wait_until
from tests.recorder.builders import (
    ANSWER,
    DONE_EVENT,
    EVENTS,
    PROMPT,
    START_MS,
    USAGE_EVENT,
    interpreter,
    make_begin,
    make_end,
    write_chat,
    write_stream,
)
from tests.recorder.conftest import Hands, Make


def rows(directory: Path) -> dict[str, RequestRow]:
    with StoreReader(directory / "records.db") as reader:
        return {row.id: row for row in reader.run(query.requests(limit=1000))}


def counter(directory: Path, name: str) -> int:
    with StoreReader(directory / "records.db") as reader:
        return sum(row.value for row in reader.run(query.counters()) if row.name == name)


def status(directory: Path) -> dict[str, float]:
    with StoreReader(directory / "records.db") as reader:
        return reader.run(query.status())


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "journal").glob("*.journal"))


def work(recorder: Recorder) -> None:
    """Step until nothing is new, twice: the first idle step is the one that may notice a death."""
    while recorder.step() or recorder.step():
        pass


def test_what_was_appended_is_in_the_store_after_one_step(make: Make, journal: JournalWriter, tmp_path: Path) -> None:
    recorder = make()
    chat = write_chat(journal)
    stream = write_stream(journal, (*EVENTS, USAGE_EVENT, DONE_EVENT))
    recorder.step()
    stored = rows(tmp_path)
    assert stored.keys() == {chat, stream}
    assert (stored[chat].ttft_ms, stored[stream].ttft_ms) == (None, 410.0)
    assert (stored[stream].streaming, stored[stream].output_tokens) == (1, 2)


def test_segments_are_deleted_as_soon_as_nothing_open_is_in_them(
    make: Make, journal: JournalWriter, tmp_path: Path
) -> None:
    recorder = make()
    number = journal.begin(make_begin(id="open"), PROMPT)
    for _ in range(60):
        write_chat(journal)
    work(recorder)
    assert len(segments(tmp_path)) == 2
    assert segments(tmp_path)[0].name.endswith("00000000.journal")
    journal.end(number, make_end(), ANSWER)
    work(recorder)
    assert len(segments(tmp_path)) == 1
    assert len(rows(tmp_path)) == 61
    journal.close()
    work(recorder)
    assert list((tmp_path / "journal").iterdir()) == []
    store = SqliteStore(tmp_path / "records.db")
    assert store.positions() == {}
    store.close()


def test_a_restart_at_any_step_changes_nothing(make: Make, journal: JournalWriter, tmp_path: Path) -> None:
    number = journal.begin(make_begin(id="long"), PROMPT)
    for index in range(30):
        journal.chunk(CHUNK_RESPONSE, number, b"%03d " % index)
        write_chat(journal, make_begin(id=f"id-{index}"))
        make().step()
    body = b"".join(b"%03d " % index for index in range(30))
    journal.end(number, make_end(body))
    make().step()
    assert rows(tmp_path).keys() == {"long", *(f"id-{index}" for index in range(30))}
    assert counter(tmp_path, "glassline_requests_total") == 31
    with StoreReader(tmp_path / "records.db") as reader:
        stored = reader.run(query.body("long", "response"))
    assert stored is not None
    assert stored.head == body


def test_a_store_that_lost_its_last_transactions_gets_them_back(
    make: Make, journal: JournalWriter, tmp_path: Path
) -> None:
    """After a loss of power the log may end earlier than what was committed."""
    write_chat(journal, make_begin(id="kept"))
    make().step()
    make()
    saved = (tmp_path / "records.db").read_bytes()
    write_chat(journal, make_begin(id="lost-and-found"))
    recorder = make()
    recorder.step()
    recorder.close()
    for name in ("records.db-wal", "records.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "records.db").write_bytes(saved)
    make().step()
    assert rows(tmp_path).keys() == {"kept", "lost-and-found"}
    assert counter(tmp_path, "glassline_requests_total") == 2


def test_an_exchange_of_a_dead_writer_is_interrupted_even_while_others_are_busy(
    make: Make, journal: JournalWriter, tmp_path: Path
) -> None:
    dead = JournalWriter(tmp_path / "journal", "gateway-1")
    number = dead.begin(make_begin(id="cut"), PROMPT)
    dead.chunk(CHUNK_RESPONSE, number, b'{"id":')
    recorder = make()
    recorder.step()
    dead.close()
    for _ in range(3):
        write_chat(journal)
        assert recorder.step() > 0
    row = rows(tmp_path)["cut"]
    assert (row.outcome, row.status, row.duration_ms, row.response_bytes) == ("interrupted", None, None, 6)
    assert dead.name not in " ".join(path.name for path in (tmp_path / "journal").iterdir())


def test_one_bad_exchange_never_holds_up_the_others(make: Make, journal: JournalWriter, tmp_path: Path) -> None:
    write_chat(journal, make_begin(id="before"))
    write_chat(journal, make_begin(id="no-such-year", started_at_ms=2**62))
    write_chat(journal, make_begin(id="no-such-integer", started_at_ms=2**64 - 1))
    write_chat(journal, make_begin(id="after"))
    recorder = make()
    recorder.step()
    stored = rows(tmp_path)
    assert stored.keys() == {"before", "no-such-year", "after"}
    assert (stored["no-such-year"].endpoint, stored["no-such-year"].cost_nano_usd) == ("other", None)
    assert stored["after"].endpoint == "chat"
    assert counter(tmp_path, "glassline_requests_total") == 3
    assert counter(tmp_path, "glassline_records_lost_total") == 1
    (saved,) = (tmp_path / "journal" / "bad").iterdir()
    assert saved.name == "store.no-such-integer"
    assert saved.read_bytes() == PROMPT + b"\n" + ANSWER
    make().step()
    assert counter(tmp_path, "glassline_records_lost_total") == 1


class Broken(Interpreter):
    """An interpreter with a bug that hits every exchange."""

    def records(self, *_: object) -> NoReturn:
        raise RuntimeError("a bug in a reader")


def test_a_bug_in_a_reader_costs_understanding_and_no_record(
    make: Make, journal: JournalWriter, tmp_path: Path
) -> None:
    ids = {write_chat(journal) for _ in range(5)}
    make(meaning=Broken(interpreter()._book, Config(), Bills())).step()
    stored = rows(tmp_path)
    assert stored.keys() == ids
    assert {(row.status, row.endpoint) for row in stored.values()} == {(200, "other")}
    assert counter(tmp_path, "glassline_records_lost_total") == 0


def test_damage_in_the_journal_is_counted_across_restarts(make: Make, journal: JournalWriter, tmp_path: Path) -> None:
    for index in range(6):
        write_chat(journal, make_begin(id=f"id-{index}"))
    journal.close()
    (segment,) = segments(tmp_path)
    content = bytearray(segment.read_bytes())
    place = content.index(b"id-3")
    content[place] ^= 0xFF
    segment.write_bytes(content[:-30])
    recorder = make()
    work(recorder)
    recorder._finish()
    # The damaged BEGIN was lost, so its END belongs to nothing.
    assert rows(tmp_path).keys() == {"id-0", "id-1", "id-2", "id-4", "id-5"}
    assert counter(tmp_path, "glassline_records_lost_total") == 1
    assert (status(tmp_path)["bad_frames"], status(tmp_path)["torn_tails"]) == (1, 1)
    again = make()
    work(again)
    again._finish()
    assert (status(tmp_path)["bad_frames"], status(tmp_path)["torn_tails"]) == (1, 1)
    assert counter(tmp_path, "glassline_records_lost_total") == 1


def test_a_locked_store_is_waited_for_and_nothing_is_lost(make: Make, journal: JournalWriter, tmp_path: Path) -> None:
    recorder = make()
    connection = apsw.Connection(str(tmp_path / "records.db"))
    connection.execute("BEGIN EXCLUSIVE")
    ids = {write_chat(journal) for _ in range(10)}
    thread = threading.Thread(target=recorder.step)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    connection.execute("ROLLBACK")
    thread.join(30)
    assert not thread.is_alive()
    connection.close()
    assert rows(tmp_path).keys() == ids


def test_a_recorder_told_to_stop_while_the_store_is_locked_stops_and_loses_nothing(
    make: Make, journal: JournalWriter, tmp_path: Path, hands: Hands, stop: threading.Event
) -> None:
    recorder = make()
    connection = apsw.Connection(str(tmp_path / "records.db"))
    connection.execute("BEGIN EXCLUSIVE")
    ids = {write_chat(journal) for _ in range(10)}
    stop.set()
    thread = threading.Thread(target=recorder.run)
    thread.start()
    for _ in range(100):
        thread.join(0.3)
        hands.seconds += 10
    assert not thread.is_alive()
    connection.execute("ROLLBACK")
    connection.close()
    assert rows(tmp_path) == {}
    make().run()
    assert rows(tmp_path).keys() == ids


def test_the_lag_is_the_age_of_the_oldest_end_that_was_just_stored(
    make: Make, journal: JournalWriter, tmp_path: Path, hands: Hands
) -> None:
    recorder = make()
    write_chat(journal, make_begin(started_at_ms=START_MS), ended_us=500_000)
    hands.seconds = 4.5
    recorder.step()
    assert status(tmp_path)["recorder_lag_seconds"] == 4.0
    assert status(tmp_path)["journal_bytes"] == segments(tmp_path)[0].stat().st_size
    hands.seconds = 6.0
    recorder.step()
    assert status(tmp_path)["recorder_lag_seconds"] == 0.0
    assert status(tmp_path)["updated_at_ms"] == START_MS + 6000


def test_retention_runs_every_minute_between_other_work(
    make: Make, journal: JournalWriter, tmp_path: Path, hands: Hands
) -> None:
    recorder = make(json.dumps({"retention": {"bodies": "1h", "records": "2h"}}))
    for index in range(1200):
        write_chat(journal, make_begin(started_at_ms=START_MS + index))
    work(recorder)
    assert counter(tmp_path, "glassline_requests_total") == 1200
    hands.seconds = 3700
    with StoreReader(tmp_path / "records.db") as reader:
        question = query.Query("SELECT count(*), sum(bodies_kept) FROM exchanges", (), lambda answer: answer[0])
        seen = []
        for _ in range(4):
            recorder.step()
            seen.append(reader.run(question))
        assert seen == [(1200, 700), (1200, 200), (1200, 0), (1200, 0)]
        hands.seconds = 7400
        work(recorder)
        for _ in range(3):
            recorder.step()
        assert reader.run(question)[0] == 0
    assert counter(tmp_path, "glassline_requests_total") == 1200


def test_a_purge_rests_between_its_batches_for_longer_than_they_take(
    make: Make, journal: JournalWriter, tmp_path: Path, hands: Hands
) -> None:
    hands.runs = True
    recorder = make(json.dumps({"retention": {"bodies": "1h", "records": "1h"}}))
    for index in range(700):
        write_chat(journal, make_begin(started_at_ms=START_MS + index))
    work(recorder)
    hands.seconds = 3700
    failpoints.arm({failpoints.VARIABLE: "store.before_commit:sleep=0.1"})
    left = []
    try:
        for _ in range(3):  # a batch is two transactions at least, the rest of a step one at most
            recorder.step()
            left.append(len(rows(tmp_path)))
    finally:
        failpoints.arm({})
    assert left == [200, 200, 200]
    wait_until(lambda: recorder.step() or not rows(tmp_path), "the next batch")


def test_large_bodies_are_written_before_the_batch_is_complete(
    make: Make, journal: JournalWriter, tmp_path: Path
) -> None:
    body = bytes(9_000_000)
    for index in range(5):
        number = journal.begin(make_begin(id=f"id-{index}"), body)
        journal.end(number, make_end(body, body), body)
    work(make())
    assert len(rows(tmp_path)) == 5
    with StoreReader(tmp_path / "records.db") as reader:
        stored = reader.run(query.body("id-4", "response"))
    assert stored is not None
    assert stored.head == body


def test_segments_that_grew_are_synced_and_the_others_left_alone(tmp_path: Path) -> None:
    sync = SegmentSync(tmp_path / "journal")
    assert sync.sync() == 0
    writers = [JournalWriter(tmp_path / "journal", f"gateway-{index}") for index in range(3)]
    assert sync.sync() == 3
    assert sync.sync() == 0
    write_chat(writers[1])
    assert sync.sync() == 1
    for writer in writers:
        writer.close()
    sync.start()
    sync.stop()
    assert sync.sync() == 0


def test_recorders_that_die_while_they_read_again_count_nothing_as_lost(make: Make, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal", "gateway-0")
    done = writer.begin(make_begin(id="done"), PROMPT)
    running = writer.begin(make_begin(id="running"), PROMPT)
    writer.chunk(CHUNK_RESPONSE, running, bytes(300_000))
    writer.end(done, make_end(), ANSWER)
    recorder = make()
    while recorder.step():
        pass
    assert rows(tmp_path).keys() == {"done"}
    make().step()  # comes to the long chunk, behind which the end of the other one was seen before
    writer.end(running, make_end(), b"")
    writer.close()
    work(make())
    assert rows(tmp_path).keys() == {"done", "running"}
    assert counter(tmp_path, "glassline_records_lost_total") == 0


LENT = "sk-lent-canary-0123456789"


@pytest.mark.parametrize("dies", [False, True], ids=["at work", "dies before it erases"])
@pytest.mark.parametrize("no_store", ["", "all"], ids=["echo", "no store"])
def test_what_must_not_stay_is_overwritten_in_the_journal_once_it_is_stored(
    make: Make, tmp_path: Path, hands: Hands, request: pytest.FixtureRequest, no_store: str, dies: bool
) -> None:
    request.addfinalizer(lambda: failpoints.arm({}))
    config = f'{{"upstreams": {{"openai": {{"api_key": "{LENT}"}}}}}}'
    writer = JournalWriter(tmp_path / "journal", "gateway-0")
    echo = json.dumps({"error": {"message": f"not {LENT}"}}).encode()
    writer.end(writer.begin(make_begin(no_store=no_store), PROMPT), make_end(echo, status=401), echo)
    (segment,) = segments(tmp_path)
    recorder = make(config)
    if dies:
        failpoints.arm({failpoints.VARIABLE: "erase.write:eio:1"})
        recorder.step()
        assert LENT.encode() in segment.read_bytes()
        recorder = make(config)
    recorder.step()
    assert LENT.encode() not in segment.read_bytes()
    assert not (tmp_path / "journal" / "erase-due").exists()
    writer.end(writer.begin(make_begin(), PROMPT), make_end(), ANSWER)
    hands.seconds += 2
    recorder.step()
    assert ANSWER in segment.read_bytes(), "what may stay is left alone"
    writer.close()


def test_erasing_that_failed_is_tried_again(
    make: Make, tmp_path: Path, hands: Hands, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: failpoints.arm({}))
    writer = JournalWriter(tmp_path / "journal", "gateway-0")
    writer.end(writer.begin(make_begin(no_store="all"), PROMPT), make_end(), ANSWER)
    (segment,) = (tmp_path / "journal").glob("*.journal")
    failpoints.arm({failpoints.VARIABLE: "erase.write:eio:1"})
    recorder = make()
    for _ in range(3):
        recorder.step()
        hands.seconds += 2
    assert ANSWER not in segment.read_bytes()
    writer.close()
