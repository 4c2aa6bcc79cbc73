"""Servers that speak like OpenAI, played: whatever their habits, what is read is what was billed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.simulator.quirks.servers import SERVERS
from tests.harness import Simulator
from tests.simulator.told import Told, ask

PRICE_IDS = {"xai": "x-ai", "vllm": None, "llamacpp": None, "lmstudio": None}
CHAT: dict[str, Any] = {"model": "some-model", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def server(provider: Simulator, name: str, body: dict[str, Any], **headers: str) -> Told:
    path = f"/quirks/{name}/v1/chat/completions"
    return ask(provider, path, body, dialect="openai", price_id=PRICE_IDS.get(name, name), **headers)


def asked(name: str) -> dict[str, Any]:
    """Ask for the usage of a stream where it must be asked for."""
    wants = SERVERS[name].place == "asked" and name != "llamacpp"
    return CHAT | {"stream": True} | ({"stream_options": {"include_usage": True}} if wants else {})


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("tokens", ["tokens=20", "tokens=20; reasoning=10"])
def test_an_answer_says_what_was_billed(provider: Simulator, name: str, tokens: str) -> None:
    told = server(provider, name, CHAT, x_simulate=tokens)
    told.assert_usage_is_true()
    assert bool(told.reading.reasoning_text) == ("reasoning" in tokens)
    assert told.body.startswith(SERVERS[name].blanks)


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("tokens", ["tokens=20", "tokens=20; reasoning=10", "tokens=20; gzip; chunk=3"])
def test_a_stream_says_what_was_billed(provider: Simulator, name: str, tokens: str) -> None:
    told = server(provider, name, asked(name), x_simulate=tokens)
    told.assert_usage_is_true()
    assert (told.reading.has_ended, told.reading.finish_reasons) == (True, ("stop",))
    assert bool(told.reading.reasoning_text) == ("reasoning" in tokens)


@pytest.mark.parametrize("name", SERVERS)
def test_several_choices_are_billed_once(provider: Simulator, name: str) -> None:
    told = server(provider, name, asked(name) | {"n": 3})
    told.assert_usage_is_true()
    assert len(told.reading.finish_reasons) == 3


def chunks(told: Told) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in told.body.split(b"\n\n") if event.startswith(b"data: {")]
    return [json.loads(event) for event in events]


def test_usage_stands_where_each_server_puts_it(provider: Simulator) -> None:
    where = {}
    for name in SERVERS:
        found = [
            chunk for chunk in chunks(server(provider, name, asked(name))) if chunk.get("usage") or chunk.get("x_groq")
        ]
        alone = bool(found) and found[-1]["choices"] == []
        where[name] = "many" if len(found) > 1 else "none" if not found else "alone" if alone else "with choices"
    assert {name for name, place in where.items() if place == "many"} == {"vllm", "perplexity"}
    assert {name for name, place in where.items() if place == "none"} == {"llamacpp"}
    assert {name for name, place in where.items() if place == "with choices"} == {
        "groq",
        "deepseek",
        "mistral",
        "together",
        "cerebras",
    }


@pytest.mark.parametrize("name", ["deepseek", "openrouter"])
def test_comments_come_before_the_first_event(provider: Simulator, name: str) -> None:
    assert server(provider, name, asked(name)).body.startswith(SERVERS[name].comment)


def test_what_openrouter_perplexity_and_xai_charge_is_read(provider: Simulator) -> None:
    for name in ("openrouter", "perplexity", "xai"):
        usage = server(provider, name, asked(name)).reading.usage
        assert usage is not None
        assert (usage.reported_cost_nano_usd or 0) > 0


def test_mistral_refuses_what_it_does_not_know(provider: Simulator) -> None:
    told = server(provider, "mistral", CHAT | {"stream": True, "stream_options": {"include_usage": True}})
    assert (told.status, told.reading.error_type) == (422, "extra_forbidden")
    assert json.loads(told.body)["detail"][0]["loc"] == ["body", "stream_options"]


@pytest.mark.parametrize("name", SERVERS)
def test_every_refusal_has_a_message(provider: Simulator, name: str) -> None:
    told = server(provider, name, CHAT, x_simulate="status=429")
    assert told.status == 429
    assert told.reading.error_message
    assert told.truth["usage"] is None


def test_fireworks_says_in_headers_what_it_read(provider: Simulator) -> None:
    told = server(provider, "fireworks", CHAT)
    assert b"fireworks-prompt-tokens: %d" % told.truth["usage"]["input_tokens"] in told.head


def test_llamacpps_timings_stand_on_the_last_chunk_whichever_it_is(provider: Simulator) -> None:
    options: list[dict[str, Any]] = [{}, {"stream_options": {"include_usage": True}}]
    for body in (CHAT | {"stream": True} | each for each in options):
        told = server(provider, "llamacpp", body)
        told.assert_usage_is_true()
        assert [index for index, chunk in enumerate(chunks(told)) if "timings" in chunk] == [len(chunks(told)) - 1]
