"""The routes of the admin port: each reads its instruments and answers; nothing here writes but the key routes.

Every list answers with an object, so that it can grow. Every error answers `{"error": {"code", "message"}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.exposition import render
from proxy.admin.instruments import Instruments
from proxy.admin.keys import KeyConflictError, KeyRequest, KeyStore, UnknownKeyError
from proxy.admin.openapi import document
from proxy.admin.page import CONTENT_POLICY, Overview, status_page
from proxy.admin.shapes import (
    NotKeptError,
    account_shape,
    body_shape,
    cursor_text,
    read_cursor,
    request_shape,
    whole_bytes,
)
from proxy.admin.verdict import Verdict, judge
from proxy.admin.when import read_instant
from proxy.errors import ClientError, OurError
from proxy.store import query as ask
from proxy.store.filter import parse_filter
from proxy.store.query import MAX_ROWS, RequestRow, Side

Endpoint = Callable[[Request], Awaitable[Response]]
DEFAULT_LIMIT: Final = 50
DEFAULT_COST_SPAN: Final = "now-7d"
MAX_CHANGE_BYTES: Final = 64 * 1024
"""A key's policy is a few hundred bytes."""
IN_FORCE_S: Final = 0.3
"""Gateways look for new keys ten times a second. A change is answered once they have looked, so that a new key works and a
revoked one does not by the time its owner reads the answer."""
GROUPINGS: Final = ("key", "model", "upstream", "user", "day", "session", "endpoint")


class QuestionError(ClientError):
    """A parameter that cannot be understood."""


class NotFoundError(ClientError):
    """What was asked for is not there."""


