"""Refusals in Anthropic's error envelope.

Kinds by status from Anthropic's documentation of errors and the exceptions of anthropic-sdk-python 2.11, 2026-11.
"""

from __future__ import annotations

import msgspec

from proxy.simulator.rejection import RejectionError

_KINDS: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "Invalid bearer token"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def envelope(kind: str, message: str, code: str | None = None) -> bytes:
    """Return the bytes of the envelope; `code`: what `details` name as the cause."""
    error: dict[str, object] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return msgspec.json.encode({"type": "error", "error": error})


def rejection_for(status: int, code: str | None = None) -> RejectionError:
    """Return the refusal that Anthropic gives with this status."""
    kind, message = _KINDS.get(status, _KINDS[500] if status >= 500 else _KINDS[400])
    return RejectionError(status, message, kind=kind, code=code)


def kind_of(status: int) -> str:
    """Return Anthropic's word for errors with this status."""
    return _KINDS.get(status, _KINDS[500] if status >= 500 else _KINDS[400])[0]


def invalid(where: str, what: str) -> RejectionError:
    """Return the refusal of a request whose field `where` is wrong."""
    return RejectionError(400, f"{where}: {what}")


def not_found(what: str) -> RejectionError:
    """Return the refusal of what does not exist."""
    return RejectionError(404, f"Not found: {what}")
