"""How each API spells an error, and with which status.

The shapes are those of the official SDKs' types, tried on the SDKs themselves: each raises its own exception and makes
one request where trying again is pointless. boto3 alone tries any 429 again, whatever it says (botocore 1.44.5, both
retry modes), so a spent budget is a service quota there, which it does not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import msgspec

if TYPE_CHECKING:
    from proxy.gateway.refusal import Refusal


@dataclass(frozen=True, slots=True)
class _Names:
    """What one of our codes is called."""

    openai_type: str
    openai_code: str
    anthropic: str
    gemini: str
    bedrock: str


_NAMES: Final[dict[str, _Names]] = {
    "invalid_key": _Names(
        "invalid_request_error",
        "invalid_api_key",
        "authentication_error",
        "UNAUTHENTICATED",
        "UnrecognizedClientException",
    ),
    "too_many_failures": _Names(
        "requests", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"
    ),
    "model_not_allowed": _Names(
        "invalid_request_error",
        "model_not_allowed",
        "permission_error",
        "PERMISSION_DENIED",
        "AccessDeniedException",
    ),
    "budget_exceeded": _Names(
        "insufficient_quota",
        "project_spend_limit_exceeded",
        "rate_limit_error",
        "RESOURCE_EXHAUSTED",
        "ServiceQuotaExceededException",
    ),
    "rate_limited": _Names(
        "requests", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"
    ),
    "bad_request": _Names(
        "invalid_request_error", "bad_request", "invalid_request_error", "INVALID_ARGUMENT", "ValidationException"
    ),
    "too_large": _Names(
        "invalid_request_error", "request_too_large", "request_too_large", "INVALID_ARGUMENT", "ValidationException"
    ),
    "not_found": _Names(
        "invalid_request_error", "unknown_url", "not_found_error", "NOT_FOUND", "ResourceNotFoundException"
    ),
    "upstream_unreachable": _Names(
        "api_error", "upstream_unreachable", "api_error", "UNAVAILABLE", "ServiceUnavailableException"
    ),
    "upstream_timeout": _Names(
        "timeout", "upstream_timeout", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"
    ),
    "recorder_unavailable": _Names(
        "api_error", "recorder_unavailable", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"
    ),
    "draining": _Names("api_error", "draining", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"),
    "overloaded": _Names("api_error", "overloaded", "overloaded_error", "UNAVAILABLE", "ServiceUnavailableException"),
}

CODES: Final = tuple(_NAMES)
"""Every code of `x-glassline-error`."""
STATUSES: Final = {
    ("gemini", "invalid_key", 401): 400,
    ("bedrock", "invalid_key", 401): 403,
    ("bedrock", "budget_exceeded", 429): 400,
}
"""Where an API gives an error another status than the others do: by envelope, our code and our status."""
REQUEST_ID_HEADERS: Final = {"anthropic": b"request-id", "bedrock": b"x-amzn-requestid"}
"""Where an SDK looks for the id of a request, if not in `x-request-id`."""
_TEXT: Final = 7
"""Type of a header of an event stream whose value is text."""
_GOOGLE: Final = "type.googleapis.com/google.rpc."
_BEDROCK_STREAM: Final = frozenset(
    ("ThrottlingException", "ValidationException", "ModelTimeoutException", "ServiceUnavailableException")
)
"""Exceptions that may stand in a stream (botocore's service model of bedrock-runtime)."""


def envelope_of(refusal: Refusal, envelope: str, request_id: str) -> dict[str, Any]:
    """Return the body of an error, to be encoded as JSON."""
    names = _NAMES[refusal.code]
    match envelope:
        case "anthropic":
            return {"type": "error", "error": _anthropic(refusal, names), "request_id": request_id}
        case "gemini":
            return {"error": _gemini(refusal, names)}
        case "azure":
            return {"error": {"code": names.openai_code, "message": refusal.message}}
        case "bedrock":
            return {"message": refusal.message}
        case "ollama":
            return {"error": refusal.message}
    error = {"message": refusal.message, "type": names.openai_type, "param": None, "code": names.openai_code}
    return {"error": error}


def _anthropic(refusal: Refusal, names: _Names) -> dict[str, object]:
    error: dict[str, object] = {"type": names.anthropic, "message": refusal.message}
    if refusal.code == "budget_exceeded":
        if refusal.status == 402:
            error["type"] = "billing_error"
        else:
            error["details"] = {"error_code": "enforced_spend_limit_reached"}
    return error


def _gemini(refusal: Refusal, names: _Names) -> dict[str, object]:
    error: dict[str, object] = {"code": refusal.status, "message": refusal.message, "status": names.gemini}
    if refusal.code == "invalid_key":
        reason = {"@type": f"{_GOOGLE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        error |= {"status": "INVALID_ARGUMENT", "details": [reason]}
    elif refusal.code == "budget_exceeded" and refusal.status == 402:
        error["status"] = "FAILED_PRECONDITION"
    elif refusal.retry_after_ms is not None:
        delay = f"{max(1, -(-min(refusal.retry_after_ms, 60_000) // 1000))}s"
        error["details"] = [{"@type": f"{_GOOGLE}RetryInfo", "retryDelay": delay}]
    return error


def bedrock_type(code: str) -> str:
    """Return the exception that Bedrock would name in `x-amzn-errortype`."""
    return _NAMES[code].bedrock


def stream_exception(refusal: Refusal) -> bytes:
    """Return the message that ends a stream of Bedrock (Smithy 2.0, "Amazon Event Stream Specification")."""
    name = bedrock_type(refusal.code)
    kind = name if name in _BEDROCK_STREAM else "ThrottlingException"
    said = {
        ":exception-type": kind[0].lower() + kind[1:],
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    headers = b"".join(_header(header, value) for header, value in said.items())
    payload = msgspec.json.encode({"message": refusal.message})
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _TEXT, len(value)) + value.encode()
