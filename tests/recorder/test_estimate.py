"""Answers without usage, in every dialect: estimated where a text can be counted, and said to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pricing.tokens import count_text
from proxy.store import Record
from tests.recorder.builders import SSE_HEADERS, interpreter, make_begin, make_end, make_exchange

SAID = "The answer is forty-two, and there is nothing more to say about it."
CLAUDE, GEMINI, NOVA = "claude-sonnet-4-5", "gemini-2.5-flash", "amazon.nova-lite-v1:0"


def answered(wire: str, provider: str | None, path: str, request: dict[str, Any], answer: Any, **begin: Any) -> Record:
    sent = json.dumps(request).encode()
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    headers = {"headers": SSE_HEADERS} if body.startswith(b"event:") else {}
    started = make_begin(wire=wire, provider=provider, upstream=wire, path=path, is_reserved=True, **begin)
    return interpreter().record(make_exchange(started, make_end(body, sent, **headers), request=sent, response=body))


def anthropic() -> Record:
    request = {"model": CLAUDE, "max_tokens": 100, "messages": [{"role": "user", "content": "What is the answer?"}]}
    message = {"id": "m", "type": "message", "model": CLAUDE, "content": [{"type": "text", "text": SAID}]}
    return answered("anthropic", "anthropic", "/v1/messages", request, message)


def gemini() -> Record:
    request = {"contents": [{"role": "user", "parts": [{"text": "What is the answer?"}]}]}
    candidate = {"content": {"parts": [{"text": SAID}]}, "finishReason": "STOP"}
    return answered(
        "gemini", "google", f"/v1beta/models/{GEMINI}:generateContent", request, {"candidates": [candidate]}
    )


def bedrock() -> Record:
    request = {"messages": [{"role": "user", "content": [{"text": "What is the answer?"}]}]}
    message = {"output": {"message": {"role": "assistant", "content": [{"text": SAID}]}}, "stopReason": "end_turn"}
    return answered("bedrock", "aws", f"/model/{NOVA}/converse", request, message)


def ollama() -> Record:
    request = {"model": "llama3", "messages": [{"role": "user", "content": "What is the answer?"}], "stream": False}
    message = {"model": "llama3", "message": {"role": "assistant", "content": SAID}, "done": True}
    return answered("ollama", None, "/api/chat", request, message, is_free=True)


MODELS = {anthropic: CLAUDE, gemini: GEMINI, bedrock: NOVA, ollama: "llama3"}


@pytest.mark.parametrize("made", MODELS, ids=[made.__name__ for made in MODELS])
def test_a_whole_answer_without_usage_is_estimated_from_what_was_said(made: Any) -> None:
    record: Record = made()
    assert record.usage_source == "estimated"
    assert record.totals.output == count_text(SAID, MODELS[made])
    assert record.totals.input is not None
    assert 4 <= record.totals.input <= 25
    assert record.cost.nano_usd is not None
    assert (record.cost.nano_usd > 0) is (made is not ollama)
    assert record.settlement is not None
    assert record.settlement.is_estimate


def test_a_stream_of_claude_that_broke_off_keeps_its_input_and_estimates_nothing_less() -> None:
    request = {"model": CLAUDE, "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    start = {"type": "message_start", "message": {"id": "m", "type": "message", "model": CLAUDE, "content": []}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}}
    body = b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (start, delta))
    record = answered("anthropic", "anthropic", "/v1/messages", request, body)
    assert (record.outcome, record.usage_source) == ("truncated", "estimated")
    assert record.totals.output == count_text(SAID, CLAUDE)


@pytest.mark.parametrize(
    "more", [{"previous_response_id": "resp_1"}, {"input": [{"type": "item_reference", "id": "i"}]}]
)
def test_a_request_that_refers_to_what_is_not_in_it_has_no_estimate_and_no_cost(more: dict[str, Any]) -> None:
    request = {"model": "gpt-4o-mini", "input": "And then?"} | more
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]}]
    answer = {"id": "resp_2", "object": "response", "status": "completed", "model": "gpt-4o-mini", "output": output}
    made = answered("openai", "openai", "/responses", request, answer)
    assert (made.usage, made.cost.nano_usd, made.is_unpriced) == (None, None, True)


def test_an_answer_that_cannot_be_read_has_no_estimate_of_its_output_and_no_cost() -> None:
    request = {"model": CLAUDE, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    record = answered("anthropic", "anthropic", "/v1/messages", request, b"\x00\x01 nonsense")
    assert (record.cost.nano_usd, record.is_unpriced) == (None, True)
    assert record.settlement is not None
    assert record.settlement.nano_usd is None, "the whole reservation is spent"


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/images/generations", {"model": "gpt-image-1", "prompt": "A cat"}),
        ("/audio/speech", {"model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy"}),
        ("/videos", {"model": "sora-2", "prompt": "A cat"}),
    ],
)
def test_pictures_and_sound_are_never_estimated(path: str, request_: dict[str, Any]) -> None:
    record = answered("openai", "openai", path, request_, {})
    assert record.usage_source != "estimated"
    assert (record.cost.nano_usd, record.is_unpriced) == (None, True)
