"""The endpoints of the list of requests: pages, files, how much and when there is, what occurs, previews.

One filter, one span and one order mean the same everywhere, on a page of the dashboard as in a question of a script.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import NotFoundError, QuestionError, json_answer, whole_number
from proxy.admin.declared import DeclaredRoute
from proxy.admin.detail import find_request
from proxy.admin.instruments import Instruments
from proxy.admin.shapes import page_shape, request_shape
from proxy.admin.sheets import Row
from proxy.admin.twins import Listing, Twins, chosen, patiently
from proxy.admin.when import read_instant
from proxy.conversation import read_conversation
from proxy.conversation.training import training_example
from proxy.store import query as ask
from proxy.store.extent import MOST_BARS, MOST_COUNTED, SLOW, bars, extent
from proxy.store.filter import Clause, Filter, both, described, parse_filter, started
from proxy.store.listing import NEWEST_FIRST, Cursor, Sort
from proxy.store.previews import MOST_PREVIEWS, previews
from proxy.store.query import MAX_ROWS, RequestRow, Side
from proxy.store.row import StoredBody
from proxy.store.values import Values, values
from proxy.wire.decode import content_codings, decode

DEFAULT_LIMIT: Final = 50
DEFAULT_SPAN: Final = "now-24h"
MOST_IDS: Final = 500
MOST_VALUES: Final = 200
FILE_ROWS: Final = 500
"""Of one question of a file."""
PREVIEWED_ROWS: Final = 100
"""The same, where bodies are looked at."""
_ID: Final = re.compile(r"[0-9A-Za-z_.:-]{1,128}")
_FIELDS: Final = tuple(name for name in RequestRow.__struct_fields__ if name != "seq")
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "time": ("started_at",),
    "status": ("status", "outcome"),
    "model": ("model", "model_requested"),
    "message": ("message", "answer"),
    "latency": ("duration_ms", "ttft_ms"),
    "ttft": ("ttft_ms",),
    "tokens": ("input_tokens", "output_tokens"),
    "input": ("input_tokens",),
    "output": ("output_tokens",),
    "cached": ("cached_input_tokens",),
    "cost": ("cost_usd",),
    "speed": ("tokens_per_second",),
    "overhead": ("overhead_ms",),
    "trace": ("trace_id",),
    "error": ("error_code", "error_message"),
    "finish": ("finish_reason",),
    "prompt": ("prompt_name", "prompt_version"),
}
"""What the columns of the dashboard show of a request; any other is called as the field that it shows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests are meant, and in which order."""

    where: Filter
    """As `q` says, and `ids`."""
    from_ms: int | None
    to_ms: int | None
    sort: Sort
    cursor: Cursor | None

    @property
    def condition(self) -> Filter:
        """The filter and the span."""
        span = started(from_ms=self.from_ms, to_ms=self.to_ms)
        return self.where if span == Filter() else both(self.where, span)


class RequestLists:
    """The endpoints."""

    def __init__(self, instruments: Instruments, twins: Twins) -> None:
        self._read = instruments
        self._twins = twins

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes; they come before that of one request, whose id could be any word."""
        return [
            DeclaredRoute("/api/requests", self.page, least="viewer"),
            *self._twins.routes("/api/requests", Listing("requests", self._columns, self._pages), least="viewer"),
            DeclaredRoute("/api/requests/count", self.count, least="viewer"),
            DeclaredRoute("/api/requests/histogram", self.histogram, least="viewer"),
            DeclaredRoute("/api/requests/values", self.values, least="viewer"),
            DeclaredRoute("/api/requests/previews", self.previews, least="viewer"),
            DeclaredRoute("/api/filters", self.filters, least="viewer"),
        ]

    async def page(self, request: Request) -> Response:
        """One page of requests."""
        wanted = self.wanted(request)
        limit = whole_number(request, "limit", DEFAULT_LIMIT, 1, MAX_ROWS) or 1
        question = ask.page(wanted.condition, sort=wanted.sort, limit=limit, after=wanted.cursor)
        async with self._read.store() as store:
            # Asked first: what is recorded between the two is then told twice, and not never.
            newest = await store.run(ask.newest_seq()) if store else 0
            page = await store.run(question) if store else ask.Page([], None)
        return json_answer(page_shape(page) | {"newest": newest})

    async def count(self, request: Request) -> Response:
        """How many requests are meant and what they cost: exactly up to 10,000, or where sums are kept."""
        wanted = self.wanted(request)
        async with self._read.store() as store:
            question = extent(wanted.where, from_ms=wanted.from_ms, to_ms=wanted.to_ms)
            shape = msgspec.to_builtins(await store.run(question)) if store else _NOTHING
        return json_answer(shape | {"most_counted": MOST_COUNTED, "slow_filter": SLOW})

    async def histogram(self, request: Request) -> Response:
        """When the requests that are meant were."""
        now = self._read.clock.wall_ms()
        wanted = self.wanted(request)
        most = whole_number(request, "buckets", 120, 1, MOST_BARS) or 1
        start = wanted.from_ms if wanted.from_ms is not None else read_instant(DEFAULT_SPAN, now)
        end = wanted.to_ms if wanted.to_ms is not None else now
        if start >= end:
            raise QuestionError("from, to: `from` comes first")
        question = bars(wanted.where, from_ms=start, to_ms=end, most=most)
        async with self._read.store() as store:
            nothing = {"start": start, "width_ms": end - start, **_NO_BARS}
            shape = msgspec.to_builtins(await store.run(question)) if store else nothing
        return json_answer(shape | {"from": start, "to": end})

    async def values(self, request: Request) -> Response:
        """What occurs in a field."""
        wanted, asked = self.wanted(request), request.query_params
        now = self._read.clock.wall_ms()
        question = values(
            asked.get("field", ""),
            from_ms=wanted.from_ms if wanted.from_ms is not None else 0,
            to_ms=wanted.to_ms if wanted.to_ms is not None else now + 1,
            containing=asked.get("prefix", ""),
            where=wanted.where,
            limit=whole_number(request, "limit", 50, 1, MOST_VALUES) or 1,
        )
        async with self._read.store() as store:
            found = await store.run(question) if store else Values([], None)
        return json_answer(found)

    async def previews(self, request: Request) -> Response:
        """The last message and the answer of some requests."""
        ids = _ids(request.query_params.get("ids", ""), MOST_PREVIEWS)
        async with self._read.store() as store:
            found = await store.run(previews(ids)) if store else {}
        return json_answer({"previews": found})

    async def filters(self, _: Request) -> Response:
        """The fields of filters."""
        return json_answer({"fields": [shape._asdict() for shape in described()], "sorts": list(Sort.names())})

    def wanted(self, request: Request) -> Wanted:
        """Return what a request's parameters mean. Raises ClientError."""
        now, asked = self._read.clock.wall_ms(), request.query_params
        where = parse_filter(asked.get("q", ""))
        if asked.get("ids"):
            where = both(where, _of(_ids(asked["ids"], MOST_IDS)))
        start, end = (read_instant(asked[name], now) if asked.get(name) else None for name in ("from", "to"))
        cursor = Cursor.parse(asked["before"]) if asked.get("before") else None
        sort = Sort.parse(asked["sort"]) if asked.get("sort") else cursor.sort if cursor else NEWEST_FIRST
        if asked.get("before") and (cursor is None or cursor.sort != sort):
            raise QuestionError("before: hand back `next_before` of the page before")
        return Wanted(where, start, end, sort, cursor)

    def _columns(self, request: Request) -> Sequence[str]:
        if _is_for_training(request):
            return ()
        columns = chosen(request, [*COLUMNS, *_FIELDS], _FIELDS)
        fields = [field for column in columns for field in COLUMNS.get(column, (column,))]
        return list(dict.fromkeys([*fields, *(_BODIES if _has_bodies(request) else ())]))

    async def _pages(self, request: Request) -> AsyncGenerator[Sequence[Row], None]:
        wanted, columns = self.wanted(request), self._columns(request)
        has_previews, has_bodies = "message" in columns, _has_bodies(request)
        is_for_training = _is_for_training(request)
        limit = PREVIEWED_ROWS if has_previews else FILE_ROWS
        while True:
            page, said = await patiently(lambda: self._slice(wanted, limit, has_previews))  # noqa: B023 (awaited here)
            rows = [_file_row(row) | said.get(row.id, {}) for row in page.rows]
            if is_for_training:
                for row in page.rows:
                    yield await patiently(lambda: self._examples(row))  # noqa: B023 (awaited here)
            elif has_bodies:
                for row in rows:
                    yield [row | await patiently(lambda: self._bodies(row["id"]))]  # noqa: B023 (awaited here)
            else:
                yield rows
            if page.cursor is None:
                return
            wanted = replace(wanted, cursor=page.cursor)

    async def _slice(self, wanted: Wanted, limit: int, has_previews: bool) -> tuple[ask.Page, dict[str, Any]]:
        async with self._read.files() as store:
            if store is None:
                return ask.Page([], None), {}
            page = await store.run(ask.page(wanted.condition, sort=wanted.sort, limit=limit, after=wanted.cursor))
            found = await store.run(previews([row.id for row in page.rows])) if has_previews else {}
        return page, {id_: {"message": said.message, "answer": said.answer} for id_, said in found.items()}

    async def _examples(self, row: RequestRow) -> list[dict[str, Any]]:
        """Return what a model can learn from a request: one example or none."""
        if row.outcome != "completed" or row.status != HTTPStatus.OK:
            return []
        async with self._read.files() as store:
            try:
                found = await find_request(store, row.id)
            except NotFoundError:
                return []  # it was deleted meanwhile
        example = await asyncio.to_thread(lambda: training_example(read_conversation(found.exchange)))
        return [example] if example else []

    async def _bodies(self, id_: str) -> dict[str, Any]:
        sides: tuple[Side, Side] = ("request", "response")
        async with self._read.files() as store:
            found = {side: await store.run(ask.body(id_, side)) if store else None for side in sides}
        return {f"{side}_body": _text(body) for side, body in found.items()}


