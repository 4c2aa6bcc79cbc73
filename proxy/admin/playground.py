"""The playground: a stored request, or a new one, sent again with edits to any upstream that understands it.

What is sent goes through the data port under a key of whoever sends it, `playground.<name>`, so it is recorded, priced
and held to that key's budgets; the new record's tag `replay_of` names the request that it was made from. The answer is
told as it comes, one JSON object in each line: by the readers that read every record, so whatever the API.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import HeldStream, NotFoundError, json_answer, read_model
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.errands import Errand, ErrandFailed, Messenger
from proxy.admin.estimate import Alike, Estimator
from proxy.admin.identity import Identity
from proxy.admin.instruments import Instruments
from proxy.admin.keys import IN_FORCE_S, KeyRequest, KeyStore
from proxy.admin.replay import (
    ReplayError,
    Said,
    clean_path,
    edited,
    is_stream,
    operation_of,
    read_answer,
    request_text,
    resent_headers,
    speaks,
    with_model,
)
from proxy.admin.shapes import request_shape
from proxy.admin.upstreams import UpstreamShape, find_upstream, known_upstreams
from proxy.config import Config
from proxy.errors import StoreBusy, StoreError
from proxy.gates.admission import peek
from proxy.operations import Operation, find_operation
from proxy.records import Headers
from proxy.store import query as ask
from proxy.store.query import RequestRow
from proxy.store.rollups import DAY_MS
from proxy.store.row import StoredBody

MAX_BODY_BYTES: Final = 192 * 1024
"""Of a body that is sent whole. Of a larger one the changes are sent: the rest is here already."""
MAX_REQUEST_BYTES: Final = 240 * 1024
MOST_RUNS: Final = 16
"""At a time, of everybody together."""
_MOST_ANSWER: Final = 16 * 1024 * 1024
_LOOK_S: Final = 0.05
"""Between two readings of an answer that is coming."""
_RECORD_WITHIN_S: Final = 4.0
_OBSERVED_DAYS: Final = 30
_STREAMS: Final = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_LONGEST_NAME: Final = 64
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")


class Change(BaseModel):
    """One edit of a stored body, see `proxy.admin.replay.edited`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    at: tuple[str | int, ...] = Field(max_length=16)
    value: Any = None
    remove: bool = False
    start: Annotated[int, Field(ge=0)] | None = Field(None, alias="from")
    count: Annotated[int, Field(ge=0)] | None = None

    def as_edit(self) -> dict[str, Any]:
        """Return the edit as it is carried out."""
        stretch = {} if self.start is None else {"from": self.start, "count": self.count or 0}
        return {"at": self.at, "value": self.value, "remove": self.remove, **stretch}


class RunRequest(BaseModel):
    """What to send."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str | None = Field(None, alias="from", min_length=4, max_length=64)
    """Id of the request that it is made from. None: it is a new one, and `path` and `body` are given."""
    upstream: str | None = Field(None, max_length=64)
    """None: that of the original."""
    path: str | None = Field(None, max_length=2048)
    """Below the upstream's base URL. None: that of the original."""
    model: str | None = Field(None, min_length=1, max_length=256)
    """None: the one that the body or the path names."""
    body: str | None = Field(None, max_length=MAX_BODY_BYTES)
    """The whole body. None: that of the original, with `changes`."""
    changes: tuple[Change, ...] = Field((), max_length=1000)


