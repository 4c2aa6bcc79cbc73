"""Refusals in Google's envelope: `{"error": {"code", "message", "status"}}`.

The names of the statuses are those of google.rpc.Code, which google-genai shows in its exceptions.
"""

from __future__ import annotations

import msgspec

from proxy.simulator.rejection import RejectionError

_STATUS = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    402: ("FAILED_PRECONDITION", "Billing is not enabled for this project."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    501: ("UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}


def error_object(status: int, message: str, kind: str = "") -> dict[str, object]:
    """Return the value of `error`."""
    return {"code": status, "message": message, "status": kind or _words(status)[0]}


def rejection_for(status: int, code: str | None = None) -> RejectionError:
    """Return the refusal that Google gives with this status; `code` replaces its name."""
    kind, message = _words(status)
    return RejectionError(status, message, kind=code or kind)


def envelope(rejection: RejectionError) -> bytes:
    """Return the bytes of a refusal."""
    return msgspec.json.encode({"error": error_object(rejection.status, rejection.message, rejection.kind)})


def _words(status: int) -> tuple[str, str]:
    return _STATUS.get(status) or _STATUS[500 if status >= 500 else 400]
