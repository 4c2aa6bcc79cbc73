"""Streams against a cap: what a provider makes of a stream that is cut is billed, so none begins that may be cut."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx

from tests.conftest import StartGlassline
from tests.e2e.prices import nano_usd
from tests.faults.budgets.race import call_once
from tests.harness import Glassline, Simulator
from tests.harness.client import exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import STREAM_HEAD, ScriptedUpstream, chunk

KEY = "sk-stream-0123456789abcd"
FAST = "x-simulate: tokens=6000"
OUTPUT = 600
"""nano-USD for a token of gpt-4o-mini's output."""


def config(limit_usd: str, **budget: str) -> dict[str, Any]:
    budgets = [{"limit_usd": limit_usd, "window": "total", **budget}]
    return {"keys": [{"name": "stream", "key": KEY, "budgets": budgets}]}


def body(**fields: Any) -> bytes:
    messages = [{"role": "user", "content": "Tell me everything."}]
    return json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": messages, **fields}).encode()


def ask(**fields: Any) -> bytes:
    return post("/v1/chat/completions", body(**fields), key=KEY, headers=(FAST,))


def settled(glassline: Glassline) -> dict[str, Any]:
    """Wait until nothing is reserved; return the one account."""

    def account() -> dict[str, Any] | None:
        [row] = glassline.rows("SELECT * FROM accounts", database="ledger.db")
        return row if row["reserved_nano_usd"] == 0 else None

    return wait_until(account, "settlement")


def bill(simulator: Simulator) -> int:
    return sum(nano_usd(line["model"], line["usage"]) for line in simulator.done() if line["usage"])


def test_a_stream_that_may_outgrow_its_budget_never_begins(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, config("0.003"))
    refused = exchange(glassline.port, ask(max_tokens=20_000))
    assert refused.status == 429
    assert "this request may need $0.02" in json.loads(refused.body)["error"]["message"]
    assert not simulator.truth("received")
    served = exchange(glassline.port, ask(max_tokens=2500))
    assert (served.status, b"[DONE]" in served.body) == (200, True)
    account = settled(glassline)
    assert account["spent_nano_usd"] == bill(simulator) <= 3_000_000
    assert account["overrun_nano_usd"] == 0


def test_a_flock_of_fast_streams_passes_no_cap(start_glassline: StartGlassline, simulator: Simulator) -> None:
    """Thirty streams at once, each as fast as the provider can send, where the bounds of ten fit."""
    glassline = start_glassline(simulator.url, config("0.065"))

    async def flock() -> list[bytes]:
        return await asyncio.gather(*(call_once(glassline.port, ask(max_tokens=6000)) for _ in range(30)))

    answers = asyncio.run(flock())
    account = settled(glassline)
    complete = sum(b"[DONE]" in answer for answer in answers)
    assert complete >= 10
    assert sum(answer.startswith(b"HTTP/1.1 429") for answer in answers) == 30 - complete, "none was cut"
    assert account["overrun_nano_usd"] == 0
    assert account["spent_nano_usd"] == bill(simulator) <= account["limit_nano_usd"]


def test_in_slices_a_fast_provider_bills_more_than_the_cap_which_is_counted_and_shown(
    start_glassline: StartGlassline,
) -> None:
    """Why a stream should say what it wants at most: all of the answer had been generated before anybody could stop it."""
    words = 20_000
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "word " * words}}]}).encode()
    stream = event[: len(event) // 2], event[len(event) // 2 :] + b"\n\n", b"data: [DONE]\n\n"
    with ScriptedUpstream(lambda connection: connection.send(STREAM_HEAD + b"".join(map(chunk, stream)))) as upstream:
        glassline = start_glassline(upstream.url, config("0.003"))
        cut = exchange(glassline.port, ask())
        assert b"project_spend_limit_exceeded" in cut.raw
        account = settled(glassline)
        assert account["spent_nano_usd"] >= words * OUTPUT
        assert account["overrun_nano_usd"] == account["spent_nano_usd"] - account["limit_nano_usd"] > 0
        assert exchange(glassline.port, ask(max_tokens=1)).status == 429
        me = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {KEY}"}).json()
        assert round(me["budgets"][0]["overrun_usd"] * 1e9) == account["overrun_nano_usd"]
        shown = re.search(r"glassline_budget_overrun_usd{[^}]*} (.*)", httpx.get(f"{glassline.admin_url}/metrics").text)
        assert shown is not None
        assert round(float(shown[1]) * 1e9) == account["overrun_nano_usd"]


def test_one_hard_budget_can_demand_that_every_stream_reserves_all(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    strict = {"name": "strict", "limit_usd": "0.003", "window": "total", "streams": "whole"}
    sliced = config("0.003", streams="sliced")
    glassline = start_glassline(simulator.url, {**sliced, "budgets": [strict]})
    assert exchange(glassline.port, ask()).status == 429
    soft = start_glassline(simulator.url, {**sliced, "budgets": [{**strict, "hard": False}]})
    cut = exchange(soft.port, ask())
    assert (cut.status, b"project_spend_limit_exceeded" in cut.body) == (200, True)


def test_what_is_reserved_for_a_stream_is_free_again_when_it_is_settled(
    start_glassline: StartGlassline, simulator: Simulator
) -> None:
    glassline = start_glassline(simulator.url, config("0.02"))
    for _ in range(5):
        answer = exchange(
            glassline.port,
            post("/v1/chat/completions", body(max_tokens=16_000), key=KEY, headers=("x-simulate: tokens=50",)),
        )
        assert (answer.status, b"[DONE]" in answer.body) == (200, True)
        settled(glassline)
    assert settled(glassline)["spent_nano_usd"] == bill(simulator) < 5 * 60 * OUTPUT