@dataclass(frozen=True, slots=True)
class Original:
    """A stored request as it can be sent again."""

    row: RequestRow
    operation: Operation
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that is ready to go."""

    upstream: UpstreamShape
    operation: Operation
    path: str
    body: bytes
    headers: dict[str, str]
    original: Original | None

    @property
    def tags(self) -> dict[str, str]:
        """Return what the new record says about it."""
        return {"replay_of": self.original.row.id} if self.original is not None else {"playground": "new"}


class Playground:
    """The endpoints."""

    def __init__(
        self, config: Config, instruments: Instruments, keys: KeyStore, messenger: Messenger, estimator: Estimator
    ) -> None:
        self._config = config
        self._read = instruments
        self._keys = keys
        self._messenger = messenger
        self._estimator = estimator
        self._runs = 0
        self._making = asyncio.Lock()

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes of the playground."""
        return [
            DeclaredRoute("/api/playground", self.draft, least="editor"),
            DeclaredRoute("/api/playground/estimate", self.estimate, least="editor", method="POST"),
            DeclaredRoute("/api/playground/runs", self.run, least="editor", method="POST"),
        ]

    # --- what can be sent --------------------------------------------------------------------------------------

    async def draft(self, request: Request) -> Response:
        """Tell what to begin with: a stored request and its answer, and where it could go."""
        who, wanted = asker(request), request.query_params.get("from")
        used, models = await self._observed()
        shape: dict[str, Any] = {
            "key": key_name(who),
            "models": models,
            "max_body_bytes": MAX_BODY_BYTES,
            "default_upstream": self._config.default_upstream,
            "original": None,
        }
        operation: Operation | None = None
        if wanted:
            found = await self._found(wanted)
            shape["original"] = original = await asyncio.to_thread(_original_shape, *found)
            operation = find_operation(found[0].wire, found[0].method, found[0].path)
            if original["problem"] is not None:
                operation = None
            used = {*used, found[0].upstream}
        shape["upstreams"] = [
            msgspec.structs.asdict(each)
            | {"understands": operation is None or speaks(each.wire, operation), "hindrance": hindrance(each)}
            for each in known_upstreams(self._config, used)
        ]
        return json_answer(shape)

    async def estimate(self, request: Request) -> Response:
        """Tell what a request would cost."""
        plan = await self._plan(await read_model(RunRequest, request, MAX_REQUEST_BYTES))
        alike = await self._alike(plan)
        found = await self._estimator.estimate(
            plan.body, plan.operation, provider=plan.upstream.provider, is_free=plan.upstream.is_free, alike=alike
        )
        return json_answer(found)

    async def run(self, request: Request) -> Response:
        """Send a request and tell its answer as it comes: one JSON object in each line."""
        plan = await self._plan(await read_model(RunRequest, request, MAX_REQUEST_BYTES))
        if (reason := hindrance(plan.upstream)) is not None:
            raise ReplayError(reason)
        if self._runs >= MOST_RUNS:
            raise StoreBusy(f"{MOST_RUNS} requests of the playground are under way: wait until one is over")
        self._runs += 1
        try:
            key = await self._own_key(asker(request))
        except BaseException:
            self._leave()
            raise
        errand = Errand(key, plan.upstream.name, plan.path, plan.body, plan.headers, plan.tags)
        headers = {"content-type": "application/x-ndjson", "x-accel-buffering": "no"}
        return HeldStream(self._lines(errand, plan), self._leave, headers=headers)

    def _leave(self) -> None:
        self._runs -= 1

    async def _plan(self, wanted: RunRequest) -> Plan:
        """Return the request that is meant. Raises ReplayError, NotFoundError."""
        original = await self._original(wanted.source) if wanted.source is not None else None
        name = wanted.upstream or (original.row.upstream if original is not None else self._config.default_upstream)
        upstream = find_upstream(self._config, name)
        if upstream is None:
            raise ReplayError(f"upstream: none is called {name}")
        path = wanted.path if wanted.path is not None else original.path if original is not None else None
        if path is None:
            raise ReplayError("path: is needed where there is no original, such as /chat/completions")
        path = clean_path(path)
        operation = find_operation(upstream.wire, "POST", path)
        if operation is None or operation.billing not in ("tokens", "units"):
            raise ReplayError(f"{upstream.name} has nothing at {path} that asks a model")
        if original is not None and operation.dialect != original.operation.dialect:
            raise ReplayError(
                f"{upstream.name} does not understand this request: it is written for {original.operation.dialect}'s API"
                f" and would be read as {operation.dialect}'s; nothing is translated"
            )
        body = await asyncio.to_thread(_body, wanted, original)
        if wanted.model is not None:
            path, body = with_model(path, body, operation, wanted.model)
            operation = find_operation(upstream.wire, "POST", path) or operation
        headers = {"content-type": "application/json", **(original.headers if original is not None else {})}
        if operation.dialect == "anthropic":
            headers.setdefault("anthropic-version", "2023-06-01")
        return Plan(upstream, operation, path, body, headers, original)

    async def _found(self, wanted: str) -> tuple[RequestRow, StoredBody | None, StoredBody | None]:
        async with self._read.store() as store:
            row = await store.run(ask.request(wanted)) if store is not None else None
            if store is None or row is None:
                raise NotFoundError("no request has this id")
            return row, await store.run(ask.body(row.id, "request")), await store.run(ask.body(row.id, "response"))

    async def _original(self, wanted: str) -> Original:
        row, body, _ = await self._found(wanted)
        return await asyncio.to_thread(_original, row, body)

    async def _observed(self) -> tuple[set[str], list[str]]:
        """Return which upstreams and models were used of late, the models most used first."""
        now = self._read.clock.wall_ms()
        start = now - _OBSERVED_DAYS * DAY_MS
        async with self._read.store() as store:
            if store is None:
                return set(), []
            upstreams = await store.run(ask.costs(["upstream"], from_ms=start, to_ms=now))
            models = await store.run(ask.costs(["model"], from_ms=start, to_ms=now, limit=200))
        by_use = sorted(models, key=lambda row: -row.requests)
        return (
            {row.group[0] for row in upstreams if row.group[0]},
            [row.group[0] for row in by_use if row.group[0] and row.group[0] != "(other)"],
        )

    async def _alike(self, plan: Plan) -> Alike | None:
        if plan.original is not None and plan.original.row.output_tokens is not None:
            row = plan.original.row
            return Alike("original", row.input_tokens, len(plan.original.body), row.output_tokens)
        seen = peek(plan.body, plan.operation)
        model = None if seen is None else seen.model
        now = self._read.clock.wall_ms()
        async with self._read.store() as store:
            if store is None:
                return None
            rows = await store.run(ask.costs(["model"], from_ms=now - _OBSERVED_DAYS * DAY_MS, to_ms=now))
        of_model = next((each for each in rows if each.group[0] == model and each.requests), None)
        return None if of_model is None else Alike("model", None, None, of_model.output_tokens // of_model.requests)

    # --- sending -----------------------------------------------------------------------------------------------

    async def _own_key(self, who: Identity) -> str:
        """Return the name of the key that somebody's requests count for; it is made when there is none."""
        name = key_name(who)
        async with self._making:  # two requests at once make one key
            if await asyncio.to_thread(self._keys.find, name) is None:
                await asyncio.to_thread(self._keys.create, KeyRequest(name=name), who)
                await asyncio.sleep(IN_FORCE_S)
        return name

    async def _lines(self, errand: Errand, plan: Plan) -> AsyncIterator[bytes]:
        async for line in self._told(errand, plan):
            yield msgspec.json.encode(line) + b"\n"

    async def _told(self, errand: Errand, plan: Plan) -> AsyncIterator[dict[str, Any]]:
        start = time.monotonic()
        try:
            async with self._messenger.send(errand) as answer:
                id_ = answer.headers.get("x-glassline-request-id")
                yield {
                    "type": "started",
                    "id": id_,
                    "key": errand.key,
                    "status": answer.status_code,
                    "ms": _ms_since(start),
                    "error_code": answer.headers.get("x-glassline-error"),
                }
                async for line in _answer(answer, plan, start):
                    yield line
        except ErrandFailed as error:
            yield {"type": "failed", "message": str(error)}
            return
        if id_ is not None and (row := await self._record(id_)) is not None:
            yield {"type": "record", "request": request_shape(row)}

    async def _record(self, id_: str) -> RequestRow | None:
        """Return the record of a request that is just over, when it is there."""
        for _ in range(int(_RECORD_WITHIN_S / 0.1)):
            try:
                async with self._read.store() as store:
                    row = await store.run(ask.request(id_)) if store is not None else None
            except StoreError:
                row = None
            if row is not None:
                return row
            await asyncio.sleep(0.1)
        return None


async def _answer(answer: httpx.Response, plan: Plan, start: float) -> AsyncIterator[dict[str, Any]]:
    """Yield what an answer says more, again and again, and at last all that it says."""
    body = bytearray()
    more, shown = asyncio.Event(), ""
    headers: Headers = tuple(answer.headers.raw)
    asked = b'{"stream":true}' if is_stream(plan.body, plan.operation) else b"{}"
    is_told_bit_by_bit = answer.headers.get("content-type", "").partition(";")[0].strip().lower() in _STREAMS
    broken: str | None = None

    def read() -> Said:
        return read_answer(plan.upstream.wire, plan.path, asked, answer.status_code, headers, bytes(body))

    async def take() -> None:
        nonlocal broken
        try:
            async for piece in answer.aiter_raw():
                body.extend(piece[: _MOST_ANSWER - len(body)])
                more.set()
        except httpx.HTTPError as error:
            broken = f"the answer broke off: {str(error) or type(error).__name__}"

    taking = asyncio.create_task(take())
    try:
        while is_told_bit_by_bit and not taking.done():
            coming = asyncio.create_task(more.wait())
            try:
                await asyncio.wait((taking, coming), return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
            more.clear()
            before = time.monotonic()
            now_said = await asyncio.to_thread(read)
            text = now_said.text
            if text.startswith(shown) and len(text) > len(shown):
                yield {"type": "text", "more": text[len(shown) :], "ms": _ms_since(start)}
                shown = text
            elif not shown and now_said.reasoning:
                yield {"type": "thinking", "reasoning": now_said.reasoning[-400:], "ms": _ms_since(start)}
            # A long answer is read less often: to read it never takes more than a fifth of the time.
            await asyncio.sleep(max(_LOOK_S, 4 * (time.monotonic() - before)))
        await taking
    finally:
        taking.cancel()
    last = await asyncio.to_thread(read)
    if is_told_bit_by_bit and last.text.startswith(shown) and len(last.text) > len(shown):
        yield {"type": "text", "more": last.text[len(shown) :], "ms": _ms_since(start)}
    yield {"type": "done", "said": last, "bytes": len(body), "ms": _ms_since(start), "broken": broken}


def key_name(who: Identity) -> str:
    """Return the name of the key for somebody's own requests: nobody's money is counted for another."""
    wanted = f"playground.{who.actor}"
    name = _NO_NAME.sub("-", wanted)
    if name == wanted and len(name) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - len(mark) - 1]}-{mark}"


