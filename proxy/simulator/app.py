"""The ASGI application: from a request to a reply, and from there to its delivery."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.errors import BadRequest
from proxy.simulator.answer import Answer, Usage, compose
from proxy.simulator.ask import Ask, Kind, read_ask, read_mapping, read_model
from proxy.simulator.chat import chat_body, chat_events, chat_failure
from proxy.simulator.completions import completions_body, completions_events
from proxy.simulator.counting import TokenCounter
from proxy.simulator.delivery import Delivery
from proxy.simulator.directives import Directives, read_directives
from proxy.simulator.embeddings import embeddings_body, read_inputs
from proxy.simulator.errors import (
    RejectionError,
    extra_forbidden,
    reject_by_directive,
    rejection_for,
    unknown_route,
    wrong_key,
)
from proxy.simulator.files import FileShelf
from proxy.simulator.line import Line
from proxy.simulator.models import MODELS, describe
from proxy.simulator.prompt_cache import PromptCache
from proxy.simulator.reply import Plain, Reply, Stream
from proxy.simulator.responses import responses_body, responses_events, responses_failure
from proxy.simulator.scenario import Scenario, load_scenario
from proxy.simulator.settings import Settings
from proxy.simulator.truth import Request, TruthLog, digest

_COMPLETIONS: dict[str, Kind] = {
    "chat/completions": "chat",
    "completions": "completions",
    "responses": "responses",
}
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


def create_app(settings: Settings) -> ASGIApp:
    """Return a simulated provider. Raises ConfigError if its scenario cannot be used."""
    return Simulator(settings)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, with what its body says."""

    request: Request
    content: Mapping[str, object]
    """The JSON body; empty for other bodies."""
    wishes: Directives
    identity: str
    """Digest of seed, route and body: the source of everything that looks random."""

    @property
    def model(self) -> str:
        """The model named by the body; '' if none is."""
        model = self.content.get("model")
        return model if isinstance(model, str) else ""


