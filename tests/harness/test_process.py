"""The harness is trusted by every end-to-end test, so it is tested itself: with scripts that misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import DeadlineError, Process, Simulator, wait_until
from tests.harness.process import clean_environment, command_line

ORPHAN_MAKER = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        open("grandchild", "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(60)
"""


def python(source: str, directory: Path) -> Process:
    return Process([sys.executable, "-c", source], directory, name="script")


def test_close_ends_a_grandchild_whose_parent_is_gone(tmp_path: Path) -> None:
    with python(ORPHAN_MAKER, tmp_path) as process:
        note = tmp_path / "grandchild"
        process.wait_for(lambda: note.exists() and note.read_text(), "the grandchild")
        orphan = int(note.read_text())
        assert set(process.pids()) == {process.pid, orphan}
    assert command_line(orphan) == ""
    assert process.pids() == []


def test_close_may_be_called_for_what_has_ended_by_itself(tmp_path: Path) -> None:
    process = python("pass", tmp_path)
    assert process.wait(timeout_s=20) == 0
    process.close()
    process.close()


def test_a_process_that_dies_early_shows_its_last_words(tmp_path: Path) -> None:
    with (
        python("import sys; sys.exit('no such port')", tmp_path) as process,
        pytest.raises(DeadlineError, match=r"ended with 1 before ready(?s:.*)no such port"),
    ):
        process.wait_for(lambda: None, "ready", timeout_s=20)


def test_a_process_that_is_never_ready_shows_what_it_said(tmp_path: Path) -> None:
    with python("import time; print('still thinking', flush=True); time.sleep(60)", tmp_path) as process:
        process.wait_for(lambda: "thinking" in process.stdout.read_text(), "its first words")
        with pytest.raises(DeadlineError, match=r"waiting for ready(?s:.*)still thinking"):
            process.wait_for(lambda: None, "ready", timeout_s=0.05)


def test_a_signal_reaches_the_whole_group_or_the_first_process_alone(tmp_path: Path) -> None:
    with python(ORPHAN_MAKER, tmp_path) as process:
        wait_until(lambda: len(process.pids()) == 2, "both processes", timeout_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout_s=10) == -signal.SIGTERM
        assert len(process.pids()) == 1
        process.kill_group(signal.SIGTERM)
        wait_until(lambda: not process.pids(), "the orphan's end")


def test_wait_until_returns_the_value_that_was_waited_for() -> None:
    values = iter([None, 0, "found"])
    assert wait_until(lambda: next(values), "a value") == "found"


def test_what_a_developer_exported_does_not_reach_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "https_proxy", "OPENAI_BASE_URL", "GLASSLINE_CONFIG"):
        monkeypatch.setenv(name, "leaked")
    assert "leaked" not in clean_environment().values()
    assert clean_environment()["PATH"] == os.environ["PATH"]


def test_two_simulators_run_side_by_side_and_stop_politely(start_simulator: Callable[..., Simulator]) -> None:
    first, second = start_simulator(), start_simulator("--seed", "7")
    assert first.port != second.port
    first.stop()
    assert first.pids() == []
    assert second.pids() == [second.pid]


def test_the_node_sdk_script_makes_every_call(node_sdk: list[str], simulator: Simulator) -> None:
    done = subprocess.run([*node_sdk, simulator.url], capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line["call"] for line in lines if "error" not in line] == [
        "chat",
        "chat_stream",
        "chat_stream_usage",
        "tools",
        "three_choices",
        "aborted",
        "responses_stream",
        "embeddings",
        "upload",
        "models",
    ]
    truths = simulator.wait_for_truth(len(lines), "done")
    sent = {
        exchange["request_sha256"] for line in lines for exchange in line["exchanges"] if exchange.get("request_size")
    }
    assert sent == {truth["request_sha256"] for truth in truths if truth["request_bytes"]}
    upload = next(truth for truth in truths if truth["path"] == "/v1/files")
    assert "content-length" not in upload["x_request"], "the upload was not chunked"
    assert not next(line for line in lines if line["call"] == "aborted")["exchanges"][0].get("response_sha256")
    assert [truth["finished"] for truth in truths].count(False) == 1
