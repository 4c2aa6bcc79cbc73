"""Refusals as Bedrock spells them: the kind in a header, the message in the body. Source: botocore 1.44, 2026-11."""

from __future__ import annotations

import msgspec

from proxy.simulator.rejection import RejectionError
from proxy.wire.eventstream import encode_frame

_KINDS: dict[int, tuple[str, str]] = {
    400: ("ValidationException", "Malformed input request, please reformat your input and try again."),
    403: ("AccessDeniedException", "You don't have access to the model with the specified model ID."),
    404: ("ResourceNotFoundException", "The provided model identifier is invalid."),
    408: ("ModelTimeoutException", "Model has timed out in processing the request. Try your request again."),
    424: (
        "ModelErrorException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: ("InternalServerException", "The system encountered an unexpected error during processing. Try again."),
    503: ("ServiceUnavailableException", "Too many connections, please wait before trying again."),
}


def rejection_for(status: int, code: str | None = None) -> RejectionError:
    """Return the refusal that Bedrock gives with this status; `code` replaces its kind."""
    kind, message = _KINDS.get(status, _KINDS[500] if status >= 500 else _KINDS[400])
    return RejectionError(status, message, kind=code or kind)


def kind_of(status: int) -> str:
    """Return Bedrock's word for errors with this status."""
    return _KINDS.get(status, _KINDS[500] if status >= 500 else _KINDS[400])[0]


def stream_failure(_written: int) -> bytes:
    """Return the frame that ends a stream with an exception."""
    headers = {
        ":exception-type": "modelStreamErrorException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    body = {"message": "The system encountered an unexpected error during processing.", "originalStatusCode": 500}
    return encode_frame(headers, msgspec.json.encode(body))
