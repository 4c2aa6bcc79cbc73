"""What is read of interactions: steps, their deltas, and a usage of its own shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.gemini.answers import read

PATH = "/v1/interactions"
USAGE = {
    "total_input_tokens": 20,
    "total_cached_tokens": 5,
    "total_output_tokens": 7,
    "total_thought_tokens": 30,
    "total_tokens": 57,
    "input_tokens_by_modality": [{"modality": "text", "tokens": 12}, {"modality": "audio", "tokens": 8}],
    "grounding_tool_count": [{"type": "google_search", "count": 2}],
}
STEPS = [
    {"type": "user_input", "content": [{"type": "text", "text": "hi"}]},
    {"type": "thought", "summary": [{"type": "text", "text": "Hm."}]},
    {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
    {
        "type": "model_output",
        "content": [{"type": "text", "text": "Hello"}, {"type": "image", "mime_type": "image/png"}],
    },
]


def interaction(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "i1", "model": "gemini-3-flash-preview", "status": status, "object": "interaction", **more}


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {each['event_type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "gemini-3-flash-preview", "input": "hi", **more}


def test_an_interaction_is_read() -> None:
    reading = read(interaction(steps=STEPS, usage=USAGE), path=PATH, request=asked(system_instruction="Be brief."))
    assert (reading.reader, reading.endpoint, reading.billing_id) == ("gemini_interactions/1", "interactions", "i1")
    assert (reading.output_text, reading.reasoning_text, reading.input_text) == ("Hello", "Hm.", "Be brief.\nhi")
    assert [(call.name, json.loads(call.arguments), call.id) for call in reading.tool_calls] == [("f", {"a": 1}, "c1")]
    assert (reading.finish_reasons, reading.is_streaming, reading.is_pending) == (("completed",), False, False)
    assert reading.usage is not None
    assert (reading.usage.input_uncached, reading.usage.cache_read, reading.usage.input_audio) == (7, 5, 8)
    assert (reading.usage.output_text, reading.usage.output_reasoning) == (7, 30)
    assert reading.usage.count("web_searches") == 2


def test_thoughts_within_the_output_are_not_counted_twice() -> None:
    usage = read(interaction(usage=USAGE | {"total_output_tokens": 37}), path=PATH, request=asked()).usage
    assert usage is not None
    assert (usage.output_text, usage.output_reasoning, usage.output_tokens) == (7, 30, 37)


def test_a_streamed_interaction_is_read() -> None:
    events: list[dict[str, Any]] = [
        {"event_type": "interaction.created", "interaction": interaction("in_progress")},
        {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
        {
            "event_type": "step.delta",
            "index": 0,
            "delta": {"type": "thought_summary", "content": {"type": "text", "text": "Hm."}},
        },
        {
            "event_type": "step.start",
            "index": 1,
            "step": {"type": "function_call", "id": "c1", "name": "f", "arguments": {}},
        },
        {"event_type": "step.delta", "index": 1, "delta": {"type": "arguments_delta", "arguments": '{"a"'}},
        {"event_type": "step.delta", "index": 1, "delta": {"type": "arguments_delta", "arguments": ":1}"}},
        {"event_type": "step.start", "index": 2, "step": {"type": "model_output"}},
        {"event_type": "step.delta", "index": 2, "delta": {"type": "text", "text": "Hel"}},
        {"event_type": "step.delta", "index": 2, "delta": {"type": "text", "text": "lo"}},
        {"event_type": "interaction.completed", "interaction": interaction(steps=STEPS, usage=USAGE)},
    ]
    body = stream(*events) + b"event: done\ndata: [DONE]\n\n"
    reading = read(body, path=PATH, request=asked(stream=True))
    assert (reading.output_text, reading.reasoning_text) == ("Hello", "Hm.")
    assert [(call.name, call.arguments) for call in reading.tool_calls] == [("f", '{"a":1}')]
    assert (reading.first_token_offset, reading.first_visible_offset) == (
        len(stream(*events[:3])),
        len(stream(*events[:4])),
    )
    assert (reading.has_ended, reading.finish_reasons, reading.billing_id) == (True, ("completed",), "i1")
    assert reading.usage is not None
    assert reading.usage.output_tokens == 37
    assert reading.problems == ()


def test_what_goes_on_in_the_background_is_billed_later_and_once() -> None:
    begun = read(interaction("in_progress"), path=PATH, request=asked(background=True))
    assert (begun.is_pending, begun.usage, begun.billing_id) == (True, None, None)
    done = read(interaction(usage=USAGE), path=f"{PATH}/i1", method="GET", request=b"")
    assert (done.is_pending, done.billing_id) == (False, "i1")
    assert done.usage is not None


def test_a_stream_that_fails_says_why() -> None:
    error = {"event_type": "error", "error": {"code": "internal", "message": "It broke."}}
    reading = read(stream(error), path=PATH, request=asked(stream=True))
    assert (reading.error_type, reading.error_message, reading.has_ended) == ("internal", "It broke.", True)


@pytest.mark.parametrize("depth", [3, 900, 5000])
def test_a_deeply_nested_input_is_survived(depth: int) -> None:
    request = b'{"model":"m","input":' + b"[" * depth + b'"hi"' + b"]" * depth + b"}"
    reading = read(interaction(usage=USAGE), path=PATH, request=request)
    assert (reading.model_requested, reading.usage is not None) == ("m", True)
    assert reading.input_text == ("hi" if depth == 3 else None)