def hindrance(upstream: UpstreamShape) -> str | None:
    """Return why nothing can be sent to an upstream; None: it can."""
    if upstream.base_url is None:
        return f"upstreams.{upstream.name}.base_url is not configured"
    if upstream.credential == "missing" and not (upstream.is_free or upstream.allow_private):
        return (
            f"Nothing pays for a request to {upstream.name}: applications send their own key, and Glassline keeps none."
            f" Set upstreams.{upstream.name}.api_key in the configuration."
        )
    return None


def _original(row: RequestRow, body: StoredBody | None) -> Original:
    operation = operation_of(row)
    if body is None:
        raise ReplayError("The body is no longer there.")
    return Original(row, operation, clean_path(row.path), request_text(body), resent_headers(body))


def _original_shape(row: RequestRow, request: StoredBody | None, response: StoredBody | None) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "request": request_shape(row),
        "problem": None,
        "endpoint": row.endpoint,
        "dialect": None,
        "path": None,
        "is_model_in_path": False,
        "body": None,
        "body_bytes": 0,
        "headers": {},
        "answer": _stored_answer(row, response),
    }
    try:
        original = _original(row, request)
    except ReplayError as error:
        return shape | {"problem": str(error)}
    try:
        text = original.body.decode()
    except UnicodeDecodeError:
        text = None
    return shape | {
        "dialect": original.operation.dialect,
        "path": original.path,
        "is_model_in_path": original.operation.model is not None,
        "model": original.operation.model or row.model_requested or row.model,
        "body": text,
        "body_bytes": len(original.body),
        "headers": original.headers,
    }


def _stored_answer(row: RequestRow, response: StoredBody | None) -> Said | None:
    if response is None or response.head is None:
        return None
    headers = tuple(
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in response.headers
    )
    asked = b'{"stream":true}' if row.streaming else b"{}"
    return read_answer(row.wire, row.path, asked, row.status, headers, response.head)


def _body(wanted: RunRequest, original: Original | None) -> bytes:
    if wanted.body is not None:
        return wanted.body.encode()
    if original is None:
        raise ReplayError("body: is needed where there is no original")
    return edited(original.body, [change.as_edit() for change in wanted.changes])


def _ms_since(start: float) -> float:
    return (time.monotonic() - start) * 1000
