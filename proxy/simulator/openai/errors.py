"""Refusals of the provider, in OpenAI's error envelope.

The words are those that OpenAI's API answers (seen 2026-11); SDKs choose their exception by the status alone.
"""

from __future__ import annotations

import msgspec

from proxy.simulator.rejection import RejectionError

_STATUS_WORDS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again later"),
}
_SERVER_ERROR = (
    "server_error",
    None,
    "The server had an error while processing your request. Sorry about that!",
)


def envelope(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return the bytes of OpenAI's error envelope."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def rejection_for(status: int, code: str | None = None) -> RejectionError:
    """Return the refusal that OpenAI would give with this status; `code` replaces both its type and its code."""
    kind, usual_code, message = _STATUS_WORDS.get(status, _SERVER_ERROR if status >= 500 else _STATUS_WORDS[400])
    return RejectionError(status, message, kind=code or kind, code=code or usual_code)


def stream_error() -> dict[str, object]:
    """Return the error object that a stream carries when the provider fails in the middle."""
    kind, code, message = _SERVER_ERROR
    return {"message": message, "type": kind, "param": None, "code": code}


def unknown_route(method: str, path: str) -> RejectionError:
    """Return the refusal of a path or method that does not exist."""
    return RejectionError(404, f"Invalid URL ({method} {path})")


def wrong_key(key: str) -> RejectionError:
    """Return the refusal of a missing or unknown key."""
    if not key:
        return RejectionError(401, "You didn't provide an API key.")
    shown = f"{'*' * max(0, len(key) - 4)}{key[-4:]}"
    return RejectionError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def missing(param: str) -> RejectionError:
    """Return the refusal of a request that lacks a parameter."""
    return RejectionError(
        400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def invalid(param: str, wanted: str) -> RejectionError:
    """Return the refusal of a parameter of the wrong type or out of range."""
    return RejectionError(400, f"Invalid value for '{param}': expected {wanted}.", param=param, code="invalid_value")


def unknown_parameter(param: str) -> RejectionError:
    """Return the refusal of a parameter that the endpoint does not take."""
    return RejectionError(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def extra_forbidden(param: str) -> RejectionError:
    """Return the refusal of a provider that validates strictly (Mistral: 422 with a `detail` list)."""
    detail = {"type": "extra_forbidden", "loc": ["body", param], "msg": "Extra inputs are not permitted", "input": {}}
    return RejectionError(422, "Extra inputs are not permitted", body=msgspec.json.encode({"detail": [detail]}))