class Simulator:
    """A simulated provider, as an ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scenario = load_scenario(settings.scenario) if settings.scenario else Scenario()
        self._truth = TruthLog(settings.truth)
        self._numbers = itertools.count(1)
        self._counter = TokenCounter()
        self._cache = PromptCache()
        self._shelf = FileShelf()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # No lifespan and no WebSockets; an ASGI server takes the exception for "not supported".
            raise NotImplementedError(scope["type"])
        body = await _read_body(receive)
        if body is None:
            return
        request = _read_request(next(self._numbers), scope, body)
        self._truth.received(request)
        await self._answer(request, Line(scope, receive, send))

    def warm_up(self) -> None:
        """Load the tokenizer of current models, so that the first request does not wait for it."""
        self._counter.text_counter("gpt-4o-mini")("warm")

    def close(self) -> None:
        """Close the truth log."""
        self._truth.close()

    async def _answer(self, request: Request, line: Line) -> None:
        asked = _Asked(request, {}, self._settings.directives, self._identify(request))
        try:
            asked = self._understand(asked)
            reply = self._reply(asked)
        except RejectionError as rejection:
            reply = Plain(rejection.status, rejection.body)
        delivery = Delivery(line, asked.wishes, random.Random(asked.identity))
        try:
            await delivery.send(reply, _headers(asked, reply))
        finally:
            self._truth.done(request, asked.model, delivery.receipt)

    def _identify(self, request: Request) -> str:
        return hashlib.sha256(f"{self._settings.seed}\0{request.route}\0{request.sha256}".encode()).hexdigest()

    def _understand(self, asked: _Asked) -> _Asked:
        """Check the key, decode the body and gather the directives."""
        self._check_key(asked.request)
        asked = replace(asked, content=_read_content(asked.request))
        dice = random.Random(asked.identity + asked.request.headers.get("x-stainless-retry-count", ""))
        wishes = asked.wishes.under(self._scenario.directives_for(f"/v1/{asked.request.route}", asked.model, dice))
        try:
            return replace(asked, wishes=wishes.under(read_directives(asked.request.headers.get("x-simulate", ""))))
        except BadRequest as error:
            raise RejectionError(400, str(error), param="x-simulate", code="invalid_directive") from error

    def _check_key(self, request: Request) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if self._settings.require_key is not None and key != self._settings.require_key:
            raise wrong_key(key)

    def _reply(self, asked: _Asked) -> Reply:
        reject_by_directive(asked.wishes)
        request = asked.request
        match request.method, request.route.split("/"):
            case "POST", ["embeddings"]:
                return self._embed(asked)
            case "POST", ["files"]:
                return self._shelf.add(request.headers.get("content-type", ""), request.body)
            case "POST", _ if request.route in _COMPLETIONS:
                return self._complete(asked, _COMPLETIONS[request.route])
            case "GET", ["models"]:
                listed = {"object": "list", "data": [describe(model) for model in MODELS.values()]}
                return Plain(200, msgspec.json.encode(listed))
            case "GET", ["models", *parts]:
                return _describe_model("/".join(parts))
            case ("GET" | "DELETE") as method, ["files", *parts]:
                return self._serve_file(method, parts, request)
            case _:
                raise unknown_route(request.method, request.path)

    def _serve_file(self, method: str, parts: list[str], request: Request) -> Plain:
        match method, parts:
            case "GET", []:
                return self._shelf.list()
            case "GET", [file_id]:
                return self._shelf.describe(file_id)
            case "GET", [file_id, "content"]:
                return self._shelf.content(file_id)
            case "DELETE", [file_id]:
                return self._shelf.delete(file_id)
            case _:
                raise unknown_route(request.method, request.path)

    def _embed(self, asked: _Asked) -> Plain:
        model = read_model(asked.content)
        read_inputs(asked.content)
        tokens = self._counter.prompt("embeddings", asked.content, model, asked.request.sha256)
        return Plain(200, embeddings_body(asked.content, model, self._settings.seed, tokens), Usage(tokens))

    def _complete(self, asked: _Asked, kind: Kind) -> Reply:
        if self._settings.reject_stream_options and "stream_options" in asked.content:
            raise extra_forbidden("stream_options")
        ask = read_ask(kind, asked.content)
        if asked.wishes.error is not None and not ask.is_streaming:
            raise rejection_for(500)
        answer = self._compose(asked, ask)
        if ask.is_streaming:
            return _stream(ask, answer)
        return Plain(200, _body(ask, answer), answer.usage)

    def _compose(self, asked: _Asked, ask: Ask) -> Answer:
        count = self._counter.text_counter(ask.model)
        tokens = self._counter.prompt(ask.kind, asked.content, ask.model, asked.request.sha256)
        owner = asked.request.headers.get("authorization", "")
        cached = self._cache.take(owner, asked.content, tokens, count)
        rng = random.Random(asked.identity)
        return compose(ask, asked.wishes, Usage(tokens, cached), asked.identity, rng, count)


def _stream(ask: Ask, answer: Answer) -> Stream:
    prompt = replace(answer.usage, output_tokens=0, reasoning_tokens=0)
    match ask.kind:
        case "chat":
            return Stream(
                chat_events(answer, includes_usage=ask.includes_usage, is_padded=ask.is_padded), prompt, chat_failure
            )
        case "completions":
            return Stream(completions_events(answer, includes_usage=ask.includes_usage), prompt, chat_failure)
        case "responses":
            return Stream(responses_events(ask, answer), prompt, responses_failure)


def _body(ask: Ask, answer: Answer) -> bytes:
    match ask.kind:
        case "chat":
            return chat_body(answer)
        case "completions":
            return completions_body(answer)
        case "responses":
            return responses_body(ask, answer)


def _describe_model(name: str) -> Plain:
    if name not in MODELS:
        raise RejectionError(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
    return Plain(200, msgspec.json.encode(describe(MODELS[name])))


def _headers(asked: _Asked, reply: Reply) -> list[tuple[bytes, bytes]]:
    is_stream = isinstance(reply, Stream)
    content_type = b"text/event-stream; charset=utf-8" if is_stream else _content_type(reply)
    # Like the body, the request id follows from the request; the number tells repetitions of it apart.
    request_id = f"req_{asked.identity[:24]}{asked.request.n:08x}".encode()
    headers = [(b"content-type", content_type), (b"x-request-id", request_id), *_HEADERS]
    if is_stream:
        headers.append((b"cache-control", b"no-cache"))
    if asked.wishes.retry_after is not None:
        headers.append((b"retry-after", asked.wishes.retry_after.encode()))
    return headers


def _content_type(reply: Reply) -> bytes:
    return reply.content_type.encode() if isinstance(reply, Plain) else b""


async def _read_body(receive: Receive) -> bytes | None:
    """Read a whole body; None if the client leaves before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _read_request(n: int, scope: Scope, body: bytes) -> Request:
    path: str = scope["path"]
    query = scope["query_string"].decode("latin-1")
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        separator = "; " if key == "x-simulate" else ", "
        headers[key] = f"{headers[key]}{separator}{text}" if key in headers else text
    route = path.partition("/v1/")[2] if "/v1/" in path else ""
    client = scope.get("client") or ("", 0)
    full_path = f"{path}?{query}" if query else path
    return Request(n, scope["method"], full_path, route.rstrip("/"), headers, body, digest(body), client[1])


def _read_content(request: Request) -> Mapping[str, object]:
    if not request.body or request.headers.get("content-type", "").startswith("multipart/"):
        return {}
    try:
        content = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectionError(400, f"We could not parse the JSON body of your request. ({error})") from error
    if not isinstance(content, dict):
        raise RejectionError(400, "The JSON body of your request must be an object.")
    return read_mapping(content)
