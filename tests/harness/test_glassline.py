"""The harness starts, watches, kills and stops a whole Glassline."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartGlassline
from tests.harness import DeadlineError, Glassline, Simulator

pytestmark = pytest.mark.cold
QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name three rivers."}], "max_tokens": 8}
ROLES = ("gateway", "ledger", "recorder", "admin")


def ask(glassline: Glassline) -> httpx.Response:
    return httpx.post(f"{glassline.url}/v1/chat/completions", json=QUESTION, trust_env=False, timeout=20)


def test_a_request_reaches_the_simulator_and_becomes_a_row(glassline: Glassline, simulator: Simulator) -> None:
    answer = ask(glassline)
    (row,) = glassline.wait_for_rows(1)
    assert row["id"] == answer.headers["x-glassline-request-id"]
    assert (row["status"], row["outcome"], row["model_requested"]) == (200, "completed", "gpt-4o-mini")
    assert row["output_tokens"] == simulator.wait_for_truth(1, "done")[0]["usage"]["output_tokens"]
    glassline.stop()


def test_every_process_is_found_by_its_role_and_gone_after_stop(glassline: Glassline) -> None:
    assert [len(glassline.pids_of(role)) for role in ROLES] == [1, 1, 1, 1]
    assert httpx.get(f"{glassline.admin_url}/healthz", trust_env=False).status_code == 200
    glassline.stop()
    assert glassline.pids() == []


def test_it_starts_again_on_the_same_data_after_everything_was_killed(glassline: Glassline) -> None:
    ask(glassline)
    glassline.kill_group(signal.SIGKILL)
    assert glassline.pids() == []
    glassline.start()
    ask(glassline)
    assert len({row["id"] for row in glassline.wait_for_rows(2)}) == 2
    glassline.stop()


def test_a_bad_configuration_fails_the_start_with_its_message(start_glassline: StartGlassline) -> None:
    with pytest.raises(DeadlineError, match=r"ended with 78(?s:.*)listen\.prot: unknown key"):
        start_glassline(None, {"listen": {"prot": 1}})


def test_rows_of_a_database_that_does_not_exist_yet_are_none(tmp_path: Path) -> None:
    glassline = Glassline(tmp_path)
    assert glassline.rows("SELECT * FROM requests") == []
    glassline.close()
