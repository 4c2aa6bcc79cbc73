"""The ASGI application: from a request to the desk that answers it, and from there to the delivery."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.errors import BadRequest
from proxy.simulator.anthropic import AnthropicDesk
from proxy.simulator.bedrock import BedrockDesk
from proxy.simulator.counting import TokenCounter
from proxy.simulator.delivery import Delivery
from proxy.simulator.desk import Asked, Desk, Headers
from proxy.simulator.directives import read_directives
from proxy.simulator.gemini import GeminiDesk
from proxy.simulator.line import Line
from proxy.simulator.ollama import OllamaDesk
from proxy.simulator.openai import AzureDesk, OpenAIDesk
from proxy.simulator.quirks import QUIRK_DESKS
from proxy.simulator.rejection import RejectionError
from proxy.simulator.reply import Plain, Reply, Stream
from proxy.simulator.scenario import Scenario, load_scenario
from proxy.simulator.settings import Settings
from proxy.simulator.sockets.switch import Sockets
from proxy.simulator.truth import Request, TruthLog, digest

_DESKS: tuple[Callable[[Settings, TokenCounter], Desk], ...] = (
    *QUIRK_DESKS,
    OllamaDesk,
    GeminiDesk,
    BedrockDesk,
    AnthropicDesk,
    AzureDesk,
    OpenAIDesk,
)
"""Makers of the desks, in the order in which they are asked; OpenAI's comes last, for it claims everything."""


def create_app(settings: Settings) -> ASGIApp:
    """Return a simulated provider. Raises ConfigError if its scenario cannot be used."""
    return Simulator(settings)


class Simulator:
    """A simulated provider, as an ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scenario = load_scenario(settings.scenario) if settings.scenario else Scenario()
        self._truth = TruthLog(settings.truth)
        self._numbers = itertools.count(1)
        self._counter = TokenCounter()
        self._desks = [make(settings, self._counter) for make in _DESKS]
        self.sockets = Sockets(settings, self._counter, self._truth, self._desks, self._numbers)
        """Who answers WebSockets."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # No lifespan and no WebSockets; an ASGI server takes the exception for "not supported".
            raise NotImplementedError(scope["type"])
        body = await _read_body(receive)
        if body is None:
            return
        request = read_request(next(self._numbers), scope, body)
        self._truth.received(request)
        await self._answer(request, Line(scope, receive, send))

    def warm_up(self) -> None:
        """Load the tokenizer of current models, so that the first request does not wait for it."""
        self._counter.text_counter("gpt-4o-mini")("warm")

    def close(self) -> None:
        """Close the truth log."""
        self._truth.close()

    async def _answer(self, request: Request, line: Line) -> None:
        desk = next(desk for desk in self._desks if desk.claims(request))
        asked = Asked(request, {}, "", self._settings.directives, self._identify(request))
        try:
            asked = self._understand(desk, asked)
            reply = self._reply(desk, asked)
        except RejectionError as rejection:
            reply = desk.reject(rejection)
        delivery = Delivery(line, asked.wishes, random.Random(asked.identity))
        try:
            await delivery.send(reply, _headers(desk, asked, reply))
        finally:
            self._truth.done(request, asked.model, delivery.receipt)

    def _identify(self, request: Request) -> str:
        return hashlib.sha256(f"{self._settings.seed}\0{request.route}\0{request.sha256}".encode()).hexdigest()

    def _understand(self, desk: Desk, asked: Asked) -> Asked:
        """Check the key, decode the body and gather the directives."""
        request = asked.request
        if self._settings.require_key is not None and request.credential != self._settings.require_key:
            raise desk.wrong_key(request.credential)
        content, model = desk.read(request)
        asked = replace(asked, content=content, model=model)
        dice = random.Random(asked.identity + request.headers.get("x-stainless-retry-count", ""))
        wishes = asked.wishes.under(self._scenario.directives_for(_scenario_path(request), model, dice))
        try:
            return replace(asked, wishes=wishes.under(read_directives(request.headers.get("x-simulate", ""))))
        except BadRequest as error:
            raise RejectionError(400, str(error), param="x-simulate", code="invalid_directive") from error

    def _reply(self, desk: Desk, asked: Asked) -> Reply:
        wishes = asked.wishes
        if wishes.status is not None and wishes.status >= 300:
            raise desk.rejection_for(wishes.status, wishes.code)
        reply = desk.reply(asked)
        if wishes.error is not None and isinstance(reply, Plain):
            raise desk.rejection_for(500)
        return reply


def read_request(n: int, scope: Scope, body: bytes) -> Request:
    """Read the head of a request; `n` is its number."""
    path: str = scope["path"]
    query = scope["query_string"].decode("latin-1")
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        separator = "; " if key == "x-simulate" else ", "
        headers[key] = f"{headers[key]}{separator}{text}" if key in headers else text
    route = path.partition("/v1/")[2] if "/v1/" in path else path.lstrip("/")
    client = scope.get("client") or ("", 0)
    full_path = f"{path}?{query}" if query else path
    return Request(n, scope.get("method", "GET"), full_path, route.rstrip("/"), headers, body, digest(body), client[1])


def _scenario_path(request: Request) -> str:
    return f"/v1/{request.route}" if "/v1/" in request.path else f"/{request.route}"


def _headers(desk: Desk, asked: Asked, reply: Reply) -> Headers:
    headers = [(b"content-type", reply.content_type.encode()), *desk.headers(asked), *reply.headers]
    if isinstance(reply, Stream):
        headers.append((b"cache-control", b"no-cache"))
    if asked.wishes.retry_after is not None:
        headers.append((b"retry-after", asked.wishes.retry_after.encode()))
    return headers


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
