"""The routes about one request: what is known of it, what was said, how it streamed, and how to send it again."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.advice import read_advice
from proxy.admin.answers import NotFoundError, QuestionError, json_answer, text_answer, whole_number
from proxy.admin.blobs import blob_answer
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.excerpt import excerpt
from proxy.admin.feedback import feedback_shape
from proxy.admin.instruments import Instruments
from proxy.admin.receipt import read_receipt
from proxy.admin.shapes import body_shape, request_shape
from proxy.admin.snippets import FORMS, snippet
from proxy.admin.timing import read_timing
from proxy.admin.when import read_instant
from proxy.conversation import Conversation, is_streaming, read_conversation, transcript_of
from proxy.conversation.document import encodable, read_document
from proxy.conversation.history import read_history
from proxy.conversation.stream import BOUNDS_MS, StreamEvent, read_gaps, read_stream
from proxy.errors import StoreBusy, StoreDamaged, StoreError
from proxy.records import Exchange
from proxy.store import AsyncStoreReader, query
from proxy.store import detail as ask
from proxy.store.detail import Detail, Turn, stored_exchange
from proxy.store.feedback import feedback_on
from proxy.store.filter import Filter, both, parse_filter, started
from proxy.store.listing import NEWEST_FIRST, Cursor, Sort
from proxy.store.query import RequestRow
from proxy.store.row import StoredBody
from proxy.wire.decode import content_codings, decode

_MOST_EVENTS: Final = 5000
"""Sent at a time."""
_COMPARED: Final = 2 * 1024 * 1024
"""An earlier request that is larger is not read to see what is new."""
_FORMS: Final = (*FORMS, "json")
_WITHHELD: Final = {
    "erased": "it was deleted on request",
    "redaction_failed": "redaction failed, so that no byte was kept",
    "sampled_out": "`record.sample` left it out",
}
_RANKED: Final = 20
"""Of fewer requests a percentile says nothing."""


class Found(msgspec.Struct, frozen=True):
    """A request with all that the store has of it."""

    row: RequestRow
    known: Detail
    request: StoredBody
    response: StoredBody

    @property
    def exchange(self) -> Exchange:
        """What is left of the exchange."""
        return stored_exchange(self.row, self.known, self.request, self.response)


class DetailDesk:
    """The endpoints, over the instruments."""

    def __init__(self, instruments: Instruments) -> None:
        self._read = instruments

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes about one request."""
        return [
            DeclaredRoute("/api/requests/{id}", self.request, least="viewer"),
            DeclaredRoute("/api/requests/{id}/conversation", self.conversation, least="viewer"),
            DeclaredRoute("/api/requests/{id}/events", self.events, least="viewer"),
            DeclaredRoute("/api/requests/{id}/text/{side}", self.text, least="viewer"),
            DeclaredRoute("/api/requests/{id}/blobs/{number}", self.blob, least="viewer"),
            DeclaredRoute("/api/requests/{id}/code", self.code, least="viewer"),
            DeclaredRoute("/api/requests/{id}/neighbours", self.neighbours, least="viewer"),
        ]

    async def request(self, request: Request) -> Response:
        """One request with everything that is known of it but what was said."""
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
            row = found.row
            assert store is not None  # noqa: S101 - or nothing was found
            rank = await store.run(ask.rank(row)) if row.duration_ms is not None else None
            turn: Turn | None = None
            if row.session is not None:
                turn = await store.run(ask.turn_of(row))
            attempts = await store.run(ask.attempts(row))
            trace = await store.run(ask.trace(row)) if row.trace_id is not None else []
            said = await store.run(feedback_on(row.id))
        known = found.known
        return json_answer(
            request_shape(row)
            | {
                "request": body_shape(found.request),
                "response": body_shape(found.response),
                "kept": {side: _kept(found, side) for side in ("request", "response")},
                "timing": read_timing(known),
                "receipt": read_receipt(row, known),
                "rank": rank if rank is not None and rank.requests >= _RANKED else None,
                "turn": turn,
                "attempts": attempts if len(attempts) > 1 else [],
                "trace": trace if len(trace) > 1 else [],
                "advice": read_advice(row),
                "feedback": [feedback_shape(each, asker(request)) for each in said],
                **{name: getattr(known, name) for name in _SHOWN},
                "problems": [each for each in known.problems.split(",") if each],
                "privacy": [each for each in known.privacy.split(",") if each],
                "has_timeline": bool(found.response.timeline.pairs),
            }
        )

    async def conversation(self, request: Request) -> Response:
        """What was said: the turn at the end, or the messages that are asked for."""
        start = whole_number(request, "from", None, 0, 10**9)
        end = whole_number(request, "to", None, 0, 10**9)
        is_full = _flag(request, "full")
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
            earlier = await _earlier(store, found.row) if store is not None else None
        return await asyncio.to_thread(_conversation, found, earlier, start, end, is_full)

    async def events(self, request: Request) -> Response:
        """The events of a stream: when each came and what it added."""
        start = whole_number(request, "from", 0, 0, 10**9) or 0
        limit = whole_number(request, "limit", _MOST_EVENTS, 1, _MOST_EVENTS) or 1
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
        return await asyncio.to_thread(_events, found, start, limit)

    async def text(self, request: Request) -> Response:
        """A body as text, its content coding undone."""
        side = request.path_params["side"]
        if side not in ("request", "response"):
            raise NotFoundError("a request has the sides request and response")
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
        return await asyncio.to_thread(_text, found, side)

    async def blob(self, request: Request) -> Response:
        """A picture, sound or file of the conversation."""
        number = request.path_params["number"]
        if not (number.isascii() and number.isdecimal() and len(number) < 7):
            raise NotFoundError("blobs have numbers")
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
        return await asyncio.to_thread(_blob, found, int(number))

    async def code(self, request: Request) -> Response:
        """The request as something to paste."""
        form = request.query_params.get("as", "curl")
        if form not in _FORMS:
            raise QuestionError(f"as: {form} is none of {', '.join(_FORMS)}")
        async with self._read.store() as store:
            found = await find_request(store, request.path_params["id"])
        return await asyncio.to_thread(_code, found, form)

    async def neighbours(self, request: Request) -> Response:
        """The requests before and after this one in a list."""
        asked = request.query_params
        sort = Sort.parse(asked["sort"]) if asked.get("sort") else NEWEST_FIRST
        where = both(parse_filter(asked.get("q", "")), self._span(request))
        async with self._read.store() as store:
            row = await store.run(query.request(request.path_params["id"])) if store else None
            if store is None or row is None:
                raise NotFoundError("no request has this id")
            following = await beside(store, row, where, sort)
            previous = await beside(store, row, *ask.backwards(where, sort)) if following.is_known else _TOO_LONG
        is_known = following.is_known and previous.is_known
        return json_answer({"previous": previous.id, "next": following.id, "is_known": is_known})

    def _span(self, request: Request) -> Filter:
        now, asked = self._read.clock.wall_ms(), request.query_params
        start, end = (read_instant(asked[name], now) if asked.get(name) else None for name in ("from", "to"))
        return started(from_ms=start, to_ms=end)


