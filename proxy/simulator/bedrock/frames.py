"""Frames of Bedrock's streams."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec

from proxy.wire.eventstream import encode_frame

STREAM = "application/vnd.amazon.eventstream"
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def event_frame(kind: str, payload: Mapping[str, object]) -> bytes:
    """Return a frame with an event; padded, as Bedrock does against traffic analysis."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    body = msgspec.json.encode(payload)
    padded = msgspec.json.encode({**payload, "p": _PADDING[: 8 + len(body) % 32]})
    return encode_frame(headers, padded)


def chunk_frame(own: Mapping[str, object]) -> bytes:
    """Return a frame with an event of the model's own."""
    encoded = binascii.b2a_base64(msgspec.json.encode(own), newline=False).decode()
    return event_frame("chunk", {"bytes": encoded})
