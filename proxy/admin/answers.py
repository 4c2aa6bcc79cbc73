"""How the admin port answers: one way to say JSON, one to say an error, one border at which exceptions become answers.

Every error is `{"error": {"code", "message"}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import wraps
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from proxy.admin.keys import KeyConflictError, UnknownKeyError
from proxy.admin.shapes import NotKeptError
from proxy.admin.tokens import TokenConflictError, UnknownTokenError
from proxy.admin.users import UnknownUserError, UserConflictError
from proxy.errors import ClientError, OurError, StoreBusy
from proxy.store.filter import FilterError

Endpoint = Callable[[Request], Awaitable[Response]]
Model = TypeVar("Model", bound=BaseModel)
MAX_CHANGE_BYTES: Final = 64 * 1024
"""A key's policy is a few hundred bytes."""


class QuestionError(ClientError):
    """A parameter that cannot be understood."""


class NotFoundError(ClientError):
    """What was asked for is not there."""


class RefusedError(ClientError):
    """A change that cannot be made; the sentence says why."""


class ForbiddenError(ClientError):
    """A change that this role may not make; the sentence says why."""


class ClientGoneError(ClientError):
    """Nobody waits for the answer any more."""


_MISSING: Final = (NotFoundError, NotKeptError, UnknownKeyError, UnknownTokenError, UnknownUserError)
_REFUSED: Final = (RefusedError, KeyConflictError, TokenConflictError, UserConflictError)


def border(endpoint: Endpoint) -> Endpoint:
    """Turn our exceptions into answers, at one place."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await (_while_awaited(request, endpoint) if request.method == "GET" else endpoint(request))
        except FilterError as error:
            return error_answer(400, "bad_filter", str(error), position=error.position)
        except StoreBusy as error:
            busy = error_answer(503, "busy", str(error))
            busy.headers["retry-after"] = "1"
            return busy
        except _MISSING as error:
            return error_answer(404, "not_found", str(error))
        except ForbiddenError as error:
            return error_answer(403, "forbidden", str(error))
        except _REFUSED as error:
            return error_answer(409, "refused", str(error))
        except ClientError as error:
            return error_answer(400, "bad_question", str(error))
        except OurError as error:
            return error_answer(503, "unavailable", str(error))

    return answer


async def _while_awaited(request: Request, endpoint: Endpoint) -> Response:
    """Answer a question, and end it with the client that asked: a database is not kept busy for nobody."""
    answer = asyncio.ensure_future(endpoint(request))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientGoneError("nobody waits for the answer any more")
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class HeldStream(StreamingResponse):
    """A stream that takes a place among few and gives it back at its end, also when it never began."""

    def __init__(self, content: AsyncIterable[str | bytes], leave: Callable[[], None], **options: Any) -> None:
        super().__init__(content, **options)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def error_answer(status: int, code: str, message: str, **details: int) -> Response:
    """Answer with an error."""
    return json_answer({"error": {"code": code, "message": message, **details}}, status=status)


def json_answer(value: Any, *, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(msgspec.json.encode(value), status, headers={"content-type": "application/json"})


def text_answer(text: str) -> Response:
    """Answer with plain text."""
    return Response(text, headers={"content-type": "text/plain; charset=utf-8"})


def page_answer(page: str, policy: str, *, status: int = 200) -> Response:
    """Answer with a document for people; `policy`: what it may load and do."""
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return Response(page, status, headers=headers)


async def small_body(request: Request, most: int = MAX_CHANGE_BYTES) -> bytes:
    """Return the body of a change."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise QuestionError(f"more than {most} bytes")
    return body


async def read_model(model: type[Model], request: Request, most: int = MAX_CHANGE_BYTES) -> Model:
    """Return what a change asks for, field by field; a field that `model` has not is an error."""
    try:
        return model.model_validate_json(await small_body(request, most))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}".removeprefix(": ")
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise QuestionError("; ".join(problems)) from None


def whole_number(request: Request, name: str, default: int | None, low: int, high: int) -> int | None:
    """Return a parameter that is a whole number."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and low <= int(text) <= high):
        raise QuestionError(f"{name}: a number from {low} to {high}")
    return int(text)