_SHOWN: Final = (
    *("provider", "no_store", "response_id", "service_tier", "speed", "processing", "region", "reader"),
    *("cost_model", "cost_reason", "price_date"),
)


async def find_request(store: AsyncStoreReader | None, wanted: str) -> Found:
    """Return the request with this id, or whose id begins so. Raises NotFoundError."""
    row = await store.run(query.request(wanted)) if store is not None else None
    known = await store.run(ask.detail(row.seq)) if store is not None and row is not None else None
    if store is None or row is None or known is None:
        raise NotFoundError("no request has this id")
    request = await store.run(query.body(row.id, "request"))
    response = await store.run(query.body(row.id, "response"))
    return Found(row, known, request or _NOTHING, response or _NOTHING)


_NOTHING: Final = StoredBody((), 0, b"", None)


async def _earlier(store: AsyncStoreReader, row: RequestRow) -> Found | None:
    """Return the request before this one in its session, if it is small enough to be read for a comparison."""
    if row.session is None:
        return None
    turn = await store.run(ask.turn_of(row))
    if turn.previous is None:
        return None
    found = await find_request(store, turn.previous)
    return found if found.request.size + found.response.size <= _COMPARED else None


class _Beside(NamedTuple):
    """The request beside another one in a list."""

    id: str | None
    """None: there is none, or nobody knows."""
    is_known: bool = True


_TOO_LONG: Final = _Beside(None, is_known=False)
"""In the middle of a list by cost nearly every part of it may hold the next one: nobody waits for that."""


