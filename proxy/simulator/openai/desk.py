"""OpenAI's desk: every endpoint below `/v1/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from proxy.simulator.answer import Usage
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Asked, Headers, read_json, request_id, text_of
from proxy.simulator.models import MODELS, describe
from proxy.simulator.openai.ask import read_model
from proxy.simulator.openai.assistants import AssistantRoom
from proxy.simulator.openai.audio import SoundStudio
from proxy.simulator.openai.batches import BatchRoom
from proxy.simulator.openai.embeddings import embeddings_body, read_inputs
from proxy.simulator.openai.errors import envelope, rejection_for, unknown_route, wrong_key
from proxy.simulator.openai.files import FileShelf
from proxy.simulator.openai.forms import read_form
from proxy.simulator.openai.images import Studio
from proxy.simulator.openai.jobs import ExaminationRoom, TrainingRoom, VideoRoom
from proxy.simulator.openai.objects import Archive, Judge, mint_secret
from proxy.simulator.openai.stored import ChatShelf, ResponseShelf
from proxy.simulator.openai.switchboard import Row, Switchboard
from proxy.simulator.openai.text import Author
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request

_HEADERS = [
    (b"openai-organization", b"simulated"),
    (b"openai-version", b"2020-10-01"),
    (b"openai-processing-ms", b"1"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-tokens", b"1999000"),
    (b"x-ratelimit-reset-tokens", b"0s"),
]
"""What OpenAI adds to every response; constant, because answers must not differ from run to run."""


class OpenAIDesk:
    """Answers as api.openai.com does."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self._settings = settings
        self._counter = counter
        self._switchboard = Switchboard(self._rows(Author(counter), FileShelf()))

    def claims(self, _request: Request) -> bool:
        """Say yes: what no other dialect claims is OpenAI's, unknown paths included."""
        return True

    def read(self, request: Request) -> tuple[Mapping[str, object], str]:
        """Decode JSON bodies and forms."""
        kind = request.headers.get("content-type", "")
        is_form = kind.lower().startswith("multipart/form-data")
        content = read_form(kind, request.body) if is_form else read_json(request)
        return content, text_of(content.get("model"))

    def reply(self, asked: Asked) -> Reply:
        """Answer."""
        reply = self._switchboard.answer(asked)
        if reply is not None:
            return reply
        method, parts = asked.request.method, asked.request.route.split("/")
        if method == "GET" and parts[0] == "models" and len(parts) > 1:
            # Names of models may have slashes.
            return _describe_model("/".join(parts[1:]))
        raise unknown_route(method, asked.request.path)

    def rejection_for(self, status: int, code: str | None = None) -> RejectionError:
        """Return OpenAI's refusal with this status."""
        return rejection_for(status, code)

    def wrong_key(self, key: str) -> RejectionError:
        """Return OpenAI's 401."""
        return wrong_key(key)

    def reject(self, rejection: RejectionError) -> Plain:
        """Spell the envelope `{"error": {…}}`."""
        kind = rejection.kind or "invalid_request_error"
        body = rejection.body or envelope(rejection.message, kind, rejection.param, rejection.code)
        return Plain(rejection.status, body)

    def headers(self, asked: Asked) -> Headers:
        """Return the request id and the rate limits."""
        return [(b"x-request-id", f"req_{request_id(asked)}".encode()), *_HEADERS]

    def _rows(self, author: Author, shelf: FileShelf) -> Iterable[Row]:
        yield "POST", "embeddings", self._embed
        yield "GET", "models", _list_models
        yield "POST", "realtime/client_secrets", mint_secret
        yield "POST", "realtime/translations/client_secrets", mint_secret
        chats = ChatShelf(author, rejects_stream_options=self._settings.reject_stream_options)
        rooms = (chats, ResponseShelf(author, self._counter), shelf, BatchRoom(shelf, self.reply))
        for room in (
            *rooms,
            Studio(self._counter),
            SoundStudio(self._counter),
            VideoRoom(),
            TrainingRoom(),
            ExaminationRoom(),
            AssistantRoom(author),
            Archive(),
            Judge(self._counter),
        ):
            yield from room.rows()

    def _embed(self, asked: Asked) -> Plain:
        model = read_model(asked.content)
        read_inputs(asked.content)
        tokens = self._counter.prompt("embeddings", asked.content, model, asked.request.sha256)
        return Plain(200, embeddings_body(asked.content, model, self._settings.seed, tokens), Usage(tokens))


def _list_models(_asked: Asked) -> Plain:
    listed = {"object": "list", "data": [describe(model) for model in MODELS.values()]}
    return Plain(200, msgspec.json.encode(listed))


def _describe_model(name: str) -> Plain:
    if name not in MODELS:
        raise RejectionError(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
    return Plain(200, msgspec.json.encode(describe(MODELS[name])))
