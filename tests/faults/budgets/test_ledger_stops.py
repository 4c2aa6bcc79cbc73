"""A ledger that answers nobody: whoever has a budget is refused, everybody else is served, and the verdict says so."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx

from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import ScriptedUpstream, answer_chat

BODY = b'{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
BOUND, FREE = "sk-bound-0123456789abcd", "sk-free-0123456789abcdef"


def ask(glassline: Glassline, key: str) -> int:
    return exchange(glassline.port, post("/v1/chat/completions", BODY, key=key)).status


def verdict(glassline: Glassline) -> tuple[str, list[str]]:
    said: dict[str, Any] = httpx.get(f"{glassline.admin_url}/api/status").json()
    return said["verdict"], [reason["code"] for reason in said["reasons"]]


def test_a_stopped_ledger_is_seen_and_holds_up_nobody_without_a_budget(start_glassline: StartGlassline) -> None:
    keys = [{"name": "bound", "key": BOUND, "budgets": [{"limit_usd": 5, "window": "day"}]}]
    with ScriptedUpstream(answer_chat) as upstream:
        glassline = start_glassline(upstream.url, {"keys": keys})
        assert ask(glassline, BOUND) == 200
        [ledger] = glassline.pids_of("ledger")
        os.kill(ledger, signal.SIGSTOP)
        try:
            assert ask(glassline, BOUND) == 503
            assert ask(glassline, FREE) == 200
            wait_until(lambda: "unserved" in verdict(glassline)[1], "the reason", timeout_s=30)
            assert verdict(glassline)[0] == "failing"
        finally:
            os.kill(ledger, signal.SIGCONT)
        assert ask(glassline, BOUND) == 200
        row = glassline.wait_for_rows(1, "outcome = 'refused'")[0]
        assert (row["status"], row["error_code"], row["cost_usd"]) == (503, "recorder_unavailable", 0)
