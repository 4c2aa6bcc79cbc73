"""Examples to learn from: what was said, and nothing that an example cannot hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.conversation import read_conversation
from proxy.conversation.training import training_example
from tests.recorder.builders import make_begin, make_end, make_exchange


def example(request: dict[str, Any], response: dict[str, Any], **begin: Any) -> dict[str, Any] | None:
    asked, answered = json.dumps(request).encode(), json.dumps(response).encode()
    exchange = make_exchange(make_begin(**begin), make_end(answered, asked), asked, answered)
    return training_example(read_conversation(exchange))


def answer(content: str | None = "Hello!", finish: str = "stop", **members: Any) -> dict[str, Any]:
    return {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **members}, "finish_reason": finish}
        ]
    }


CALL = {"id": "c1", "type": "function", "function": {"name": "stock", "arguments": '{"sku":1}'}}
TOOL = {"type": "function", "function": {"name": "stock", "description": "Looks", "parameters": {"type": "object"}}}


def test_a_conversation_with_tools_is_written_as_it_was_held() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Is it there?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    found = example({"model": "m", "messages": messages, "tools": [TOOL]}, answer("Yes, three."))
    assert found == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Is it there?"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
            {"role": "assistant", "content": "Yes, three."},
        ],
        "tools": [TOOL],
    }


def test_another_api_makes_the_same_example() -> None:
    request = {
        "model": "claude",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 9,
    }
    response = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn",
    }
    found = example(request, response, wire="anthropic", provider="anthropic", path="/v1/messages")
    assert found == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
        ]
    }


ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (ASKED, answer(finish="length")),
        (ASKED, answer("")),
        (ASKED, answer(None, refusal="No.")),
        (ASKED, answer(None, tool_calls=[CALL | {"function": {"name": "stock", "arguments": "{"}}])),
        (ASKED, {"error": {"message": "no"}}),
        ({"model": "m", "messages": [{"role": "user", "content": [PICTURE]}]}, answer()),
        ({"model": "m", "messages": [{"role": "narrator", "content": "Hi"}]}, answer()),
        ({"model": "m"}, answer()),
    ],
)
def test_what_should_not_be_learnt_makes_no_example(request_: dict[str, Any], response: dict[str, Any]) -> None:
    assert example(request_, response) is None
