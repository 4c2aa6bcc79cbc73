"""A disk that is full, by each policy; and one that is not any more."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from proxy.disk import Headroom, free_bytes
from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import ROOT, clean_environment, wait_until
from tests.harness.upstream import CHAT, Connection, ScriptedUpstream, with_length

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
KEY = "sk-limited-0123456789abcdef"
SMALL_DISK_MB = 24


class Full:
    """A disk without room for the gateway, from `fill` until `free`: its files may not grow."""

    def __init__(self, glassline: Glassline) -> None:
        [self._pid] = glassline.pids_of("gateway")
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1, self._before[1]))

    def free(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


def ask(glassline: Glassline, key: str = "sk-raw-0123456789abcdef") -> int:
    return exchange(glassline.port, post("/v1/chat/completions", BODY, key=key)).status


def lost(glassline: Glassline, reason: str = "disk_full") -> int:
    sql = "SELECT value FROM counters WHERE name = 'glassline_records_lost_total' AND labels LIKE ?"
    return sum(int(row["value"]) for row in glassline.rows(sql, f"%{reason}%"))


def test_block_refuses_fast_finishes_what_it_began_and_recovers_by_itself(start_glassline: StartGlassline) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        asked.set()
        assert may_answer.wait(20)
        connection.send(with_length(CHAT))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url)
        disk = Full(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert asked.wait(10)
            disk.fill()
            refused = [ask(glassline) for _ in range(20)]
            may_answer.set()
            assert client.read_all().body == CHAT
        assert set(refused) == {503}
        assert exchange(glassline.port, READY).status == 503
        assert len(upstream.requests) == 1
        freed = time.monotonic()
        disk.free()
        wait_until(lambda: ask(glassline) == 200, "a request that is served", timeout_s=5)
        assert time.monotonic() - freed < 5

        def completed() -> int:
            return len(glassline.rows("SELECT 1 FROM exchanges WHERE outcome = 'completed'"))

        # However many were refused while it recovered.
        wait_until(lambda: completed() == 2, "both answers on record")
    assert lost(glassline) == 0


@pytest.mark.parametrize("told_to", [signal.SIGTERM, signal.SIGUSR2], ids=["stop", "make way"])
def test_who_ends_on_a_full_disk_waits_for_room_for_its_last_records(
    start_glassline: StartGlassline, told_to: signal.Signals
) -> None:
    with SlowAnswer() as answer:
        glassline = start_glassline(answer.upstream.url)
        [gateway] = glassline.pids_of("gateway")
        disk = Full(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert answer.asked.wait(10)
            disk.fill()
            os.kill(gateway, told_to)
            time.sleep(0.5)
            answer.may_come.set()
            assert client.read_all().body == CHAT
        time.sleep(1.0)
        assert gateway in glassline.pids()
        disk.free()
        wait_until(lambda: gateway not in glassline.pids(), "the end of the process", timeout_s=10)
        [row] = glassline.wait_for_rows(1)
        assert row["outcome"] == "completed"
        assert row["output_tokens"] == 2
        glassline.stop()
    assert "records lost" not in glassline.stderr


def test_what_found_no_room_before_the_end_of_its_process_is_counted(start_glassline: StartGlassline) -> None:
    with SlowAnswer() as answer:
        glassline = start_glassline(answer.upstream.url, {"timeouts": {"drain": 1}})
        disk = Full(glassline)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            assert answer.asked.wait(10)
            disk.fill()
            answer.may_come.set()
            assert client.read_all().body == CHAT
            [gateway] = glassline.pids_of("gateway")
            os.kill(gateway, signal.SIGTERM)
            wait_until(lambda: gateway not in glassline.pids(), "the end of the process", timeout_s=10)
        metrics = httpx.get(f"{glassline.admin_url}/metrics", timeout=10).text
        assert 'glassline_records_lost_total{reason="spill"} 1' in metrics
        glassline.stop()


class SlowAnswer:
    """A provider that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.may_come = threading.Event(), threading.Event()
        self.upstream = ScriptedUpstream(self._answer)

    def _answer(self, connection: Connection) -> None:
        self.asked.set()
        assert self.may_come.wait(20)
        connection.send(with_length(CHAT))

    def __enter__(self) -> Self:
        self.upstream.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.upstream.close()


