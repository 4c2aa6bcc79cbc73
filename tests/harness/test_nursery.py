"""The nursery: what comes out of it is a process of its own, and what the command starts."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.harness import Glassline, Simulator
from tests.harness.process import DeadlineError, Process, command_line

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


def test_each_is_a_process_of_its_own_with_a_session_and_a_truth_of_its_own(tmp_path: Path) -> None:
    with closing(Simulator(tmp_path / "a")) as first, closing(Simulator(tmp_path / "b")) as second:
        httpx.post(f"{first.url}/chat/completions", json=ASK)
        assert len(first.wait_for_truth(1, "received")) == 1
        assert second.truth() == []
        assert first.pids() == [first.pid] == [os.getsid(first.pid)]
        assert second.pids() == [second.pid] != first.pids()


def test_its_end_is_told_as_that_of_any_process(tmp_path: Path) -> None:
    with closing(Simulator(tmp_path / "a")) as asked, closing(Simulator(tmp_path / "b")) as killed:
        assert asked.exit_code is None
        asked.send_signal(signal.SIGTERM)
        assert asked.wait(timeout_s=10) == 0
        killed.kill_group()
        assert killed.exit_code == -signal.SIGKILL
        assert killed.pids() == []


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match=r"ended with 2 before (?s:.*)--no-such-option"):
        Simulator(tmp_path, "--no-such-option")


def test_it_answers_as_the_command_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy.simulator", "--port", "0", "--print-port"]
    with closing(Simulator(tmp_path / "a")) as forked, Process(command, tmp_path / "b", name="command") as started:
        port = int(started.wait_for(lambda: started.stdout.read_text().strip(), "its port"))
        answers = [
            httpx.post(f"http://127.0.0.1:{number}/v1/chat/completions", json=ASK) for number in (forked.port, port)
        ]
        assert answers[0].status_code == 200
        assert answers[0].content == answers[1].content


def test_a_warm_glassline_is_told_apart_from_a_cold_one_by_its_command_line_alone(tmp_path: Path) -> None:
    answers = []
    with closing(Simulator(tmp_path / "simulator")) as simulator:
        config = {"upstreams": {"openai": {"base_url": simulator.url, "allow_private": True}}}
        for is_warm in (False, True):
            with closing(Glassline(tmp_path / f"{is_warm}", config, is_warm=is_warm)) as glassline:
                glassline.start()
                assert ("tests.harness.nursery" in command_line(glassline.process.pid)) is is_warm
                assert len(glassline.pids()) == 5
                assert all(os.getsid(pid) == glassline.process.pid for pid in glassline.pids())
                answers.append(httpx.post(f"{glassline.url}/v1/chat/completions", json=ASK).content)
                glassline.stop()
    assert answers[0] == answers[1]


def test_the_environment_of_a_warm_glassline_is_its_own(tmp_path: Path) -> None:
    config = {"auth": "virtual", "keys": [{"name": "app", "key": "${APP_KEY}"}]}
    with closing(Glassline(tmp_path / "a", config, is_warm=True, env={"APP_KEY": "sk-app-0123456789abcdef"})) as first:
        first.start()
        with pytest.raises(DeadlineError, match=r"ended with 78 before (?s:.*)APP_KEY is not set"):
            Glassline(tmp_path / "b", config, is_warm=True).start()
        assert httpx.get(f"{first.url}/v1/models").status_code == 401


def test_an_environment_that_acts_before_a_program_begins_is_not_passed_over(tmp_path: Path) -> None:
    with closing(Glassline(tmp_path, is_warm=True, env={"PYTHONHASHSEED": "1"})) as glassline:
        glassline.start()
        assert "tests.harness.nursery" not in command_line(glassline.process.pid)
