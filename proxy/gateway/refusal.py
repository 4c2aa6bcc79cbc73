"""Answers made here, in the shape native to the API that the client speaks.

Each makes the SDK raise the exception its users expect and, where trying again is pointless, makes it try once:
`x-should-retry: false` stops every Stainless SDK, and a long `retry-after` is never sent, since some SDKs sleep it.
How each API spells an error stands in `proxy.gateway.envelopes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.gateway.envelopes import REQUEST_ID_HEADERS, STATUSES, bedrock_type, envelope_of, stream_exception

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of our own."""

    code: str
    """`x-glassline-error`."""
    status: int
    message: str
    retry_after_ms: int | None = None
    """Set for rate limits: when trying again makes sense."""


_POINTLESS: Final = frozenset(
    ("invalid_key", "model_not_allowed", "budget_exceeded", "bad_request", "too_large", "too_many_failures")
)
_BRIEF: Final = frozenset(("recorder_unavailable", "draining", "overloaded"))
_STREAMS: Final = {"ollama": b"application/x-ndjson", "bedrock": b"application/vnd.amazon.eventstream"}


def spelled(refusal: Refusal, envelope: str) -> Refusal:
    """Return `refusal` with the status that the API of `envelope` gives such an error."""
    status = STATUSES.get((envelope, refusal.code, refusal.status))
    return refusal if status is None else replace(refusal, status=status)


def body_of(refusal: Refusal, envelope: str, request_id: str) -> bytes:
    """Return the JSON body of `refusal` for a client that expects `envelope`."""
    return msgspec.json.encode(envelope_of(refusal, envelope, request_id))


def headers_of(refusal: Refusal, envelope: str = "openai", request_id: str = "") -> bytes:
    """Return the header lines of `refusal`, framing excluded."""
    lines = b"content-type: application/json\r\nx-glassline-error: " + refusal.code.encode() + b"\r\n"
    if request_id:
        lines += REQUEST_ID_HEADERS.get(envelope, b"x-request-id") + b": " + request_id.encode() + b"\r\n"
    if envelope == "bedrock":
        lines += b"x-amzn-errortype: " + bedrock_type(refusal.code).encode() + b"\r\n"
    if refusal.code in _POINTLESS:
        lines += b"x-should-retry: false\r\n"
    if refusal.retry_after_ms is not None:
        ms = min(refusal.retry_after_ms, 60_000)
        return lines + b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (max(1, -(-ms // 1000)), max(1, ms))
    return lines + b"retry-after: 1\r\n" if refusal.code in _BRIEF else lines


def stream_error(
    refusal: Refusal, envelope: str, endpoint: str, request_id: str, content_type: bytes = b"text/event-stream"
) -> bytes | None:
    """Return what ends a running stream of `content_type`; None: nothing can, so the connection breaks.

    `endpoint`: path without version.
    """
    if not content_type.startswith(_STREAMS.get(envelope, b"text/event-stream")) or envelope == "gemini":
        return None  # google-genai reads an error in a stream as an answer that it cannot parse.
    if envelope == "bedrock":
        return stream_exception(refusal)
    body = body_of(refusal, envelope, request_id)
    if envelope == "ollama":
        return body + b"\n"
    if envelope == "anthropic":
        return b"event: error\ndata: " + body + b"\n\n"
    if endpoint.endswith("/responses"):
        # A flat error event raises nothing in the SDK; a nested one does (captures, sse-edge.txt).
        return b'event: error\ndata: {"type":"error",' + body[1:] + b"\n\n"
    return b"data: " + body + b"\n\n"


def socket_error(refusal: Refusal, dialect: str, request_id: str) -> bytes:
    """Return the text of the frame that tells a WebSocket's client why it is closed; b'': its API knows none.

    One shape for OpenAI's three: Realtime reads `error` and `event_id`, Responses and Live `status` as well
    (`ResponseWsError` of openai 3.52).
    """
    if dialect != "openai":
        return b""
    error = envelope_of(refusal, "openai", request_id)["error"]
    return msgspec.json.encode(
        {"type": "error", "event_id": f"event_{request_id}", "status": refusal.status, "error": error}
    )
