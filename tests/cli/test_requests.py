from __future__ import annotations

import csv
import gzip
import io
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from proxy.cli import main
from proxy.config import parse_config
from proxy.journal import JournalWriter
from proxy.recorder import run as record
from tests.admin.conftest import UNPRICED_ID
from tests.harness.process import Process, clean_environment, wait_until
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD, JSON_HEADERS, PROMPT, make_begin, make_end, write_chat

Capture = pytest.CaptureFixture[str]


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=clean_environment())


def newest_id(data_dir: Path, capsys: Capture) -> str:
    assert main(["requests", "list", "--json", "-n", "1", "--data-dir", str(data_dir)]) == 0
    return str(json.loads(capsys.readouterr().out)["id"])


def test_the_list_is_aligned_and_newest_first(recorded: Path, capsys: Capture) -> None:
    assert main(["requests", "list", "--data-dir", str(recorded)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert lines[0].split() == [
        "TIME",
        "ID",
        "KEY",
        "MODEL",
        "STATUS",
        "DURATION",
        "TTFT",
        "IN",
        "OUT",
        "COST",
        "OUTCOME",
    ]
    status_ends = lines[0].index("STATUS") + len("STATUS")
    assert {line[status_ends - 3 : status_ends] for line in lines[1:]} == {"200"}
    assert lines[1].split()[1] == "0198f2b1-7c3e-7abc"
    assert "$0.000210" in lines[1]


def test_an_unknown_price_is_never_shown_as_nothing(recorded: Path, capsys: Capture) -> None:
    assert main(["requests", "list", "-q", "model:nobody-knows-me", "--data-dir", str(recorded)]) == 0
    assert "no price" in capsys.readouterr().out
    assert main(["requests", "show", UNPRICED_ID, "--data-dir", str(recorded)]) == 0
    assert "cost      no price" in capsys.readouterr().out
    assert main(["cost", "--data-dir", str(recorded)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("nobody-knows-me")]
    assert "no price" in line


def test_json_lines_hold_exact_integers(recorded: Path, capsys: Capture) -> None:
    assert main(["requests", "list", "--json", "-n", "1000", "--data-dir", str(recorded)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 30
    assert sum(row["cost_nano_usd"] or 0 for row in rows) == 28 * ANSWER_NANO_USD
    assert main(["cost", "--by", "key", "--json", "--data-dir", str(recorded)]) == 0
    (by_key,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "support-team" in line]
    assert by_key["cost_nano_usd"] == 14 * ANSWER_NANO_USD


def test_filters_and_times_narrow_the_list(recorded: Path, capsys: Capture) -> None:
    assert main(["requests", "list", "-q", "status:>=500", "--json", "--data-dir", str(recorded)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["requests", "list", "--to", "now-1d", "--json", "--data-dir", str(recorded)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["requests", "list", "-q", "colour:red", "--data-dir", str(recorded)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "fields: " in error
    assert main(["requests", "list", "--from", "yesterday", "--data-dir", str(recorded)]) == 1
    assert main(["cost", "--by", "colour", "--data-dir", str(recorded)]) == 1


def test_raw_bodies_are_exact_bytes(recorded: Path, capsys: Capture) -> None:
    wanted = newest_id(recorded, capsys)
    for side, expected in (("--request", PROMPT), ("--response", ANSWER)):
        result = run("requests", "show", wanted, "--raw", side, "--data-dir", str(recorded))
        assert (result.returncode, result.stdout, result.stderr) == (0, expected, b"")


def test_show_prints_facts_and_both_bodies(recorded: Path, capsys: Capture) -> None:
    wanted = newest_id(recorded, capsys)
    assert main(["requests", "show", wanted, "--data-dir", str(recorded)]) == 0
    text = capsys.readouterr().out
    assert f"id        {wanted}" in text
    assert "REQUEST" in text
    assert '"content": "Hello!"' in text
    assert main(["requests", "show", wanted, "--json", "--data-dir", str(recorded)]) == 0
    assert json.loads(capsys.readouterr().out)["request"]["is_whole"] is True
    assert main(["requests", "show", "0198", "--data-dir", str(recorded)]) == 1
    assert "more than one" in capsys.readouterr().err
    assert main(["requests", "show", "zzz", "--data-dir", str(recorded)]) == 1


def test_show_writes_a_request_to_be_sent_again_or_what_was_said(recorded: Path, capsys: Capture) -> None:
    wanted = newest_id(recorded, capsys)
    for form, part in (
        ("curl", "/openai/chat/completions"),
        ("python", "OpenAI("),
        ("markdown", "## Assistant\n\nHello!"),
    ):
        assert main(["requests", "show", wanted, "--as", form, "--data-dir", str(recorded)]) == 0
        assert part in capsys.readouterr().out
    assert main(["requests", "show", "zzz", "--as", "curl", "--data-dir", str(recorded)]) == 1


def test_a_compressed_body_is_decoded_for_reading_and_raw_as_it_passed(tmp_path: Path, capsys: Capture) -> None:
    packed = gzip.compress(ANSWER)
    writer = JournalWriter(tmp_path / "journal", "gateway-0")
    begin = make_begin(started_at_ms=time.time_ns() // 1_000_000)
    number = writer.begin(begin, PROMPT)
    writer.end(number, make_end(packed, headers=(*JSON_HEADERS, (b"content-encoding", b"gzip"))), packed)
    writer.close()
    with recorder(tmp_path):
        wait_until((tmp_path / "records.db").exists, "the store")
    assert main(["requests", "show", begin.id, "--data-dir", str(tmp_path)]) == 0
    assert '"content": "Hello!"' in capsys.readouterr().out
    assert run("requests", "show", begin.id, "--raw", "--data-dir", str(tmp_path)).stdout == packed


def test_hostile_text_cannot_drive_the_terminal(recorded: Path, capsys: Capture) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("UPDATE exchanges SET model = ?, error_message = ?", ("\x1b[2Jevil\r\n", "\x1b]0;evil\x07"))
    database.close()
    for arguments in (["list"], ["tail", "--no-follow"], ["show", UNPRICED_ID]):
        assert main(["requests", *arguments, "--data-dir", str(recorded)]) == 0
        assert not {"\x1b", "\x07", "\r"} & set(capsys.readouterr().out)


def test_exported_csv_runs_no_formula(recorded: Path, tmp_path: Path) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("UPDATE exchanges SET model = '=HYPERLINK(1)', user = ' +1', session = 'a,\"b\"\n' WHERE seq = 1")
    database.close()
    target = tmp_path / "out.csv"
    assert main(["requests", "export", "--format", "csv", "-o", str(target), "--data-dir", str(recorded)]) == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"), newline="")))
    assert len(rows) == 30
    assert rows[0]["model"] == "'=HYPERLINK(1)"
    assert rows[0]["user"] == "' +1"
    assert rows[0]["session"] == 'a,"b"\n'
    assert not any(value.lstrip(" ").startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_exported_json_lines_are_in_the_order_of_recording(recorded: Path, capsys: Capture) -> None:
    assert main(["requests", "export", "--data-dir", str(recorded)]) == 0
    places = [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()]
    assert places == sorted(places)
    assert len(places) == 30


def test_a_reader_that_has_seen_enough_is_no_failure(recorded: Path) -> None:
    export = shlex.join([sys.executable, "-m", "proxy", "requests", "export", "--data-dir", str(recorded)])
    script = f"{export} | head -n 1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        capture_output=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )
    assert (result.returncode, result.stdout.count(b"\n"), result.stderr) == (0, 1, b"")


def test_no_store_yet_is_one_clear_line(tmp_path: Path, capsys: Capture) -> None:
    for command in (["requests", "list"], ["requests", "export"], ["requests", "show", "x"], ["cost"]):
        assert main([*command, "--data-dir", str(tmp_path)]) == 78
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["requests", "tail", "--no-follow", "--data-dir", str(tmp_path)]) == 0


@contextmanager
def recorder(data_dir: Path) -> Iterator[None]:
    """The real recorder, in a thread."""
    stop = threading.Event()
    arguments = (data_dir, parse_config(""), data_dir / "run" / "ledger.sock")
    thread = threading.Thread(target=record, args=arguments, kwargs={"stop": stop})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_tail_starts_before_the_store_follows_the_recorder_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    command = [sys.executable, "-m", "proxy", "requests", "tail", "--json", "--data-dir", str(data_dir)]
    with Process(command, tmp_path, name="tail") as tail:

        def seen() -> list[str]:
            whole, _, _ = tail.stdout.read_text().rpartition("\n")
            return [json.loads(line)["id"] for line in whole.splitlines()]

        with recorder(data_dir):
            writer = JournalWriter(data_dir / "journal", "gateway-0")
            first = write_chat(writer, make_begin())
            tail.wait_for(lambda: seen() == [first], "the first request")
            later = [write_chat(writer, make_begin()) for _ in range(50)]
            tail.wait_for(lambda: len(seen()) == 51, "the others", timeout_s=20)
            assert seen() == [first, *later], "each once, in order"
            writer.close()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout_s=10) == 0
        assert tail.stderr.read_text() == ""


def test_tail_shows_the_last_ten_first(recorded: Path) -> None:
    command = [sys.executable, "-m", "proxy", "requests", "tail", "--data-dir", str(recorded)]
    with Process(command, recorded.parent, name="tail") as tail:
        wait_until(lambda: tail.stdout.read_text().count("\n") >= 11, "ten requests")
        lines = tail.stdout.read_text().splitlines()
        assert lines[0].startswith("WHEN")
        assert len(lines) == 11
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout_s=10) == 0
