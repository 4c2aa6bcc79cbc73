"""Feedback end to end: an application rates its answer, everything is killed, and somebody wants to be forgotten."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.conftest import StartGlassline
from tests.e2e.test_privacy import USER, command, hits
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until

COMMENT = "CANARY-COMMENT-3141"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is a heron?"}]}


def ask(glassline: Glassline) -> str:
    """Ask as an application does; return the id that its answer names."""
    headers = {"authorization": "Bearer sk-application-1234567890abcdef", "x-glassline-user": USER}
    answer = httpx.post(f"{glassline.url}/v1/chat/completions", json=BODY, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-glassline-request-id"]


def give(glassline: Glassline, **body: Any) -> None:
    answer = httpx.post(f"{glassline.admin_url}/api/feedback", json=body, timeout=30)
    assert answer.status_code == 201, answer.text


def shown(glassline: Glassline, id_: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{glassline.admin_url}/api/requests/{id_}", timeout=30)
    found: list[dict[str, Any]] = answer.json()["feedback"] if answer.status_code == 200 else []
    return found


def test_an_answer_is_rated_at_once_and_no_crash_takes_that_back(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url)
    id_ = ask(glassline)
    give(glassline, request=id_, value=True, comment=COMMENT)
    glassline.kill_group()
    wait_until(lambda: not glassline.pids(), "the end of all processes")
    glassline.start()
    (said,) = wait_until(lambda: shown(glassline, id_), "what was said")
    assert (said["value"], said["comment"]) == (1.0, COMMENT)
    give(glassline, request=id_, value=False)
    wait_until(lambda: [each["value"] for each in shown(glassline, id_)] == [0.0], "what was said instead")


def test_a_deletion_takes_the_comment_out_of_every_file(start_glassline: StartGlassline, simulator: Simulator) -> None:
    glassline = start_glassline(simulator.url)
    id_ = ask(glassline)
    give(glassline, request=id_, value=True, comment=COMMENT)
    wait_until(lambda: shown(glassline, id_), "what was said")
    assert hits(glassline.data_dir, (COMMENT,))
    done = command(glassline, "prune", "--user", USER, "--yes", "--json")
    assert json.loads(done.stdout)["emptied"] == 1, done.stderr
    assert hits(glassline.data_dir, (COMMENT, USER)) == {}
    assert shown(glassline, id_) == []
