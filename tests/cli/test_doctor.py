"""`glassline doctor` beside a Glassline that runs, does not run, or did."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from proxy.cli.installation import installed_bytes, installed_packages
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
    code, findings = examine(glassline)
    [found] = [each for each in findings if each["subject"] == "verdict"]
    return code, found["level"], found["detail"]


def details(glassline: Glassline) -> dict[str, str]:
    """Return what doctor says, by subject."""
    return {found["subject"]: found["detail"] for found in examine(glassline)[1]}


def examine(glassline: Glassline) -> tuple[int, list[dict[str, str]]]:
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
    return told.returncode, list(map(json.loads, told.stdout.splitlines()))


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
    # What was seen a moment ago holds for two seconds.
    told = wait_until(lambda: found if (found := verdict(glassline)[1:])[0] != "ok" else None, "a verdict")
    assert told == (
        "error",
        "failing: error rate is 100%: 20 of 20 requests, most of them openai 502 upstream_unreachable",
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


MOST_PACKAGES = 31
"""Indirect ones included; docs/dependencies.md says why they are not fewer."""
MOST_INSTALLED_MB = 120
MOST_IDLE_MB = 180


def test_an_installation_has_no_more_packages_and_takes_no_more_room_than_is_allowed() -> None:
    locked = re.findall(r"(?m)^[a-z0-9-]+==", (ROOT / "requirements.lock").read_text())
    assert 0 < len(locked) <= MOST_PACKAGES
    assert 0 < installed_bytes() <= MOST_INSTALLED_MB * 1_000_000


@pytest.mark.cold
def test_an_idle_glassline_takes_no_more_memory_than_is_allowed(start_glassline: StartGlassline) -> None:
    told = details(start_glassline(None))
    whole = re.fullmatch(r"5 processes, (\d+\.\d) MB of memory: (.*)", told["running"])
    assert whole is not None, told["running"]
    assert float(whole[1]) <= MOST_IDLE_MB
    assert re.findall(r"([a-z0-9-]+) \d+\.\d MB", whole[2]) == [
        "supervisor",
        "ledger",
        "gateway-0",
        "recorder",
        "admin",
    ]


def test_it_says_how_long_the_start_took_and_forgets_it_when_another_takes_over(
    start_glassline: StartGlassline,
) -> None:
    glassline = start_glassline(None)
    told = re.fullmatch(r"ready (\d+\.\d\d) s after the start of its process", details(glassline)["start"])
    assert told is not None
    assert 0 < float(told[1]) < 60
    command = [sys.executable, "-m", "proxy", "restart", "--data-dir", str(glassline.data_dir)]
    subprocess.run(command, cwd=ROOT, env=clean_environment(), timeout=60, check=True)
    assert "start" not in details(glassline)


def test_what_it_tells_of_dependencies_is_what_is_installed(start_glassline: StartGlassline) -> None:
    told = details(start_glassline(None, start=False))
    assert told["dependencies"].startswith(f"{len(installed_packages())} packages, ")
    assert "running" not in told
    assert "start" not in told
