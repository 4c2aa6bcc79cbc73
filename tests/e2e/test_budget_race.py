"""A hard cap under a thousand callers at once: never passed, nothing left reserved, every refusal final."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import StartGlassline, StartSimulator
from tests.e2e.prices import nano_usd
from tests.faults.budgets.race import LIMIT, race
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until

IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))
SEEDS = range(100) if IS_LONG else range(1)
KEY = "sk-race-0123456789abcdef"
TOKENS = 40


def config(limit_usd: str, **budget: str) -> dict[str, Any]:
    return {"keys": [{"name": "race", "key": KEY, "budgets": [{"limit_usd": limit_usd, "window": "total", **budget}]}]}


def account(glassline: Glassline) -> dict[str, Any]:
    answer = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {KEY}"}).json()
    [budget] = answer["budgets"]
    return dict(budget)


def wait_settled(glassline: Glassline) -> None:
    wait_until(lambda: account(glassline)["reserved_usd"] == 0, "settlement of every reservation", timeout_s=30)


def billed(simulator: Simulator) -> int:
    return sum(nano_usd(line["model"], line["usage"]) for line in simulator.done() if line["usage"])


@pytest.mark.timeout(1800 if IS_LONG else 120)
@pytest.mark.case(39)
def test_a_thousand_callers_at_eight_gateways_never_pass_a_cap(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator = start_simulator()
    for seed in SEEDS:
        seen = race(start_glassline, simulator, seed, workers=8, callers=1000)
        print(seen)
        refused = seen["answers"].pop("429 project_spend_limit_exceeded")
        admitted = seen["answers"].pop("ok")
        assert not seen["answers"]
        assert 60 <= admitted <= 250
        assert (admitted + refused, seen["dispatched"]) == (1000, admitted), "a refused request reaches no provider"
        assert seen["samples"] > 20
        assert (seen["overspend_nano_usd"], seen["overrun_nano_usd"], seen["reserved_nano_usd"]) == (0, 0, 0)
        assert seen["spent_nano_usd"] == seen["billed_nano_usd"] == seen["recorded_nano_usd"]
        assert (seen["rows"], seen["ids"]) == (1000, 1000)
        assert seen["outcomes"] == {"completed": admitted, "refused": refused}


@pytest.mark.timeout(1800 if IS_LONG else 120)
@pytest.mark.parametrize("victim", ["gateway", "recorder", "ledger"])
def test_the_death_of_a_process_in_the_middle_of_the_race_passes_no_cap_and_frees_what_was_not_used(
    start_simulator: StartSimulator, start_glassline: StartGlassline, victim: str
) -> None:
    simulator = start_simulator()
    for seed in SEEDS[: 20 if IS_LONG else 1]:
        seen = race(start_glassline, simulator, seed, workers=8, callers=1000, victim=victim)
        print(seen)
        assert (seen["overspend_nano_usd"], seen["overrun_nano_usd"], seen["reserved_nano_usd"]) == (0, 0, 0)
        assert seen["settled_s"] < 10
        assert seen["rows"] == seen["ids"], "nothing stands there twice"
        if victim == "gateway":
            # What it had sent on is spent as far as its reservation goes: never less than what the provider bills.
            assert seen["spent_nano_usd"] >= seen["billed_nano_usd"]
            assert seen["rows"] >= seen["dispatched"]
        else:
            assert seen["spent_nano_usd"] == seen["billed_nano_usd"] == seen["recorded_nano_usd"]
            assert seen["answers"]["ok"] == seen["dispatched"]
            assert seen["rows"] == 1000


@pytest.mark.timeout(1800 if IS_LONG else 120)
@pytest.mark.parametrize("victim", [None, "gateway", "recorder", "ledger"])
def test_gateways_that_were_lent_money_pass_no_cap_and_keep_nothing_of_it(
    start_simulator: StartSimulator, start_glassline: StartGlassline, victim: str | None
) -> None:
    """A wider budget, so that gateways admit by themselves until the cap is near."""
    simulator = start_simulator()
    for seed in SEEDS[: 20 if IS_LONG else 1]:
        seen = race(start_glassline, simulator, seed, workers=4, callers=1200, victim=victim, limit=6 * LIMIT)
        print(seen)
        assert seen["leases"] > 0, "it was no race between leases"
        assert (seen["overspend_nano_usd"], seen["overrun_nano_usd"], seen["reserved_nano_usd"]) == (0, 0, 0)
        assert seen["settled_s"] < 10
        assert seen["rows"] == seen["ids"], "nothing stands there twice"
        if victim == "gateway":
            assert seen["spent_nano_usd"] >= seen["billed_nano_usd"]
            assert seen["rows"] >= seen["dispatched"]
        else:
            assert seen["spent_nano_usd"] == seen["billed_nano_usd"] == seen["recorded_nano_usd"]
            assert seen["answers"]["ok"] == seen["dispatched"] >= 450
            assert seen["rows"] == 1200


async def call(client: openai.AsyncOpenAI, rng: random.Random, number: int) -> str:
    """Make one call; return `ok` or the name of what the SDK raised, with its code."""
    messages: list[Any] = [{"role": "user", "content": f"Caller {number}: {'x' * rng.randrange(40)}"}]
    extra: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": messages,
        "max_tokens": TOKENS,
        "extra_headers": {"x-simulate": f"tokens={TOKENS};ttft={rng.random() / 5:.3f}"},
    }
    try:
        if rng.random() < 0.5:
            async for _ in await client.chat.completions.create(stream=True, **extra):
                pass
        else:
            await client.chat.completions.create(**extra)
    except openai.APIStatusError as error:
        return f"{type(error).__name__} {error.code}"
    return "ok"


async def storm(url: str, callers: int, rng: random.Random) -> list[str]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    # Retries are on, as they are for everybody: a refusal must stop them by itself.
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key=KEY,
        timeout=60,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits),  # type: ignore[arg-type]  # httpx or httpx2
    ) as client:
        return await asyncio.gather(*(call(client, random.Random(rng.random()), n) for n in range(callers)))


def test_every_refused_call_of_an_sdk_makes_one_attempt_and_what_is_settled_makes_room_again(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator, waves, admitted = start_simulator(), (200, 100), []
    glassline = start_glassline(simulator.url, config("0.003"), args=("--workers", "4"))
    for wave, callers in enumerate(waves):
        results = asyncio.run(storm(glassline.url, callers, random.Random(wave)))
        assert set(results) == {"ok", "RateLimitError project_spend_limit_exceeded"}
        admitted.append(results.count("ok"))
        wait_settled(glassline)
        rows = glassline.wait_for_rows(sum(waves[: wave + 1]))
        assert len(rows) == sum(waves[: wave + 1]), "one attempt for each call"
    assert len(simulator.truth("received")) == sum(admitted), "a refused request never reaches the provider"
    assert round(account(glassline)["spent_usd"] * 1e9) == billed(simulator) <= 3_000_000


def test_a_stream_that_outgrows_its_budget_is_cut_with_an_error_the_sdk_raises(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator = start_simulator()
    glassline = start_glassline(simulator.url, config("0.003"))
    with openai.OpenAI(base_url=f"{glassline.url}/v1", api_key=KEY) as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Tell me everything."}],
            stream=True,
            extra_headers={"x-simulate": "tokens=6000;pace=4000"},
        )
        seen: list[Any] = []
        with pytest.raises(openai.APIError) as caught:
            seen.extend(stream)
    assert caught.value.code == "project_spend_limit_exceeded"
    assert len(seen) > 100
    [row] = glassline.wait_for_rows(1)
    assert (row["outcome"], row["error_code"], row["usage_source"]) == ("refused", "budget_exceeded", "estimated")
    assert 0 < row["cost_usd"] <= 0.003
    wait_settled(glassline)
    assert 0 < account(glassline)["spent_usd"] <= 0.003
    assert billed(simulator) <= 3_000_000


def test_a_stream_within_its_budget_is_extended_and_ends_well(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator = start_simulator()
    glassline = start_glassline(simulator.url, config("1"))
    with openai.OpenAI(base_url=f"{glassline.url}/v1", api_key=KEY) as client:
        chunks = list(
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "Tell me everything."}],
                stream=True,
                extra_headers={"x-simulate": "tokens=5000"},
            )
        )
    assert len(chunks) > 5000
    [row] = glassline.wait_for_rows(1)
    assert (row["outcome"], row["output_tokens"]) == ("completed", 5000)
    wait_settled(glassline)
    assert round(account(glassline)["spent_usd"] * 1e9) == billed(simulator)


def test_with_status_402_the_refusal_says_so(start_simulator: StartSimulator, start_glassline: StartGlassline) -> None:
    glassline = start_glassline(start_simulator().url, config("0") | {"budget_status": 402})
    with (
        openai.OpenAI(base_url=f"{glassline.url}/v1", api_key=KEY) as client,
        pytest.raises(openai.APIStatusError) as e,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert (e.value.status_code, e.value.code) == (402, "project_spend_limit_exceeded")
    assert "race/total" in e.value.message
    assert e.value.response.headers["x-glassline-error"] == "budget_exceeded"
