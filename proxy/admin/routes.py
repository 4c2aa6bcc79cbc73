"""The routes of the admin port about traffic and money: each reads its instruments and answers; nothing here writes.

Every list answers with an object, so that it can grow.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import (
    NotFoundError,
    QuestionError,
    json_answer,
    text_answer,
)
from proxy.admin.authentication import Door, Stores
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.exposition import render
from proxy.admin.instruments import Instruments
from proxy.admin.openapi import document
from proxy.admin.protocol import Port
from proxy.admin.shapes import (
    whole_bytes,
)
from proxy.admin.watch import Watch
from proxy.admin.when import read_instant
from proxy.store import query as ask
from proxy.store.deletion import Selection
from proxy.store.orders import Orders
from proxy.store.query import Side

DELETION_WAIT_S: Final = 20.0
DELETION_LOOK_S: Final = 0.2


class Desk:
    """The endpoints, over the instruments that they share."""

    def __init__(self, instruments: Instruments, door: Door, stores: Stores, watch: Watch) -> None:
        self._read = instruments
        self._door = door
        self._stores = stores
        self._watch = watch

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about traffic."""
        return [
            DeclaredRoute("/healthz", self.health, least="public"),
            DeclaredRoute("/metrics", self.metrics, least="viewer"),
            DeclaredRoute("/api/requests/{id}/request_body", self.request_body, least="viewer"),
            DeclaredRoute("/api/requests/{id}/response_body", self.response_body, least="viewer"),
            DeclaredRoute("/api/records", self.forget, least="admin", method="DELETE"),
            DeclaredRoute("/api/deletions/{id}", self.deletion, least="admin"),
            DeclaredRoute("/api/openapi.json", self.openapi, least="viewer"),
        ]

    async def health(self, _: Request) -> Response:
        """Say that this process lives."""
        return text_answer("ok\n")

    async def metrics(self, request: Request) -> Response:
        """Prometheus' metrics."""
        door = self._door
        scrape = await self._read.scrape()
        scrape = replace(scrape, auth_failures=dict(door.failures_seen), admin_unwritten=door.unwritten)
        port: Port | None = getattr(request.state, "port", None)
        if port is not None:
            scrape = replace(scrape, admin_refused=port.refused, admin_shed=port.shed)
        body, media_type = render(scrape, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    async def request_body(self, request: Request) -> Response:
        """The exact bytes that the client sent."""
        return await self._body(request.path_params["id"], "request")

    async def response_body(self, request: Request) -> Response:
        """The exact bytes that the upstream sent."""
        return await self._body(request.path_params["id"], "response")

    async def forget(self, request: Request) -> Response:
        """Delete all about a user, session or key; the recorder does it, and is waited for, for a while."""
        orders, id_ = Orders(self._read.data_dir), str(uuid.uuid4())
        selection = _selection(request, self._read.clock.wall_ms())
        await asyncio.to_thread(self._stores.audit.deleted, asker(request), id_)
        await asyncio.to_thread(orders.ask, id_, selection)
        for _ in range(int(DELETION_WAIT_S / DELETION_LOOK_S)):
            await asyncio.sleep(DELETION_LOOK_S)
            report = await asyncio.to_thread(orders.report, id_)
            if report is not None:
                return json_answer({"id": id_, "report": report})
        return json_answer({"id": id_, "report": None}, status=202)

    async def deletion(self, request: Request) -> Response:
        """What became of a deletion; reports are kept for an hour."""
        orders, id_ = Orders(self._read.data_dir), request.path_params["id"]
        report = await asyncio.to_thread(orders.report, id_)
        if report is None and not orders.is_open(id_):
            raise NotFoundError("no deletion has this id, or its report is gone")
        return json_answer({"id": id_, "report": report}, status=200 if report else 202)

    async def openapi(self, _: Request) -> Response:
        """The description of these routes."""
        return json_answer(document())

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


def _selection(request: Request, now_ms: int) -> Selection:
    asked = request.query_params
    if unknown := set(asked) - {"user", "session", "key", "before", "rows"}:
        raise QuestionError(f"{', '.join(sorted(unknown))}: not known; say user, session, key, before or rows")
    if asked.get("rows", "false") not in ("true", "false"):
        raise QuestionError("rows: true or false")
    selection = Selection(
        user=asked.get("user") or None,
        session=asked.get("session") or None,
        key=asked.get("key") or None,
        before_ms=read_instant(asked["before"], now_ms) if "before" in asked else now_ms + 1,
        rows=asked.get("rows") == "true",
    )
    if selection.is_empty:
        raise QuestionError("user, session or key: whose records are meant")
    return selection


def _file_name(request_id: str) -> str:
    return "".join(c for c in request_id if c.isascii() and (c.isalnum() or c in "-_"))