class Desk:
    """The endpoints, over the instruments and the key store that they share."""

    def __init__(self, instruments: Instruments, keys: KeyStore) -> None:
        self._read = instruments
        self._keys = keys

    def routes(self) -> list[Route]:
        """Return every route of the admin port."""
        get, change = ["GET"], ["POST"]
        return [
            Route("/", _border(self.page), methods=get),
            Route("/healthz", _border(self.health), methods=get),
            Route("/metrics", _border(self.metrics), methods=get),
            Route("/status", _border(self.status_text), methods=get),
            Route("/api/status", _border(self.status), methods=get),
            Route("/api/requests", _border(self.requests), methods=get),
            Route("/api/requests/{id}", _border(self.request), methods=get),
            Route("/api/requests/{id}/request_body", _border(self.request_body), methods=get),
            Route("/api/requests/{id}/response_body", _border(self.response_body), methods=get),
            Route("/api/cost", _border(self.cost), methods=get),
            Route("/api/budgets", _border(self.budgets), methods=get),
            Route("/api/keys", _border(self.keys), methods=get),
            Route("/api/keys", _border(self.create_key), methods=change),
            Route("/api/keys/{name}", _border(self.revoke_key), methods=["DELETE"]),
            Route("/api/openapi.json", _border(self.openapi), methods=get),
        ]

    async def health(self, _: Request) -> Response:
        """Say that this process lives."""
        return _text("ok\n")

    async def metrics(self, request: Request) -> Response:
        """Prometheus' metrics."""
        body, media_type = render(await self._read.scrape(), request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    async def status(self, _: Request) -> Response:
        """The verdict and its reasons."""
        verdict = judge(await self._read.signs())
        return _json({"verdict": verdict.level, "reasons": verdict.reasons, "processes": self._read.processes()})

    async def status_text(self, _: Request) -> Response:
        """The verdict in plain text, one reason in each line."""
        return _text(verdict_text(judge(await self._read.signs())))

    async def requests(self, request: Request) -> Response:
        """One page of requests, newest first."""
        where = parse_filter(request.query_params.get("q", ""))
        limit = _limit(request)
        before = request.query_params.get("before")
        cursor = read_cursor(before) if before else None
        if before and cursor is None:
            raise QuestionError("before: hand back `next_before` of the page before")
        async with self._read.store() as store:
            rows = await store.run(ask.requests(where, limit=limit, before=cursor)) if store else []
        more = cursor_text(rows[-1]) if len(rows) == limit else None
        return _json({"requests": [request_shape(row) for row in rows], "next_before": more})

    async def request(self, request: Request) -> Response:
        """One request with what is known of its bodies."""
        async with self._read.store() as store:
            row = await store.run(ask.request(request.path_params["id"])) if store else None
            if store is None or row is None:
                raise NotFoundError("no request has this id")
            sides: tuple[Side, Side] = ("request", "response")
            bodies = {side: await store.run(ask.body(row.id, side)) for side in sides}
        return _json(request_shape(row) | {side: body_shape(body) if body else None for side, body in bodies.items()})

    async def request_body(self, request: Request) -> Response:
        """The exact bytes that the client sent."""
        return await self._body(request.path_params["id"], "request")

    async def response_body(self, request: Request) -> Response:
        """The exact bytes that the upstream sent."""
        return await self._body(request.path_params["id"], "response")

    async def cost(self, request: Request) -> Response:
        """What was spent, grouped."""
        now = self._read.clock.wall_ms()
        by = [name for name in request.query_params.get("by", "model").split(",") if name]
        if unknown := set(by) - set(GROUPINGS):
            raise QuestionError(f"by: {', '.join(sorted(unknown))} is none of {', '.join(GROUPINGS)}")
        start = read_instant(request.query_params.get("from", DEFAULT_COST_SPAN), now)
        end = read_instant(request.query_params.get("to", "now"), now)
        where = parse_filter(request.query_params.get("q", ""))
        async with self._read.store() as store:
            question = ask.costs(by, from_ms=start, to_ms=end, where=where)  # type: ignore[arg-type]  # checked above
            rows = await store.run(question) if store else []
        return _json({"by": by, "from": start, "to": end, "rows": rows})

    async def budgets(self, _: Request) -> Response:
        """The budgets in their current windows."""
        return _json({"budgets": [account_shape(row) for row in await self._read.accounts()]})

    async def keys(self, _: Request) -> Response:
        """Every key that was created at run time; never a secret."""
        stored = await asyncio.to_thread(self._keys.all)
        return _json({"keys": [key.model_dump(mode="json") for key in stored]})

    async def create_key(self, request: Request) -> Response:
        """Make a key; the answer is the only one that holds it."""
        wanted = _key_request(await _small_body(request))
        made = await asyncio.to_thread(self._keys.create, wanted)
        await asyncio.sleep(IN_FORCE_S)
        return _json(made.model_dump(mode="json"), status=201)

    async def revoke_key(self, request: Request) -> Response:
        """End a key."""
        revoked = await asyncio.to_thread(self._keys.revoke, request.path_params["name"])
        await asyncio.sleep(IN_FORCE_S)
        return _json(revoked.model_dump(mode="json"))

    async def openapi(self, _: Request) -> Response:
        """The description of these routes."""
        return _json(document())

    async def page(self, _: Request) -> Response:
        """A page for people."""
        verdict = judge(await self._read.signs())
        rows: list[RequestRow] = []
        accounts = []
        if verdict.reasons == () or verdict.reasons[0].code != "store_unreadable":
            accounts = await self._read.accounts()
            async with self._read.store() as store:
                rows = await store.run(ask.requests(limit=25)) if store else []
        overview = Overview(verdict, rows, accounts, self._read.processes(), self._read.clock.wall_ms())
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": CONTENT_POLICY}
        return Response(status_page(overview), headers=headers)

    async def _body(self, wanted: str, side: Side) -> Response:
        async with self._read.store() as store:
            row = await store.run(ask.request(wanted)) if store else None
            body = await store.run(ask.body(row.id, side)) if store and row else None
        if row is None or body is None:
            raise NotFoundError("no request has this id")
        return Response(
            whole_bytes(body),
            headers={
                "content-type": "application/octet-stream",
                "content-disposition": f'attachment; filename="{_file_name(row.id)}-{side}"',
            },
        )


def verdict_text(verdict: Verdict) -> str:
    """Return the verdict as plain text."""
    return "".join([f"{verdict.level}\n", *(f"{reason.level}: {reason.text}\n" for reason in verdict.reasons)])


def _border(endpoint: Endpoint) -> Endpoint:
    """Turn our exceptions into answers, at one place."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (NotFoundError, NotKeptError, UnknownKeyError) as error:
            return _error(404, "not_found", error)
        except KeyConflictError as error:
            return _error(409, "refused", error)
        except ClientError as error:
            return _error(400, "bad_question", error)
        except OurError as error:
            return _error(503, "unavailable", error)

    return answer


def _error(status: int, code: str, error: Exception) -> Response:
    return _json({"error": {"code": code, "message": str(error)}}, status=status)


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, headers={"content-type": "application/json"})


def _text(text: str) -> Response:
    return Response(text, headers={"content-type": "text/plain; charset=utf-8"})


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_ROWS):
        raise QuestionError(f"limit: a number from 1 to {MAX_ROWS}")
    return int(text)


def _file_name(request_id: str) -> str:
    return "".join(c for c in request_id if c.isascii() and (c.isalnum() or c in "-_"))


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_CHANGE_BYTES:
            raise QuestionError(f"more than {MAX_CHANGE_BYTES} bytes")
    return body


def _key_request(body: bytes) -> KeyRequest:
    try:
        return KeyRequest.model_validate_json(body)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}".removeprefix(": ")
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise QuestionError("; ".join(problems)) from None
