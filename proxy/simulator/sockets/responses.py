"""OpenAI's Responses over a WebSocket: the desk answers each `response.create` as it would a request.

Responses in lanes of their own run at the same time: their events come in turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.ask import read_mapping
from proxy.simulator.desk import Asked, text_of
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Stream
from proxy.simulator.sockets.session import Bill, Object, Opened, Spoken
from proxy.simulator.truth import Request


class ResponsesSession:
    """One session."""

    is_binary = False

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._asked = 0

    def greet(self) -> Iterator[Spoken]:
        """Say nothing: the client begins."""
        return iter(())

    def hear(self, message: Mapping[str, object]) -> Iterator[Spoken]:
        """Answer one event of the client."""
        lane = text_of(message.get("stream_id"))
        if message.get("type") != "response.create":
            yield _error(RejectionError(400, "Only `response.create` is understood here.", param="type"), lane)
            return
        self._asked += 1
        try:
            stream = self._opened.desk.reply(self._as_request(message))
        except RejectionError as rejection:
            yield _error(rejection, lane)
            return
        if isinstance(stream, Stream):
            yield from _events(stream, lane)

    def _as_request(self, message: Mapping[str, object]) -> Asked:
        content = {name: value for name, value in message.items() if name not in ("type", "stream_id")} | {
            "stream": True
        }
        body = msgspec.json.encode(content)
        identity = hashlib.sha256(f"{self._opened.identity}{self._asked}".encode() + body).hexdigest()
        opened = self._opened.request
        request = Request(
            opened.n, "POST", "/v1/responses", "responses", opened.headers, body, hashlib.sha256(body).hexdigest(), 0
        )
        return Asked(request, content, text_of(content.get("model")), self._opened.wishes, identity)


def _events(stream: Stream, lane: str) -> Iterator[Spoken]:
    usage, model, id_ = stream.prompt, "", None
    for event in stream.events:
        usage = usage.plus(event.output_tokens, event.reasoning_tokens, event.extra)
        data = event.data.partition(b"data: ")[2].strip()
        if not data:
            continue
        said = dict(read_mapping(msgspec.json.decode(data)))
        response = read_mapping(said.get("response"))
        model, id_ = text_of(response.get("model")) or model, text_of(response.get("id")) or id_
        yield said | ({"stream_id": lane} if lane else {})
    yield Bill(model, _buckets(usage), id_)


def _buckets(usage: Usage) -> dict[str, float]:
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        **dict(usage.extra),
    }


def _error(rejection: RejectionError, lane: str) -> Object:
    kind = rejection.kind or "invalid_request_error"
    error = {"type": kind, "code": rejection.code, "message": rejection.message, "param": rejection.param}
    named: Object = {"stream_id": lane} if lane else {}
    return {"type": "error", "status": rejection.status, "error": error, **named}
