"""Money that comes later or is shown again, through the whole system: budgets end at the sum of the records."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator
from tests.harness.client import exchange, post
from tests.harness.process import clean_environment, wait_until

KEY = "sk-app-0123456789abcdef"
CONFIG = {"keys": [{"name": "app", "key": KEY, "budgets": [{"name": "all", "limit_usd": 5, "window": "total"}]}]}


def call(glassline: Glassline, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    if body is not None:
        request = post(path, json.dumps(body).encode(), key=KEY)
    else:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(glassline.port, request)
    assert answer.status == 200, answer
    decoded: dict[str, Any] = json.loads(answer.body)
    return decoded


def account(glassline: Glassline) -> tuple[int, int]:
    [row] = glassline.rows(
        "SELECT sum(spent_nano_usd) AS spent, sum(reserved_nano_usd) AS reserved FROM accounts", database="ledger.db"
    )
    return row["spent"], row["reserved"]


def recorded(glassline: Glassline) -> int:
    [row] = glassline.rows("SELECT coalesce(sum(cost_nano_usd), 0) AS cost FROM exchanges")
    return int(row["cost"])


def test_a_background_response_is_spent_at_its_true_cost_once(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, CONFIG)
    asked = {"model": "gpt-4o-mini", "input": "Write a poem.", "background": True, "max_output_tokens": 4000}
    begun = call(glassline, "/v1/responses", asked)
    glassline.wait_for_rows(1)
    spent, reserved = account(glassline)
    assert spent == 0
    assert reserved > 0, "nobody knows the cost yet, so what it can be at most stays reserved"
    polled = begun
    while polled["status"] != "completed":
        polled = call(glassline, f"/v1/responses/{begun['id']}")
    for _ in range(3):
        call(glassline, f"/v1/responses/{begun['id']}")
    wait_until(lambda: account(glassline)[1] == 0, "settlement")
    usage = polled["usage"]
    cost = usage["input_tokens"] * 150 + usage["output_tokens"] * 600
    assert recorded(glassline) == cost
    assert account(glassline) == (cost, 0)
    begun_row = glassline.rows("SELECT cost_nano_usd, cost_reason FROM exchanges WHERE method = 'POST'")[0]
    assert begun_row["cost_nano_usd"] == 0
    assert begun_row["cost_reason"].startswith("billed with ")


def test_costs_are_computed_anew_while_serving_and_budgets_stay(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, CONFIG)
    for _ in range(3):
        call(
            glassline, "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a"}]}
        )
    glassline.wait_for_rows(3)
    wait_until(lambda: account(glassline)[1] == 0, "settlement")
    before = recorded(glassline)
    assert account(glassline) == (before, 0)
    dearer = CONFIG | {"pricing": {"overrides": [{"model": "gpt-4o-mini*", "multiplier": 3}]}}
    upstreams = {"openai": {"base_url": f"{simulator.url}/v1", "allow_private": True}}
    glassline.stop()
    glassline.write_config(dearer | {"upstreams": upstreams})
    glassline.start()
    command = [sys.executable, "-m", "proxy", "reprice", "-c", str(glassline.config_file)]
    place = ["--data-dir", str(glassline.data_dir), "--json"]
    done = subprocess.run([*command, *place], capture_output=True, timeout=60, check=True, env=clean_environment())
    total = json.loads(done.stdout.splitlines()[-1])["total"]
    assert (total["changed"], total["before_nano_usd"], total["after_nano_usd"]) == (3, before, 3 * before)
    assert recorded(glassline) == 3 * before
    assert account(glassline) == (before, 0), "what was spent was spent at the price of its day"