def test_drop_serves_everything_and_counts_exactly_what_it_lost(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"record": {"when_full": "drop"}})
        disk = Full(glassline)
        assert ask(glassline) == 200
        disk.fill()
        assert [ask(glassline) for _ in range(30)] == [200] * 30
        assert exchange(glassline.port, READY).status == 200
        disk.free()
        wait_until(lambda: lost(glassline), "the count of what was lost", timeout_s=10)
        assert ask(glassline) == 200
        rows = glassline.wait_for_rows(2)
        assert lost(glassline) + len(rows) == 32
        assert lost(glassline) == 30
    assert "30 records lost between" in glassline.stderr


def test_with_metadata_only_every_row_is_kept_with_its_usage(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"record": {"when_full": "metadata_only"}})
        disk = Full(glassline)
        disk.fill()
        assert [ask(glassline) for _ in range(30)] == [200] * 30
        disk.free()
        rows = glassline.wait_for_rows(30)
        assert len(rows) == 30
        assert lost(glassline) == 0
    assert {row["outcome"] for row in rows} == {"completed"}
    assert {row["output_tokens"] for row in rows} == {2}


@pytest.mark.parametrize("policy", ["drop", "metadata_only"])
def test_what_falls_under_a_budget_is_refused_by_every_policy(start_glassline: StartGlassline, policy: str) -> None:
    key = {"name": "limited", "key": KEY, "budgets": [{"limit_usd": 10, "window": "day"}]}
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"record": {"when_full": policy}, "keys": [key]})
        disk = Full(glassline)
        assert ask(glassline, KEY) == 200
        disk.fill()
        assert {ask(glassline, KEY) for _ in range(5)} == {503}
        assert ask(glassline) == 200
        disk.free()
        wait_until(lambda: ask(glassline, KEY) == 200, "a request that is served", timeout_s=5)
        assert len(upstream.requests) == 3

        def reserved() -> bool:
            rows = glassline.rows("SELECT sum(reserved_nano_usd) AS held FROM accounts", database="ledger.db")
            return bool(rows) and rows[0]["held"] == 0

        wait_until(reserved, "reservations that are given back")


def test_a_journal_that_nobody_folds_stops_at_its_limit(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"record": {"journal_max_gb": 0.0005}})
        [recorder] = glassline.pids_of("recorder")
        os.kill(recorder, signal.SIGSTOP)
        try:
            big = json.dumps(
                {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 100_000}]}
            ).encode()
            statuses = wait_until(lambda: refusal(glassline, big), "the limit", timeout_s=20)
        finally:
            os.kill(recorder, signal.SIGCONT)
        assert statuses == 503
        size = sum(path.stat().st_size for path in (glassline.data_dir / "journal").glob("*.journal"))
        assert size < 30_000_000
        wait_until(lambda: ask(glassline) == 200, "a journal that is short again", timeout_s=5)
        assert glassline.wait_for_rows(5)


