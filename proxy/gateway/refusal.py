"""Answers made here, in the shape native to the wire that the client speaks.

Each makes the SDK raise the exception its users expect and, where trying again is pointless, makes it try once:
`x-should-retry: false` stops every Stainless SDK, and a long `retry-after` is never sent, since some SDKs sleep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of our own."""

    code: str
    """`x-glassline-error`."""
    status: int
    message: str
    retry_after_ms: int | None = None
    """Set for rate limits: when trying again makes sense."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the wires name one of our codes."""

    openai_type: str
    openai_code: str
    anthropic_type: str
    gemini_status: str


_SHAPES: Final[dict[str, _Shape]] = {
    "invalid_key": _Shape("invalid_request_error", "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "model_not_allowed": _Shape("invalid_request_error", "model_not_allowed", "permission_error", "PERMISSION_DENIED"),
    "budget_exceeded": _Shape(
        "insufficient_quota", "project_spend_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"
    ),
    "rate_limited": _Shape("requests", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "bad_request": _Shape("invalid_request_error", "bad_request", "invalid_request_error", "INVALID_ARGUMENT"),
    "too_large": _Shape("invalid_request_error", "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "not_found": _Shape("invalid_request_error", "unknown_url", "not_found_error", "NOT_FOUND"),
    "upstream_unreachable": _Shape("api_error", "upstream_unreachable", "api_error", "UNAVAILABLE"),
    "upstream_timeout": _Shape("timeout", "upstream_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
    "recorder_unavailable": _Shape("api_error", "recorder_unavailable", "overloaded_error", "UNAVAILABLE"),
    "draining": _Shape("api_error", "draining", "overloaded_error", "UNAVAILABLE"),
    "overloaded": _Shape("api_error", "overloaded", "overloaded_error", "UNAVAILABLE"),
}
_POINTLESS: Final = frozenset(("invalid_key", "model_not_allowed", "budget_exceeded", "bad_request", "too_large"))


def body_of(refusal: Refusal, wire: str, request_id: str) -> bytes:
    """Return the JSON body of `refusal` for a client that speaks `wire`."""
    shape = _SHAPES[refusal.code]
    return msgspec.json.encode(_envelope(refusal, shape, wire, request_id))


def _envelope(refusal: Refusal, shape: _Shape, wire: str, request_id: str) -> dict[str, object]:
    if wire == "anthropic":
        error: dict[str, object] = {"type": shape.anthropic_type, "message": refusal.message}
        if refusal.code == "budget_exceeded":
            if refusal.status == 402:
                error["type"] = "billing_error"
            else:
                error["details"] = {"error_code": "enforced_spend_limit_reached"}
        return {"type": "error", "error": error, "request_id": request_id}
    if wire == "gemini":
        return {"error": {"code": refusal.status, "message": refusal.message, "status": shape.gemini_status}}
    return {
        "error": {
            "message": refusal.message,
            "type": shape.openai_type,
            "param": None,
            "code": shape.openai_code,
        }
    }


def headers_of(refusal: Refusal) -> bytes:
    """Return the header lines of `refusal`, framing excluded."""
    lines = b"content-type: application/json\r\nx-glassline-error: " + refusal.code.encode() + b"\r\n"
    if refusal.code in _POINTLESS:
        return lines + b"x-should-retry: false\r\n"
    if refusal.retry_after_ms is not None:
        ms = min(refusal.retry_after_ms, 60_000)
        return lines + b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (max(1, -(-ms // 1000)), max(1, ms))
    if refusal.code in ("recorder_unavailable", "draining", "overloaded"):
        return lines + b"retry-after: 1\r\n"
    return lines


def stream_error(refusal: Refusal, wire: str, endpoint: str, request_id: str) -> bytes | None:
    """Return the event that ends a running stream on `wire`; None: the wire knows none, so the connection breaks."""
    if wire == "gemini":
        return None
    body = body_of(refusal, wire, request_id)
    if wire == "anthropic":
        return b"event: error\ndata: " + body + b"\n\n"
    if endpoint.endswith("/responses"):
        # A flat error event raises nothing in the SDK; a nested one does (captures, sse-edge.txt).
        return b'event: error\ndata: {"type":"error",' + body[1:] + b"\n\n"
    return b"data: " + body + b"\n\n"