async def beside(store: AsyncStoreReader, row: RequestRow, where: Filter, sort: Sort) -> _Beside:
    place = await store.run(ask.place(row, sort))
    try:
        page = await store.run(query.page(where, sort=sort, limit=1, after=Cursor(sort, place)))
    except (StoreBusy, StoreDamaged):
        raise
    except StoreError:
        return _TOO_LONG
    if page.rows:
        return _Beside(page.rows[0].id)
    return _Beside(None) if page.reached is None else _TOO_LONG


def _conversation(found: Found, earlier: Found | None, start: int | None, end: int | None, is_full: bool) -> Response:
    return json_answer(said_in(found, earlier, start=start, end=end, is_full=is_full))


def said_in(
    found: Found,
    earlier: Found | None,
    *,
    start: int | None = None,
    end: int | None = None,
    is_full: bool = False,
    is_news: bool = False,
) -> dict[str, Any]:
    """Return what was said in a request; `is_news`: only what was not said in the earlier one."""
    said = read_conversation(found.exchange)
    before = read_conversation(earlier.exchange) if earlier is not None else None
    row = found.row
    history = read_history(said.messages, before)
    if is_news and history.known:
        start = history.known
    shown = excerpt(
        said,
        history,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        start=start,
        end=end,
        is_full=is_full,
    )
    kept = {side: _kept(found, side) for side in ("request", "response")}
    return {"id": row.id, "earlier": earlier.row.id if earlier else None, "kept": kept, **msgspec.structs.asdict(shown)}


def _kept(found: Found, side: str) -> dict[str, Any]:
    """Say how much of a body is there, and why not all of it."""
    body = found.request if side == "request" else found.response
    if body.head is not None or not body.size:
        state = "whole" if body.is_whole or not body.size else "cut"
        return {"state": state, "size": body.size, "edit": body.edit, "reason": None}
    reason = next((_WITHHELD[each] for each in found.known.privacy.split(",") if each in _WITHHELD), None)
    if reason is None and found.known.no_store in (side, "all"):
        reason = "the caller asked not to keep it"
    reason = reason or "it is older than `retention.bodies`, or `record.bodies` did not keep it"
    return {"state": "none", "size": body.size, "edit": body.edit, "reason": reason}


def _events(found: Found, start: int, limit: int) -> Response:
    transcript, _ = transcript_of(found.exchange)
    timeline = found.response.timeline
    events: list[StreamEvent] = []
    if is_streaming(transcript, read_document(transcript.request)):
        headers = found.exchange.end.headers
        codings = content_codings(headers)
        ends = [end for end, _ in timeline.pairs] if codings else []
        offsets = decode(found.response.head or b"", codings, ends=ends).offsets
        events = read_stream(transcript, timeline, offsets)
    return json_answer(
        {
            "total": len(events),
            "from": start,
            "events": events[start : start + limit],
            "pieces": len(timeline.pairs),
            "has_times": bool(timeline.pairs),
            "bounds_ms": BOUNDS_MS,
            "gaps": read_gaps(events),
        }
    )


def _text(found: Found, side: str) -> Response:
    body = found.request if side == "request" else found.response
    if body.head is None and body.size:
        raise NotFoundError(f"the {side}'s body is not stored: {_kept(found, side)['reason']}")
    transcript, _ = transcript_of(found.exchange)
    data, tail = (
        (transcript.request, transcript.request_tail)
        if side == "request"
        else (transcript.response, transcript.response_tail)
    )
    text = data.decode("utf-8", "replace")
    return text_answer(f"{text}\n\n…\n\n{tail.decode('utf-8', 'replace')}" if tail else text)


def _blob(found: Found, number: int) -> Response:
    blobs = read_conversation(found.exchange).blobs
    if number >= len(blobs):
        raise NotFoundError(f"this request has {len(blobs)} blobs")
    return blob_answer(blobs[number], f"{found.row.id}-{number}")


def _code(found: Found, form: str) -> Response:
    exchange = found.exchange
    if form != "json":
        return text_answer(snippet(form, found.row, exchange, found.request))
    transcript, _ = transcript_of(exchange)
    return json_answer(_as_json(found, transcript.request, transcript.response, read_conversation(exchange)))


def _as_json(found: Found, request: bytes, response: bytes, said: Conversation) -> dict[str, Any]:
    return {
        "record": request_shape(found.row),
        "request": encodable(read_document(request)),
        "response": encodable(read_document(response)) if read_document(response) is not None else None,
        "answers": said.answers,
    }


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "0")
    if value not in ("0", "1"):
        raise QuestionError(f"{name}: 0 or 1")
    return value == "1"