def refusal(glassline: Glassline, body: bytes) -> int | None:
    status = exchange(glassline.port, post("/v1/chat/completions", body)).status
    return status if status != 200 else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("not run: a small disk needs root to mount a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", place], check=False)
    if mounted.returncode:
        pytest.skip("not run: this machine does not let root mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_really_full_stops_nothing_for_good(start_glassline: StartGlassline, small_disk: Path) -> None:
    key = {"name": "limited", "key": KEY, "budgets": [{"limit_usd": 10, "window": "day"}]}
    asked, may_answer = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        if b"slow" in connection.request:
            asked.set()
            assert may_answer.wait(30)
        connection.send(with_length(CHAT))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"keys": [key]}, start=False)
        glassline.data_dir = small_disk / "data"
        glassline.start()
        pids = glassline.pids()
        assert ask(glassline, KEY) == 200
        glassline.wait_for_rows(1)
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY.replace(b"hi", b"slow"), key=KEY))
            assert asked.wait(10)
            ballast = small_disk / "ballast"
            fill(ballast)
            wait_until(lambda: ask(glassline, KEY) == 503, "a refusal", timeout_s=5)
            may_answer.set()
            assert client.read_all().body == CHAT
        before = len(upstream.requests)
        started = time.monotonic()
        assert {ask(glassline, KEY) for _ in range(20)} == {503}
        assert (time.monotonic() - started) / 20 < 0.5
        assert len(upstream.requests) == before
        ballast.unlink()
        wait_until(lambda: ask(glassline, KEY) == 200, "a request that is served", timeout_s=6)
        glassline.wait_for_rows(3, "outcome = 'completed'")
        assert glassline.pids() == pids

        def settled() -> bool:
            rows = glassline.rows("SELECT sum(reserved_nano_usd) AS held FROM accounts", database="ledger.db")
            return bool(rows[0]["held"] == 0)

        wait_until(settled, "settlements")
        for name in ("ledger.db", "records.db"):
            assert glassline.rows("PRAGMA integrity_check", database=name) == [{"integrity_check": "ok"}]
        glassline.stop()


def test_it_starts_on_a_full_disk_says_so_and_recovers(start_glassline: StartGlassline, small_disk: Path) -> None:
    with ScriptedUpstream(lambda connection: connection.send(with_length(CHAT))) as upstream:
        glassline = start_glassline(upstream.url, start=False)
        glassline.data_dir = small_disk / "data"
        glassline.start()
        assert ask(glassline) == 200
        glassline.wait_for_rows(1)
        glassline.kill_group()
        fill(small_disk / "ballast")
        assert doctor_says(glassline, "free disk").startswith("error: 0 B: full")
        glassline.start()
        fill(small_disk / "more")
        wait_until(lambda: ask(glassline) == 503, "a refusal", timeout_s=5)
        assert exchange(glassline.port, READY).status == 503
        assert "record.when_full" in doctor_says(glassline, "verdict")
        for ballast in ("ballast", "more"):
            (small_disk / ballast).unlink()
        wait_until(lambda: ask(glassline) == 200, "a request that is served", timeout_s=6)
        assert doctor_says(glassline, "free disk").startswith("ok")
        headroom = glassline.data_dir / "run" / "headroom"
        wait_until(headroom.exists, "room that is kept again")
        glassline.stop()


def test_a_disk_that_fills_is_told_before_it_is_full(start_glassline: StartGlassline, small_disk: Path) -> None:
    glassline = start_glassline(None, start=False)
    glassline.data_dir = small_disk / "data"
    glassline.start()
    room = free_bytes(small_disk)
    with (small_disk / "ballast").open("wb") as stream:
        stream.write(bytes(room - SMALL_DISK_MB * 1024 * 1024 * 3 // 40))
    assert ask(glassline) != 503
    assert doctor_says(glassline, "free disk").startswith("warning: 1.")
    assert "degraded" in doctor_says(glassline, "verdict")
    glassline.stop()


def doctor_says(glassline: Glassline, subject: str) -> str:
    """Return the level and the words of one finding."""
    command = [sys.executable, "-m", "proxy", "doctor", "--json", "-c", str(glassline.config_file)]
    told = subprocess.run(
        [*command, "--data-dir", str(glassline.data_dir)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    [found] = [each for each in map(json.loads, told.stdout.splitlines()) if each["subject"] == subject]
    return f"{found['level']}: {found['detail']}"


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                pass


def test_room_that_was_kept_is_used_for_money_and_taken_again(small_disk: Path) -> None:
    headroom = Headroom(small_disk / "headroom")
    assert headroom.take()
    assert (small_disk / "headroom").stat().st_size > 1_000_000
    fill(small_disk / "ballast")
    assert headroom.give_up()
    assert not headroom.give_up()
    assert not headroom.take()
    (small_disk / "ballast").unlink()
    assert headroom.take()
