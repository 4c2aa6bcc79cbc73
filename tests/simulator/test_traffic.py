"""Demo traffic is varied, hangs together, and looks real to whoever records it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from proxy.simulator.office import APPS, Call, Office
from proxy.simulator.traffic import generate, read_delta, read_message
from tests.conftest import StartSimulator


def play(seed: int, visits: int) -> list[tuple[Call, dict[str, str]]]:
    """Let the office speak, and answer everything at once."""
    office = Office(seed)
    spoken = []
    for _ in range(visits):
        visit = office.next_visit()
        spoken.append((visit.call, dict(visit.headers)))
        calls = [{"id": "call_1", "function": {"name": "get_weather", "arguments": "{}"}}]
        answer: dict[str, Any] = {"role": "assistant", "content": "fine"}
        office.hear(visit, answer | {"tool_calls": calls} if visit.call.shape.startswith("tools") else answer)
    return spoken


def test_the_same_seed_speaks_the_same_words() -> None:
    assert play(1, 100) == play(1, 100)
    assert play(1, 100) != play(2, 100)


def test_every_app_endpoint_and_mishap_turns_up() -> None:
    spoken = play(3, 1500)
    assert {headers["authorization"] for _, headers in spoken} == {f"Bearer {app.key}" for app in APPS}
    assert {call.path for call, _ in spoken} == {"chat/completions", "responses", "embeddings"}
    wishes = " ".join(headers["x-simulate"] for _, headers in spoken)
    assert all(mishap in wishes for mishap in ("status=429", "status=500", "cut=12", "error=8"))
    assert all(headers["x-glassline-user"] and headers["x-glassline-session"] for _, headers in spoken)
    assert {call.is_streamed for call, _ in spoken} == {True, False}


def test_a_conversation_carries_its_history_along() -> None:
    lengths: dict[str, list[int]] = {}
    for call, headers in play(4, 500):
        if "messages" in call.body and call.feature in ("chat", "plan"):
            lengths.setdefault(headers["x-glassline-session"], []).append(len(call.body["messages"]))
    grown = [turns for turns in lengths.values() if len(turns) > 2]
    assert grown
    assert all(turns == sorted(set(turns)) for turns in grown)


def test_a_conversation_ends_when_no_answer_comes() -> None:
    office = Office(5)
    chats = 0
    for _ in range(300):
        visit = office.next_visit()
        office.hear(visit, None)
        if visit.call.feature == "chat":
            chats += 1
            assert len(visit.call.body["messages"]) == 2
    assert chats > 50


async def test_traffic_flows_for_as_long_as_it_is_told(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    tally = await generate(simulator.url, seed=1, rate_per_s=60, duration_s=2.0)
    assert tally.sent == tally.answered + tally.refused + tally.abandoned + tally.broken
    assert tally.in_flight == 0
    assert tally.sent > 30
    assert tally.answered > tally.sent / 2
    done = await asyncio.to_thread(simulator.wait_for_truth, tally.sent, "done")
    statuses = Counter(line["status"] for line in done)
    assert statuses[400] == statuses[404] == statuses[422] == 0
    assert {line["model"] for line in done} >= {"gpt-4o-mini", "gpt-4.1", "text-embedding-3-small"}
    assert any(line["usage"] and line["usage"]["cached_tokens"] for line in done)


async def test_endless_traffic_ends_when_it_is_cancelled(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    task = asyncio.create_task(generate(simulator.url, seed=2, rate_per_s=50))
    await asyncio.to_thread(simulator.wait_for_truth, 5, "received")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_provider_that_is_not_there_breaks_the_calls_and_nothing_else() -> None:
    tally = await generate("http://127.0.0.1:9/v1", seed=1, rate_per_s=100, duration_s=0.3)
    assert tally.sent == tally.broken > 0


def test_messages_and_deltas_are_read_from_every_wire() -> None:
    assert read_message({"choices": [{"message": {"content": "hi"}}]}) == {"content": "hi"}
    assert read_message({"data": []})["content"] == ""
    assert read_delta({"choices": [{"delta": {"content": "hi"}}]}) == "hi"
    assert read_delta({"choices": [], "usage": {}}) == ""
    assert read_delta({"type": "response.output_text.delta", "delta": "hi"}) == "hi"
    assert read_delta({"type": "response.completed", "response": {"error": None}}) == ""
    for failure in ({"error": {"message": "no"}}, {"type": "error", "message": "no"}):
        with pytest.raises(ValueError, match="failed"):
            read_delta(failure)
