"""`glassline doctor` beside a Glassline that runs, does not run, or did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.process import ROOT, clean_environment, wait_until

UNUSABLE = 78
BODY = b'{"model": "gpt-4o-mini", "max_tokens": 5, "messages": []}'
KEY = "sk-limited-0123456789abcdef"
LIMITED = {"name": "limited", "key": KEY, "budgets": [{"limit_usd": 10, "window": "day"}]}


def verdict(glassline: Glassline) -> tuple[int, str, str]:
    """Return doctor's exit code, and the level and the words of its verdict."""
    command = [sys.executable, "-m", "proxy", "doctor", "--json", "-c", str(glassline.config_file)]
    told = subprocess.run(
        [*command, "--data-dir", str(glassline.data_dir)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    [found] = [each for each in map(json.loads, told.stdout.splitlines()) if each["subject"] == "verdict"]
    return told.returncode, found["level"], found["detail"]


def test_it_says_what_the_running_glassline_says_of_itself(start_glassline: StartGlassline) -> None:
    glassline = start_glassline(None, start=False)
    assert verdict(glassline) == (0, "ok", "nothing runs here")
    glassline.start()
    assert verdict(glassline) == (0, "ok", "ok")
    glassline.write_config("nonsense: 1")
    glassline.reload()
    wait_until(lambda: "not loaded" in glassline.stderr, "a refusal")
    assert verdict(glassline)[1:] == (
        "warning",
        "degraded: the configuration was not loaded; the last good one is in force",
    )


def test_it_tells_one_that_was_killed_from_one_that_never_ran(start_glassline: StartGlassline) -> None:
    glassline = start_glassline(None)
    glassline.kill_group()
    assert verdict(glassline) == (
        UNUSABLE,
        "error",
        "what was ready here has ended without being stopped: read its log",
    )


def test_it_does_not_wait_for_one_that_is_stuck(start_glassline: StartGlassline) -> None:
    glassline = start_glassline(None)
    [admin] = glassline.pids_of("admin")
    os.kill(admin, signal.SIGSTOP)
    started = time.monotonic()
    try:
        code, level, words = verdict(glassline)
    finally:
        os.kill(admin, signal.SIGCONT)
    assert (code, level) == (UNUSABLE, "error")
    assert words.startswith("the running Glassline does not answer: ")
    assert time.monotonic() - started < 10


def test_it_names_the_upstream_that_fails(start_glassline: StartGlassline) -> None:
    glassline = start_glassline("http://127.0.0.1:9/v1")
    assert {exchange(glassline.port, post("/v1/chat/completions", BODY)).status for _ in range(20)} == {502}
    glassline.wait_for_rows(20)
    assert verdict(glassline)[1:] == (
        "warning",
        "degraded: 100 % of 20 requests failed in the last 5 minutes, most of them openai 502 upstream_unreachable",
    )


def test_it_tells_a_ledger_that_is_stuck_from_a_disk(start_glassline: StartGlassline) -> None:
    glassline = start_glassline("http://127.0.0.1:9/v1", {"keys": [LIMITED]})
    [ledger] = glassline.pids_of("ledger")
    os.kill(ledger, signal.SIGSTOP)
    try:
        assert exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY)).status == 503
        glassline.wait_for_rows(1)
        code, level, words = verdict(glassline)
    finally:
        os.kill(ledger, signal.SIGCONT)
    assert (code, level) == (UNUSABLE, "error")
    assert words == (
        "failing: 1 request refused in the last minute: the ledger does not answer, so budgets cannot be checked"
    )
