"""Anthropic's desk: messages, batches, files and models; and messages behind Vertex AI's paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.anthropic.author import Author, Question, Written
from proxy.simulator.anthropic.batches import BatchOffice
from proxy.simulator.anthropic.errors import envelope, invalid, kind_of, not_found, rejection_for
from proxy.simulator.anthropic.files import FileShelf
from proxy.simulator.anthropic.message import message_events, message_failure, message_object
from proxy.simulator.anthropic.models import NAMES, describe
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Headers, read_json, request_id, text_of
from proxy.simulator.openai.forms import read_form
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply, Stream
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_VERTEX = re.compile(r"publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)$")
_HEADERS = [
    (b"anthropic-organization-id", b"simulated"),
    (b"anthropic-ratelimit-requests-limit", b"4000"),
    (b"anthropic-ratelimit-requests-remaining", b"3999"),
    (b"anthropic-ratelimit-requests-reset", b"2026-01-01T00:00:00Z"),
]
"""What Anthropic adds to every response; constant, because answers must not differ from run to run."""


class AnthropicDesk:
    """Answers as api.anthropic.com does."""

    def __init__(self, _settings: Settings, counter: TokenCounter) -> None:
        self._author = Author(counter)
        self._batches = BatchOffice(self._author)
        self._shelf = FileShelf()

    def claims(self, request: Request) -> bool:
        """Say whether it is a request for a message, or comes from one of Anthropic's SDKs."""
        is_message = request.route.split("/")[0] == "messages" or _VERTEX.search(request.route) is not None
        return is_message or "anthropic-version" in request.headers

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode JSON bodies; Vertex names the model in its path."""
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/"):
            return read_form(kind, request.body), ""
        content = read_json(request)
        vertex = _VERTEX.search(request.route)
        is_model = vertex is not None and vertex[1] != "count-tokens"
        return content, vertex[1] if vertex and is_model else text_of(content.get("model"))

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        request = asked.request
        vertex = _VERTEX.search(request.route)
        match request.method, request.route.split("/"):
            case "POST", ["messages"]:
                return self._message(asked, is_streaming=asked.content.get("stream") is True)
            case "POST", _ if vertex is not None and vertex[1] == "count-tokens":
                return self._count(asked)
            case "POST", _ if vertex is not None:
                return self._message(asked, is_streaming=vertex[2] == "streamRawPredict")
            case "POST", ["messages", "count_tokens"]:
                return self._count(asked)
            case _, ["messages", "batches", *parts]:
                return self._batches.reply(asked, parts)
            case _, ["files", *parts]:
                return self._shelf.reply(asked, parts)
            case "GET", ["models", *parts]:
                return _models(parts)
            case _:
                raise not_found(request.path)

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return Anthropic's refusal with this status."""
        return rejection_for(status, code)

    def wrong_key(self, key: str) -> RejectionError:
        """Return Anthropic's 401."""
        return RejectionError(401, "invalid x-api-key" if key else "x-api-key header is required")

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the envelope `{"type": "error", "error": {…}}`."""
        kind = rejection.kind or kind_of(rejection.status)
        body = rejection.body or envelope(kind, rejection.message, rejection.code)
        return Plain(rejection.status, body)

    def headers(self, asked: Asked) -> Headers:
        """Return the request id and the rate limits."""
        return [(b"request-id", f"req_{request_id(asked)}".encode()), *_HEADERS]

    def _message(self, asked: Asked, *, is_streaming: bool) -> Reply:
        question = Question(
            asked.content,
            asked.model,
            asked.request.credential,
            asked.request.sha256,
            asked.identity,
            asked.wishes,
            is_streaming,
        )
        written = self._author.write(question)
        if is_streaming:
            return Stream(message_events(written), _before(written), message_failure)
        return Plain(200, msgspec.json.encode(message_object(written)), written.usage)

    def _count(self, asked: Asked) -> Plain:
        if not asked.model:
            raise invalid("model", "Field required")
        tokens = self._author.count(asked.content, asked.model, asked.request.sha256)
        return Plain(200, msgspec.json.encode({"input_tokens": tokens}))


def _before(written: Written) -> Usage:
    """Return what is billed before the first token is out."""
    return replace(written.usage, output_tokens=0, reasoning_tokens=0)


def _models(parts: list[str]) -> Plain:
    if not parts:
        data = [describe(name) for name in NAMES]
        listed = {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
        return Plain(200, msgspec.json.encode(listed))
    name = next((name for name, dated in NAMES.items() if parts[0] in (name, dated)), None)
    if name is None:
        raise not_found(f"model: {parts[0]}")
    return Plain(200, msgspec.json.encode(describe(name)))
