"""The simulated Ollama: lines by default, and what they say is what it counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness import Simulator
from tests.simulator.told import Told, ask

CHAT: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
GENERATE: dict[str, Any] = {"model": "llama3.2", "prompt": "Why is the sky blue?", "system": "Be brief."}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def local(provider: Simulator, path: str, body: dict[str, Any], **headers: str) -> Told:
    return ask(provider, path, body, dialect="ollama", **headers)


@pytest.mark.parametrize(("path", "body"), [("/api/chat", CHAT), ("/api/generate", GENERATE)])
@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": False}])
def test_an_answer_says_what_was_counted(
    provider: Simulator, path: str, body: dict[str, Any], stream: dict[str, bool]
) -> None:
    told = local(provider, path, body | stream, x_simulate="tokens=30; reasoning=10")
    assert told.reading.usage is not None
    billed = told.truth["usage"]
    assert (told.reading.usage.input_tokens, told.reading.usage.output_tokens) == (billed["input_tokens"], 40)
    assert (told.reading.output_text, told.reading.reasoning_text) != (None, None)
    is_streaming = stream.get("stream", True)
    assert told.reading.is_streaming == is_streaming
    assert (b"application/x-ndjson" in told.head) == is_streaming
    assert told.body.count(b"\n") == (41 if is_streaming else 0)


def test_who_wants_it_to_think_gets_thoughts(provider: Simulator) -> None:
    assert local(provider, "/api/chat", CHAT | {"think": True}).reading.reasoning_text
    assert local(provider, "/api/chat", CHAT).reading.reasoning_text is None


def test_a_count_can_be_missing(provider: Simulator) -> None:
    assert local(provider, "/api/chat", CHAT, x_simulate="no-usage").reading.usage is None


def test_a_tool_is_called_with_an_object(provider: Simulator) -> None:
    told = local(provider, "/api/chat", CHAT | {"tools": [TOOL]})
    [call] = told.reading.tool_calls
    assert (call.name, list(json.loads(call.arguments))) == ("f", ["city"])


@pytest.mark.parametrize("wanted", ["json", {"type": "object", "properties": {"answer": {"type": "string"}}}])
def test_structured_output_is_json(provider: Simulator, wanted: Any) -> None:
    told = local(provider, "/api/chat", CHAT | {"format": wanted, "stream": False})
    assert "answer" in json.loads(told.reading.output_text or "")


def test_an_answer_stops_at_its_limit(provider: Simulator) -> None:
    told = local(provider, "/api/chat", CHAT | {"options": {"num_predict": 5}}, x_simulate="tokens=50")
    assert (told.reading.finish_reasons, told.truth["usage"]["output_tokens"]) == (("length",), 5)


def test_a_stream_can_fail_in_the_middle(provider: Simulator) -> None:
    told = local(provider, "/api/chat", CHAT, x_simulate="error=3")
    assert (told.reading.error_type, told.reading.has_ended) == ("error", True)


def test_embeddings_have_counts(provider: Simulator) -> None:
    told = local(provider, "/api/embed", {"model": "all-minilm", "input": ["a b", "c"]})
    told.assert_usage_is_true()
    assert len(json.loads(told.body)["embeddings"]) == 2


def test_models_can_be_listed_and_shown(provider: Simulator) -> None:
    assert local(provider, "/api/show", {"model": "llama3.2"}).status == 200
    told = local(provider, "/api/show", {"model": "none"})
    assert (told.status, told.reading.error_message) == (404, "model 'none' not found")


@pytest.mark.parametrize("status", [400, 429, 503])
def test_refusals_are_a_sentence(provider: Simulator, status: int) -> None:
    told = local(provider, "/api/chat", CHAT, x_simulate=f"status={status}")
    assert (told.status, isinstance(json.loads(told.body)["error"], str)) == (status, True)
    assert told.reading.error_message
