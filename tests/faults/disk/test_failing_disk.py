"""A disk that fails to write or to sync: what it failed is never trusted again, and nothing is lost."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy import failpoints
from proxy.errors import JournalUnavailable
from proxy.journal import JournalReader, JournalWriter
from proxy.journal.unsafe import survey, write_anew
from proxy.recorder.durability import SegmentSync
from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import CHAT, Connection, ScriptedUpstream, with_length
from tests.recorder.builders import make_begin, make_end

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
MUCH = 1 << 30
Arm = Callable[[str], bool]


@pytest.fixture
def arm() -> Iterator[Arm]:
    """Arm failpoints in this process until the test ends."""
    yield lambda rules: failpoints.arm({failpoints.VARIABLE: rules})
    failpoints.arm({})


def ask(glassline: Glassline) -> int:
    return exchange(glassline.port, post("/v1/chat/completions", BODY)).status


def write_one(writer: JournalWriter, id_: str) -> None:
    writer.end(writer.begin(make_begin(id=id_), b"asked"), make_end(b"answered", b"asked"), b"answered")


def frames(directory: Path) -> int:
    reader = JournalReader(directory)
    try:
        return sum(len(reader.poll(MUCH)) for _ in range(3))
    finally:
        reader.close()


def test_a_segment_whose_sync_failed_is_written_anew_and_never_synced_again(tmp_path: Path, arm: Arm) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_one(writer, "one")
    sync = SegmentSync(tmp_path)
    arm("recorder.sync:eio:1")
    sync.sync()
    assert (sync.failures, sync.unsafe) == (1, 1)
    [first] = survey(tmp_path).unsafe
    before = (tmp_path / first).stat().st_ino
    sync.rescue()
    assert sync.unsafe == 1, "somebody may still append to it"
    assert sync.sync() == 0
    assert writer.look_around().unsafe == {first}
    write_one(writer, "two")
    assert len(list(tmp_path.glob("*.journal"))) == 2
    sync.rescue()
    assert (sync.unsafe, survey(tmp_path).unsafe) == (0, frozenset())
    assert (tmp_path / first).stat().st_ino != before
    writer.close()
    assert frames(tmp_path) == 2 + 4 + 1


def test_a_segment_that_was_written_anew_is_read_from_its_copy(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_one(writer, "one")
    writer.close()
    reader = JournalReader(tmp_path)
    read = reader.poll(MUCH)
    [segment] = tmp_path.glob("*.journal")
    with segment.open("r+b") as failed:
        write_anew(segment)
        failed.write(bytes(segment.stat().st_size))
        failed.flush()
        reader.scan()
        assert [reader.read(each.segment, each.offset, 0) for each in read] == [each.payload for each in read]
    assert len(read) == 4
    reader.close()


def test_while_a_segment_cannot_be_written_anew_it_stays_marked(tmp_path: Path, arm: Arm) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_one(writer, "one")
    writer.close()
    sync = SegmentSync(tmp_path)
    arm("recorder.sync:eio,journal.write_anew:eio:1+")
    sync.sync()
    for _ in range(3):
        sync.rescue()
        assert sync.unsafe == 1
    assert not list(tmp_path.glob("*.copy"))
    arm("")
    (tmp_path / "1-gateway-0.00000000.journal.copy").write_bytes(b"left by a recorder that died")
    again = SegmentSync(tmp_path)
    assert not list(tmp_path.glob("*.copy"))
    again.rescue()
    assert (again.unsafe, frames(tmp_path)) == (0, 4)


def test_after_a_write_that_failed_another_segment_is_begun_and_after_a_lack_of_space_none(
    tmp_path: Path, arm: Arm
) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_one(writer, "one")
    for action, segments in (("enospc", 1), ("eio", 2)):
        arm(f"journal.write:{action}:1")
        with pytest.raises(JournalUnavailable):
            write_one(writer, "lost")
        write_one(writer, action)
        assert len(list(tmp_path.glob("*.journal"))) == segments
    writer.close()
    assert frames(tmp_path) == 2 + 3 * 2 + 1


def test_a_short_write_that_cannot_be_cut_off_costs_a_segment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, "gateway-0")
    write_one(writer, "one")
    real = os.write

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda file, data: real(file, data[:10]))
        patch.setattr("os.ftruncate", refuse)
        with pytest.raises(JournalUnavailable):
            write_one(writer, "short")
    write_one(writer, "two")
    writer.close()
    assert frames(tmp_path) == 2 + 4 + 1


def test_strict_acknowledges_nothing_after_a_sync_that_failed_until_all_is_safe(
    start_glassline: StartGlassline,
) -> None:
    rules = "journal.sync:eio:1,journal.write_anew:sleep=0.3"
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"durability": "strict"}, env={failpoints.VARIABLE: rules})
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert CHAT not in client.read_all().raw
        assert exchange(glassline.port, READY).status == 503
        assert ask(glassline) == 503
        wait_until(lambda: exchange(glassline.port, READY).status == 200, "readiness", timeout_s=10)
        assert not survey(glassline.data_dir / "journal").unsafe
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).body == CHAT
        rows = glassline.wait_for_rows(2, "outcome = 'completed'")
    assert len(rows) == 2


def test_a_disk_that_never_syncs_again_is_never_ready_again(start_glassline: StartGlassline) -> None:
    rules = "recorder.sync:eio:2+,journal.write_anew:eio"
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, env={failpoints.VARIABLE: rules})
        assert ask(glassline) == 200
        # The first sync may be of an empty segment or of the first exchange: whatever is added makes for a second one.
        wait_until(lambda: ask(glassline) == 503, "the end of service")
        wait_until(lambda: exchange(glassline.port, READY).status == 503, "the end of readiness")
        assert ask(glassline) == 503
        # Whatever was begun is in the store, which is another file.
        assert glassline.wait_for_rows(1, "outcome = 'completed'")
        wait_until(lambda: status(glassline, "sync_failures") > 0, "the count of failures")


def status(glassline: Glassline, name: str) -> float:
    rows = glassline.rows("SELECT value FROM status WHERE name = ?", name)
    return float(rows[0]["value"]) if rows else 0.0


def test_a_store_that_cannot_be_synced_keeps_its_journal(start_glassline: StartGlassline) -> None:
    rules = "store.sync:eio:1+"
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, env={failpoints.VARIABLE: rules})
        assert ask(glassline) == 200
        glassline.wait_for_rows(1)
        glassline.stop()
        assert list((glassline.data_dir / "journal").glob("*.journal"))
        assert "finished segments stay for now" in glassline.stderr
        glassline._env.clear()
        glassline.start()
        wait_until(lambda: len(list((glassline.data_dir / "journal").glob("*.journal"))) == 1, "the old segment's end")
        assert len(glassline.rows("SELECT id FROM requests")) == 1


def test_a_slow_disk_is_not_the_clients_business(start_glassline: StartGlassline) -> None:
    rules = "recorder.sync:sleep=0.1,store.before_commit:sleep=0.1"
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, env={failpoints.VARIABLE: rules})
        taken = []
        for _ in range(60):
            started = time.monotonic()
            assert ask(glassline) == 200
            taken.append(time.monotonic() - started)
        assert len(glassline.wait_for_rows(60, timeout_s=30)) == 60
    # Whoever waited for one sync each would need 100 ms each.
    assert sorted(taken)[len(taken) // 2] < 0.05


def test_strict_answers_share_the_syncs_of_a_slow_disk(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        env = {failpoints.VARIABLE: "journal.sync:sleep=0.1"}
        glassline = start_glassline(upstream.url, {"durability": "strict"}, env=env)
        statuses: list[int] = []
        started = time.monotonic()
        threads = [threading.Thread(target=lambda: statuses.append(ask(glassline))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses == [200] * 40
        assert time.monotonic() - started < 40 * 0.1


def test_a_store_that_was_deleted_is_begun_anew_from_the_journal(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        assert ask(glassline) == 200
        glassline.wait_for_rows(1)
        for part in ("", "-wal", "-shm"):
            (glassline.data_dir / f"records.db{part}").unlink(missing_ok=True)
        assert ask(glassline) == 200
        # The first is still in the journal: its segment is not finished.
        assert len(glassline.wait_for_rows(2)) == 2
    assert "deleted or replaced" in glassline.stderr


def test_a_ledger_that_was_replaced_is_refused_until_it_is_back(start_glassline: StartGlassline) -> None:
    secret = "sk-limited-0123456789abcdef"
    key = {"name": "limited", "key": secret, "budgets": [{"limit_usd": 10, "window": "day"}]}
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"keys": [key]})
        paid = post("/v1/chat/completions", BODY, key=secret)
        assert exchange(glassline.port, paid).status == 200
        ledger = glassline.data_dir / "ledger.db"
        ledger.rename(ledger.with_name("aside.db"))
        wait_until(lambda: exchange(glassline.port, paid).status == 503, "a refusal", timeout_s=5)
        assert ask(glassline) == 200
        ledger.with_name("aside.db").rename(ledger)
        wait_until(lambda: exchange(glassline.port, paid).status == 200, "the ledger", timeout_s=5)


def test_a_request_in_flight_while_the_recorder_dies_is_stored_all_the_same(start_glassline: StartGlassline) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        asked.set()
        assert may_answer.wait(20)
        connection.send(with_length(CHAT))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert asked.wait(10)
            [recorder] = glassline.pids_of("recorder")
            os.kill(recorder, 9)
            may_answer.set()
            assert client.read_all().body == CHAT
        [row] = glassline.wait_for_rows(1)
    assert row["outcome"] == "completed"
