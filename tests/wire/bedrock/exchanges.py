"""Exchanges with Bedrock."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from proxy.records import Exchange, Reading, join_headers
from proxy.wire import read
from proxy.wire.eventstream import CONTENT_TYPE, encode_frame
from tests.wire.exchanges import make_exchange

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def event(kind: str, payload: dict[str, Any]) -> bytes:
    """Return a frame with an event, as botocore expects it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps(payload).encode())


def chunk(own: dict[str, Any]) -> bytes:
    """Return a frame with an event of the model's own."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(own).encode()).decode(), "p": "abcdef"})


def failure(kind: str, message: str) -> bytes:
    """Return a frame that ends a stream with an exception."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, json.dumps({"message": message}).encode())


def bedrock(
    action: str,
    response: bytes | dict[str, Any] | list[bytes],
    request: dict[str, Any] | None = None,
    *,
    model: str = HAIKU,
    headers: dict[str, str] | None = None,
    **changes: Any,
) -> Exchange:
    """Build an exchange; a list is a stream of frames."""
    if isinstance(response, list):
        response, changes["content_type"] = b"".join(response), CONTENT_TYPE
    fields = {"path": f"/model/{model}/{action}", "wire": "bedrock", "provider": "aws", **changes}
    made = make_exchange(request or {}, response, **fields)
    more = tuple((name.encode(), value.encode()) for name, value in (headers or {}).items())
    end = msgspec.structs.replace(made.end, head=made.end.head + join_headers(more))
    return msgspec.structs.replace(made, end=end)


def read_bedrock(*args: Any, **kwargs: Any) -> Reading:
    """Read such an exchange."""
    return read(bedrock(*args, **kwargs))
