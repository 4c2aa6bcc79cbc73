"""Answers as Gemini gives them, for the tests of their readers."""

from __future__ import annotations

import json
from typing import Any

from proxy import wire
from proxy.records import Exchange, Reading
from tests.wire.exchanges import make_exchange

PLAIN = "/v1beta/models/gemini-2.5-flash:generateContent"
STREAM = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
ASKED = {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}


def answer(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return an answer with one candidate, or an object of a stream."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1"} | more


def exchange(response: bytes | dict[str, Any], *, path: str = PLAIN, **more: Any) -> Exchange:
    """Build an exchange with Google."""
    return make_exchange(
        more.pop("request", ASKED), response, **{"path": path, "wire": "gemini", "provider": "google"} | more
    )


def read(response: bytes | dict[str, Any], **more: Any) -> Reading:
    """Read an answer."""
    return wire.read(exchange(response, **more))


def events(*answers: dict[str, Any]) -> bytes:
    """Write a stream of events as Google does."""
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in answers)


def array(*answers: dict[str, Any], indent: int | None = 2) -> bytes:
    """Write a stream without `alt=sse`: one array that grows."""
    return b"[" + b"\n,\r\n".join(json.dumps(each, indent=indent).encode() for each in answers) + b"\n]\n"
