"""Which session a WebSocket is, by its path; and its way into the truth log."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from proxy.errors import BadRequest
from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Desk
from proxy.simulator.directives import read_directives
from proxy.simulator.rejection import RejectionError
from proxy.simulator.settings import Settings
from proxy.simulator.sockets.gemini import GeminiSession
from proxy.simulator.sockets.live import LiveSession
from proxy.simulator.sockets.realtime import RealtimeSession
from proxy.simulator.sockets.responses import ResponsesSession
from proxy.simulator.sockets.session import Bill, Opened, Session
from proxy.simulator.truth import Request, TruthLog, digest

_SESSIONS: Final[tuple[tuple[re.Pattern[str], Callable[[Opened], Session]], ...]] = (
    (re.compile(r"/realtime(?:/translations)?$"), RealtimeSession),
    (re.compile(r"/responses$"), ResponsesSession),
    (re.compile(r"/live/sessions$"), LiveSession),
    (re.compile(r"/ws/google\.ai\.generativelanguage\.[^/]+\.BidiGenerateContent$"), GeminiSession),
)
_BROWSER_KEY: Final = "openai-insecure-api-key."


class Sockets:
    """Who answers WebSockets."""

    def __init__(
        self, settings: Settings, counter: TokenCounter, truth: TruthLog, desks: Sequence[Desk], numbers: Iterator[int]
    ) -> None:
        self._settings = settings
        self._counter = counter
        self._truth = truth
        self._desks = desks
        self._numbers = numbers

    def open(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[Opened, Session]:
        """Begin a session. Raises RejectionError."""
        path = target.partition("?")[0]
        route = path.partition("/v1/")[2] if "/v1/" in path else path.lstrip("/")
        request = Request(next(self._numbers), method, target, route, headers, b"", digest(b""), 0)
        self._truth.received(request)
        desk = next(desk for desk in self._desks if desk.claims(request))
        make = next((make for pattern, make in _SESSIONS if pattern.search(path)), None)
        if make is None:
            raise desk.rejection_for(404)
        if self._settings.require_key is not None and _credential(request) != self._settings.require_key:
            raise desk.wrong_key(_credential(request))
        try:
            wishes = self._settings.directives.under(read_directives(headers.get("x-simulate", "")))
        except BadRequest as error:
            raise RejectionError(400, str(error), param="x-simulate", code="invalid_directive") from error
        if wishes.status is not None and wishes.status >= 300:
            raise desk.rejection_for(wishes.status, wishes.code)
        identity = hashlib.sha256(f"{self._settings.seed}\0{target}\0{request.n}".encode()).hexdigest()
        opened = Opened(request, wishes, identity, self._counter, desk)
        return opened, make(opened)

    def consumed(self, request: Request, bill: Bill) -> None:
        """Note what a response consumed."""
        self._truth.noted("consumed", request, {"model": bill.model, "id": bill.id, "usage": dict(bill.usage)})

    def closed(self, request: Request, messages: int) -> None:
        """Note that a session is over."""
        self._truth.noted("closed", request, {"messages": messages})


def _credential(request: Request) -> str:
    offered = request.headers.get("sec-websocket-protocol", "").split(",")
    keys = (name.strip().removeprefix(_BROWSER_KEY) for name in offered if name.strip().startswith(_BROWSER_KEY))
    return request.credential or next(keys, "")