_BODIES: Final = ("request_body", "response_body")
_NO_BARS: Final[dict[str, Any]] = {"requests": [], "failed": [], "looked_to": None}
_NOTHING: Final[dict[str, Any]] = {
    "requests": 0,
    "is_exact": True,
    "cost_nano_usd": 0,
    "unpriced": 0,
    "failed": 0,
    "slow": 0,
    "looked_to": None,
}


def _ids(text: str, most: int) -> list[str]:
    ids = list(dict.fromkeys(filter(None, text.split(","))))
    if not 0 < len(ids) <= most or not all(_ID.fullmatch(id_) for id_ in ids):
        raise QuestionError(f"ids: 1 to {most} ids of requests, with commas between them")
    return ids


def _of(ids: Sequence[str]) -> Filter:
    """Return the condition that a request is one of these."""
    sql, values_ = "id IN (SELECT value FROM json_each(?))", (msgspec.json.encode(ids).decode(),)
    return Filter(sql, values_, anchor=Clause(sql, values_), rest=Clause())


def _has_bodies(request: Request) -> bool:
    asked = request.query_params.get("bodies", "0")
    if asked not in ("0", "1"):
        raise QuestionError("bodies: 0 or 1")
    if asked == "1" and not request.url.path.endswith(".jsonl"):
        raise QuestionError("bodies: in .jsonl files only")
    return asked == "1"


def _is_for_training(request: Request) -> bool:
    asked = request.query_params.get("as", "")
    if asked not in ("", "finetune"):
        raise QuestionError("as: finetune")
    if asked and not request.url.path.endswith(".jsonl"):
        raise QuestionError("as: in .jsonl files only")
    return bool(asked)


def _file_row(row: RequestRow) -> dict[str, Any]:
    shape = request_shape(row)
    try:
        tags = msgspec.json.decode(row.tags, type=dict[str, Any])
    except msgspec.MsgspecError:
        tags = {}
    return shape | {f"meta.{name}": value for name, value in tags.items()} | {"tokens_per_second": _speed(row)}


def _speed(row: RequestRow) -> float | None:
    if not row.output_tokens or row.duration_ms is None or row.ttft_ms is None or row.duration_ms <= row.ttft_ms:
        return None
    return round(row.output_tokens / (row.duration_ms - row.ttft_ms) * 1000, 1)


def _text(body: StoredBody | None) -> str | None:
    if body is None or body.head is None:
        return None
    codings = content_codings([(name.encode("latin-1"), value.encode("latin-1")) for name, value in body.headers])
    return decode(body.head, codings).data.decode("utf-8", "replace")
