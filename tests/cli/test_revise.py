from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from proxy.cli import main
from proxy.config import Config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from proxy.recorder import take_lock
from proxy.store import SqliteStore
from tests.harness.process import clean_environment, wait_until
from tests.recorder.builders import ANSWER_NANO_USD, START_MS, make_begin, make_end, make_record, write_chat

Capture = pytest.CaptureFixture[str]
DEARER = """
pricing:
  overrides:
    - {model: "gpt-4o-mini*", input: 1, output: 2}
"""
DEARER_NANO_USD = 1000 * 1000 + 100 * 2000


def fill(data_dir: Path, requests: int, **changes: Any) -> None:
    data_dir.mkdir(exist_ok=True)
    store = SqliteStore(data_dir / "records.db")
    fields = [{"id": f"id-{number:05}", "started_at_ms": START_MS + number} | changes for number in range(requests)]
    store.write([make_record(make_begin(**each)) for each in fields], {})
    store.close()


def costs(data_dir: Path) -> list[int | None]:
    connection = apsw.Connection(str(data_dir / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [cost for (cost,) in connection.execute("SELECT cost_nano_usd FROM exchanges ORDER BY seq")]
    finally:
        connection.close()


def value(data_dir: Path, sql: str) -> Any:
    connection = apsw.Connection(str(data_dir / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return next(iter(connection.execute(sql)))
    finally:
        connection.close()


def change(data_dir: Path, sql: str) -> None:
    connection = apsw.Connection(str(data_dir / "records.db"))
    connection.execute(sql)
    connection.close()


def revised(capsys: Capture, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    *differences, last = map(json.loads, capsys.readouterr().out.splitlines())
    return differences, last["total"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(DEARER)
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@contextmanager
def recording(data_dir: Path, config: str = "{}") -> Iterator[None]:
    """Run a recorder beside the test; there is no ledger."""
    stop, ready = threading.Event(), threading.Event()
    options: dict[str, Any] = {"stop": stop, "ready": ready.set}
    arguments = (data_dir, Config.model_validate_json(config), data_dir / "no-ledger.sock")
    thread = threading.Thread(target=record, args=arguments, kwargs=options)
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_dry_run_shows_the_difference_and_changes_nothing(data_dir: Path, config: Path, capsys: Capture) -> None:
    fill(data_dir, 150)
    before = value(data_dir, "SELECT group_concat(price_version) FROM exchanges")
    place = ("-c", str(config), "--data-dir", str(data_dir))
    differences, total = revised(capsys, "reprice", "--dry-run", *place)
    assert (total["requests"], total["changed"]) == (150, 150)
    assert (total["before_nano_usd"], total["after_nano_usd"]) == (150 * ANSWER_NANO_USD, 150 * DEARER_NANO_USD)
    assert [(each["day"], each["model"]) for each in differences] == [("2026-09-21", "gpt-4o-mini-2024-07-18")]
    assert costs(data_dir) == [ANSWER_NANO_USD] * 150
    assert value(data_dir, "SELECT group_concat(price_version) FROM exchanges") == before
    assert value(data_dir, "SELECT count(*) FROM jobs") == (0,)


def test_a_local_server_where_it_stands_stays_free_when_it_is_priced_again(data_dir: Path, capsys: Capture) -> None:
    fill(data_dir, 3, upstream="ollama", provider=None, is_free=True)
    assert costs(data_dir) == [0] * 3
    config = data_dir.parent / "config.yaml"
    config.write_text("upstreams: {ollama: {allow_private: true}}\n")
    _, total = revised(capsys, "reprice", "-c", str(config), "--data-dir", str(data_dir))
    assert (total["requests"], total["changed"], costs(data_dir)) == (3, 0, [0] * 3)


@pytest.mark.parametrize(("price", "nano_usd"), [("per_request: 0.01", 10_000_000), ("free: true", 0)])
def test_what_never_said_what_it_consumed_can_be_given_a_flat_fee_afterwards(
    data_dir: Path, capsys: Capture, price: str, nano_usd: int
) -> None:
    data_dir.mkdir()
    request = b'{"model":"of-ours","input":"Hello","previous_response_id":"resp_1"}'
    begins = [make_begin(path=path) for path in ("/audio/speech", "/responses")]
    records = [make_record(each, make_end(b"?", request), request=request, response=b"?") for each in begins]
    assert records[1].usage is None
    store = SqliteStore(data_dir / "records.db")
    store.write(records, {})
    store.close()
    assert costs(data_dir) == [None, None]
    config = data_dir.parent / "config.yaml"
    config.write_text(f"pricing: {{overrides: [{{model: of-ours, {price}}}]}}\n")
    place = ("-c", str(config), "--data-dir", str(data_dir))
    _, total = revised(capsys, "reprice", *place)
    assert (total["changed"], total["unpriced_before"], total["unpriced_after"]) == (2, 2, 0)
    assert costs(data_dir) == [nano_usd, nano_usd]
    config.write_text("{}\n")
    revised(capsys, "reprice", *place)
    assert costs(data_dir) == [None, None]
    last = value(data_dir, "SELECT is_unpriced, cost_source, cost_reason FROM exchanges ORDER BY seq DESC")
    assert last == (1, "unknown", "no usage")


def test_repricing_changes_the_costs_and_once_more_changes_nothing(
    data_dir: Path, config: Path, capsys: Capture
) -> None:
    fill(data_dir, 250)
    counted = value(data_dir, "SELECT value FROM counters WHERE name = 'glassline_cost_usd_total'")
    place = ("-c", str(config), "--data-dir", str(data_dir))
    _, total = revised(capsys, "reprice", *place)
    assert (total["requests"], total["changed"]) == (250, 250)
    assert costs(data_dir) == [DEARER_NANO_USD] * 250
    source = "SELECT cost_source, price_version, cost_model FROM exchanges LIMIT 1"
    assert value(data_dir, source) == ("override", "config", "gpt-4o-mini*")
    _, again = revised(capsys, "reprice", *place)
    assert (again["requests"], again["changed"]) == (250, 0)
    # What a counter has counted it has counted: Prometheus takes a fall for a restart.
    assert value(data_dir, "SELECT value FROM counters WHERE name = 'glassline_cost_usd_total'") == counted


def test_the_table_says_what_changed_by_model_and_day(data_dir: Path, config: Path, capsys: Capture) -> None:
    fill(data_dir, 3)
    assert main(["reprice", "-c", str(config), "--data-dir", str(data_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["DAY", "MODEL", "REQUESTS", "CHANGED", "BEFORE", "AFTER", "DIFFERENCE", "NO", "PRICE"]
    assert lines[1].split() == [
        *("2026-09-21", "gpt-4o-mini-2024-07-18", "3", "3"),
        *("$0.000630", "$0.00360", "+$0.00297"),
    ]
    assert lines[2].split()[0] == "total"
    assert lines[3] == "3 records looked at, 3 changed"


def test_what_had_no_price_gets_one_and_what_loses_it_is_unknown(data_dir: Path, config: Path, capsys: Capture) -> None:
    fill(data_dir, 2, provider=None)
    assert costs(data_dir) == [None, None]
    _, total = revised(capsys, "reprice", "-c", str(config), "--data-dir", str(data_dir))
    assert (total["unpriced_before"], total["unpriced_after"]) == (2, 0)
    assert costs(data_dir) == [DEARER_NANO_USD] * 2
    config.write_text("{}")
    _, total = revised(capsys, "reprice", "-c", str(config), "--data-dir", str(data_dir))
    assert (total["unpriced_before"], total["unpriced_after"]) == (0, 2)
    assert costs(data_dir) == [None, None]


def test_only_the_chosen_time_and_model_are_repriced(data_dir: Path, config: Path, capsys: Capture) -> None:
    fill(data_dir, 10)
    place = ("-c", str(config), "--data-dir", str(data_dir))
    assert revised(capsys, "reprice", *place, "--model", "claude-*")[1]["requests"] == 0
    assert revised(capsys, "reprice", *place, "--from", "2026-09-22")[1]["requests"] == 0
    assert revised(capsys, "reprice", *place, "--to", "2026-09-21")[1]["requests"] == 0
    assert costs(data_dir) == [ANSWER_NANO_USD] * 10
    narrowed = ("--model", "GPT-4o-*", "--from", "2026-09-21", "--to", "2026-09-22")
    assert revised(capsys, "reprice", *place, *narrowed)[1]["changed"] == 10


def test_an_upstream_that_is_free_today_is_repriced_to_nothing(data_dir: Path, config: Path, capsys: Capture) -> None:
    fill(data_dir, 1, upstream="local", provider=None)
    config.write_text("upstreams: {local: {base_url: 'http://127.0.0.1:1/v1', wire: openai, free: true}}")
    revised(capsys, "reprice", "-c", str(config), "--data-dir", str(data_dir))
    assert costs(data_dir) == [0]


def test_rereading_restores_what_was_not_understood(data_dir: Path, capsys: Capture) -> None:
    fill(data_dir, 30)
    whole = (
        "SELECT model, usage_buckets, input_tokens, cost_nano_usd, usage_source, reader FROM exchanges WHERE seq = 7"
    )
    understood = value(data_dir, whole)
    change(
        data_dir,
        "UPDATE exchanges SET model = NULL, usage = NULL, usage_buckets = NULL, input_tokens = NULL, is_unpriced = 1,"
        " usage_source = 'none', cost_nano_usd = NULL, cost_source = 'unknown' WHERE seq = 7",
    )
    differences, total = revised(capsys, "reread", "--data-dir", str(data_dir))
    assert (total["requests"], total["changed"], total["skipped"]) == (30, 1, 0)
    assert (total["unpriced_before"], total["unpriced_after"]) == (1, 0)
    assert [each["changed"] for each in differences] == [1]
    assert value(data_dir, whole) == understood


def test_records_whose_bytes_are_gone_are_not_reread(data_dir: Path, capsys: Capture) -> None:
    fill(data_dir, 5)
    change(data_dir, "UPDATE payloads SET pieces = NULL, contents = NULL WHERE exchange <= 2")
    change(data_dir, "UPDATE exchanges SET model = 'kept'")
    _, total = revised(capsys, "reread", "--data-dir", str(data_dir))
    assert (total["requests"], total["changed"], total["skipped"]) == (5, 3, 2)
    assert value(data_dir, "SELECT group_concat(model) FROM exchanges WHERE seq <= 2") == ("kept,kept",)


def test_a_running_recorder_does_the_work_and_goes_on_recording(data_dir: Path, capsys: Capture) -> None:
    fill(data_dir, 600)
    dearer = {"pricing": {"overrides": [{"model": "gpt-4o-mini*", "input": 1, "output": 2}]}}
    with recording(data_dir, json.dumps(dearer)):
        with pytest.raises(Exception, match="another recorder"):
            take_lock(data_dir / "recorder.lock")
        writer = JournalWriter(data_dir / "journal", "gw-1")
        written = {write_chat(writer) for _ in range(50)}
        # The recorder's prices count, whatever the command's own configuration says.
        _, total = revised(capsys, "reprice", "--data-dir", str(data_dir))
        assert total["requests"] >= 600
        assert total["changed"] == 600
        written |= {write_chat(writer) for _ in range(50)}
        wait_until(lambda: len(costs(data_dir)) == 700, "the records")
        writer.close()
    assert costs(data_dir) == [DEARER_NANO_USD] * 700
    assert len(written) == 100
    assert list((data_dir / "jobs").iterdir()) == []


def test_a_killed_command_is_finished_by_the_next_and_revises_nothing_twice(
    data_dir: Path, config: Path, capsys: Capture
) -> None:
    fill(data_dir, 4000)
    command = [sys.executable, "-m", "proxy", "reprice", "-c", str(config), "--data-dir", str(data_dir)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=clean_environment())
    try:
        done = wait_until(lambda: next(iter(progress(data_dir)), 0), "some progress", timeout_s=60)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(20)
    assert done > 0
    (kept,) = progress(data_dir)
    _, total = revised(capsys, "reprice", "-c", str(config), "--data-dir", str(data_dir))
    # The table is that of the whole job: both halves, each record once.
    assert (total["requests"], total["changed"]) == (4000, 4000 if kept < 4000 else 0)
    assert costs(data_dir) == [DEARER_NANO_USD] * 4000


def progress(data_dir: Path) -> list[int]:
    connection = apsw.Connection(str(data_dir / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [done for (done,) in connection.execute("SELECT done FROM jobs WHERE done > 0")]
    except apsw.SQLError:
        return []
    finally:
        connection.close()


def test_a_terminal_shows_how_far_it_has_come(data_dir: Path, config: Path) -> None:
    fill(data_dir, 300)
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "proxy", "reprice", "-c", str(config), "--data-dir", str(data_dir)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True, env=clean_environment()
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(terminal)
    assert "reprice: 100 of 300 records, 33 %" in shown
    assert "reprice: 300 of 300 records, 100 %" in shown
    assert b"300 records looked at, 300 changed" in done.stdout
    assert b"%" not in done.stdout


def test_what_a_dead_command_left_is_finished_by_the_recorder(data_dir: Path) -> None:
    fill(data_dir, 300)
    (data_dir / "jobs").mkdir()
    (data_dir / "jobs" / "a.json").write_text('{"id":"a","task":{"kind":"reprice"}}')
    (data_dir / "jobs" / "b.json").write_text("nonsense")
    dearer = {"pricing": {"overrides": [{"model": "gpt-4o-mini*", "input": 1, "output": 2}]}}
    with recording(data_dir, json.dumps(dearer)):
        wait_until(lambda: progress(data_dir) == [300], "the job", timeout_s=20)
    assert costs(data_dir) == [DEARER_NANO_USD] * 300
    assert list((data_dir / "jobs").iterdir()) == []


def test_a_dry_run_of_an_older_database_asks_for_a_migration(data_dir: Path, capsys: Capture) -> None:
    fill(data_dir, 1)
    change(data_dir, "DELETE FROM migrations WHERE number = 3")
    assert main(["reprice", "--dry-run", "--data-dir", str(data_dir)]) == 78
    assert "glassline migrate" in capsys.readouterr().err


def test_without_records_there_is_nothing_to_do(tmp_path: Path, capsys: Capture) -> None:
    assert main(["reprice", "--data-dir", str(tmp_path)]) == 78
    assert "no records yet" in capsys.readouterr().err


def test_repricing_a_slice_takes_no_longer_than_a_batch(data_dir: Path) -> None:
    """A bound with room for a slow machine: a slice takes about 10 ms."""
    from pricing import PriceBook
    from proxy.recorder.bills import Bills
    from proxy.recorder.interpret import Interpreter
    from proxy.recorder.jobs import run_slice
    from proxy.recorder.revise import Reviser
    from proxy.store.jobs import Task

    fill(data_dir, 200)
    book, store = PriceBook(), SqliteStore(data_dir / "records.db")
    try:
        reviser = Reviser(book, Config(), Interpreter(book, Config(), Bills(store.bills)))
        job = store.jobs.start(Task(kind="reread"), "x")
        store.jobs.add(job, 0)
        best = 10.0
        while not job.is_over:
            start = time.perf_counter()
            job, _ = run_slice(job, store.jobs, reviser, 1)
            best = min(best, time.perf_counter() - start)
        assert job.done == 200
        assert best < 0.2
    finally:
        store.close()
