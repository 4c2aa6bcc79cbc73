"""Exchanges made for tests: from bodies, or from the pairs in `tests/captures/`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from proxy.records import Begin, Body, End, Exchange, Timeline, join_headers

CAPTURES = Path(__file__).parent.parent / "captures"
JSON_TYPE = b"application/json"
SSE_TYPE = b"text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def make_exchange(
    request: bytes | dict[str, Any] = b"{}",
    response: bytes | dict[str, Any] = b"",
    *,
    path: str = "/chat/completions",
    method: str = "POST",
    wire: str = "openai",
    provider: str | None = "openai",
    status: int | None = 200,
    content_type: bytes | None = None,
    request_type: bytes = JSON_TYPE,
    coding: bytes | None = None,
    times: tuple[tuple[int, int], ...] = (),
    capture_limit: int | None = None,
) -> Exchange:
    """Build an exchange; without a content type it is the one that the response looks like."""
    request_body = request if isinstance(request, bytes) else json.dumps(request).encode()
    response_body = response if isinstance(response, bytes) else json.dumps(response).encode()
    if content_type is None:
        content_type = SSE_TYPE if response_body.startswith((b"data:", b"event:", b":")) else JSON_TYPE
    headers = [(b"Content-Type", content_type)] if content_type else []
    if coding:
        headers.append((b"Content-Encoding", coding))
    begin = Begin(
        id="01",
        started_at_ms=0,
        upstream="up",
        wire=wire,
        provider=provider,
        is_free=False,
        method=method,
        path=path,
        headers=((b"content-type", request_type),),
    )
    end = End(outcome="completed", status=status, head=join_headers(tuple(headers)))
    return Exchange(
        begin, end, _body(request_body, capture_limit), _body(response_body, capture_limit), Timeline(times)
    )


def captured(name: str, **changes: Any) -> Exchange:
    """Build the exchange of a pair of captures."""
    request_line, request_type, request = _message(name, "request")
    status_line, content_type, response = _message(name, "response")
    method, path, _ = request_line.decode().split(" ")
    status = int(status_line.split(b" ")[1])
    fields: dict[str, Any] = {"method": method, "path": path, "status": status, "content_type": content_type}
    fields["request_type"] = request_type
    return make_exchange(request, response, **fields | changes)


def sse(*events: dict[str, Any] | bytes) -> bytes:
    """Write a stream of unnamed events."""
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n" for event in events
    )


def delta(message: dict[str, Any], *, index: int = 0, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of a chat completion with one choice."""
    choice = {"index": index, "delta": message, "finish_reason": finish_reason}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]} | more


def _body(data: bytes, limit: int | None) -> Body:
    digest = hashlib.sha256(data).digest()
    if limit is None or len(data) <= 2 * limit:
        return Body(data, len(data), digest)
    return Body(data[:limit], len(data), digest, data[-limit:])


def _message(name: str, side: str) -> tuple[bytes, bytes, bytes]:
    head, _, body = (CAPTURES / f"{name}.{side}.http").read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(b": ") for line in lines)}
    return first, headers.get(b"content-type", b""), body
