"""Messages, as events and whole."""

from __future__ import annotations

import json
from typing import Any

from proxy.records import Exchange, Reading
from proxy.wire import read
from tests.wire.exchanges import make_exchange

MODEL = "claude-sonnet-4-5-20250929"
REQUEST: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "stream": True,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "u-1"},
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t0", "name": "look", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t0", "content": [{"type": "text", "text": "Sun"}]}],
        },
    ],
}
CASE_5 = {
    "input_tokens": 500,
    "cache_read_input_tokens": 20000,
    "cache_creation_input_tokens": 5000,
    "cache_creation": {"ephemeral_5m_input_tokens": 3000, "ephemeral_1h_input_tokens": 2000},
    "service_tier": "standard",
    "inference_geo": "not_available",
}


def events(*said: dict[str, Any], end: str = "\n") -> bytes:
    """Write events as the API does: each with its name."""
    return "".join(f"event: {each['type']}{end}data: {json.dumps(each)}{end}{end}" for each in said).encode()


def start(usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the first event."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
    }
    return {
        "type": "message_start",
        "message": {**message, "usage": usage or {"input_tokens": 9, "output_tokens": 1}, **more},
    }


def block(index: int, kind: str, **more: Any) -> dict[str, Any]:
    """Return the event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def delta(index: int, kind: str, **more: Any) -> dict[str, Any]:
    """Return an event with more of a block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", **more}}


def finish(usage: dict[str, Any] | None = None, reason: str | None = "end_turn") -> dict[str, Any]:
    """Return an event with the reason and the running totals."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage or {"output_tokens": 7}}


PING: dict[str, Any] = {"type": "ping"}
STOP: dict[str, Any] = {"type": "message_stop"}


def exchange(response: Any, request: Any = None, **changes: Any) -> Exchange:
    """Build an exchange with Anthropic."""
    fields = {"path": "/v1/messages", "wire": "anthropic", "provider": "anthropic", **changes}
    return make_exchange(REQUEST if request is None else request, response, **fields)


def read_message(response: Any, request: Any = None, **changes: Any) -> Reading:
    """Read such an exchange."""
    return read(exchange(response, request, **changes))
