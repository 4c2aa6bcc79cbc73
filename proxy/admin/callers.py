"""The endpoints about who sent requests: sessions, which are conversations, and users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.amounts import NANO
from proxy.admin.answers import NotFoundError, QuestionError, json_answer, whole_number
from proxy.admin.declared import DeclaredRoute
from proxy.admin.detail import Found, find_request, said_in
from proxy.admin.instruments import Instruments
from proxy.admin.segments import read_segment
from proxy.admin.shapes import request_shape
from proxy.admin.sheets import Row
from proxy.admin.twins import Listing, Twins, chosen, patiently
from proxy.admin.when import read_instant
from proxy.store import AsyncStoreReader
from proxy.store import query as ask
from proxy.store.filter import Filter, both, parse_filter, started
from proxy.store.keyset import Order, Place
from proxy.store.previews import Preview, previews
from proxy.store.query import MAX_ROWS, RequestRow
from proxy.store.sessions import COUNTED, SessionPage, SessionRow, cost_before, latest_sessions, session, sessions
from proxy.store.sessions import NEWEST_FIRST as NEWEST_SESSION
from proxy.store.sessions import ORDERS as SESSION_ORDERS
from proxy.store.user import Profile, failures, profile
from proxy.store.users import DEAREST_FIRST, Nameless, UserPage, UserRow, users
from proxy.store.users import ORDERS as USER_ORDERS

DEFAULT_LIMIT: Final = 50
DEFAULT_USERS_SPAN: Final = "now-30d"
MOST_TURNS: Final = 200
"""Of a session at a time."""
MOST_SAID: Final = 20
"""The same with what was said."""
_MOST_BYTES: Final = 8 * 1024 * 1024
"""Of bodies that are read for one answer."""
FILE_ROWS: Final = 100
"""Of one question of a file."""
_FAILURES: Final = 10
_SESSIONS: Final = 10
SESSION_COLUMNS: Final = (*SessionRow.__struct_fields__, "cost_usd", "first_message", "last_answer")
USER_COLUMNS: Final = (*UserRow.__struct_fields__, "cost_usd")
_TURN_FIELDS: Final = (
    *("id", "started_at", "key", "user", "upstream", "endpoint", "model", "model_requested", "status", "outcome"),
    *("error_code", "error_message", "ttft_ms", "duration_ms", "input_tokens", "cached_input_tokens", "output_tokens"),
    *("cost_nano_usd", "is_unpriced", "finish_reason", "attempt", "streaming"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a list are meant, and in which order."""

    where: Filter
    from_ms: int | None
    to_ms: int | None
    order: Order
    after: Place | None


class Callers:
    """The endpoints."""

    def __init__(self, instruments: Instruments, twins: Twins) -> None:
        self._read = instruments
        self._twins = twins

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes; the files come before what could be anybody's name."""
        listed = Listing("sessions", lambda request: chosen(request, SESSION_COLUMNS, SESSION_COLUMNS), self._sessions)
        named = Listing("users", lambda request: chosen(request, USER_COLUMNS, USER_COLUMNS), self._users)
        return [
            DeclaredRoute("/api/sessions", self.sessions, least="viewer"),
            *self._twins.routes("/api/sessions", listed, least="viewer"),
            DeclaredRoute("/api/sessions/{id}", self.session, least="viewer"),
            DeclaredRoute("/api/users", self.users, least="viewer"),
            *self._twins.routes("/api/users", named, least="viewer"),
            DeclaredRoute("/api/users/{id}", self.user, least="viewer"),
        ]

    async def sessions(self, request: Request) -> Response:
        """One page of sessions."""
        wanted = self._wanted(request, SESSION_ORDERS, NEWEST_SESSION)
        limit = whole_number(request, "limit", DEFAULT_LIMIT, 1, MAX_ROWS) or 1
        async with self._read.store() as store:
            page = await store.run(_asked_sessions(wanted, limit)) if store else SessionPage([], None, 0)
        return json_answer(
            {
                "sessions": page.rows,
                "next_before": str(page.next) if page.next else None,
                "count": None if page.count is None else min(page.count, COUNTED),
                "is_count_exact": page.count is not None and page.count <= COUNTED,
                "searched_to": page.searched_to,
            }
        )

    async def session(self, request: Request) -> Response:
        """A session and some of its turns."""
        name = read_segment(request.path_params["id"])
        start = whole_number(request, "from", 0, 0, 10**9) or 0
        has_said = _flag(request, "said")
        most = MOST_SAID if has_said else MOST_TURNS
        limit = whole_number(request, "limit", most, 1, most) or 1
        async with self._read.store() as store:
            row = await store.run(session(name)) if store else None
            if store is None or row is None:
                raise NotFoundError("no session has this name")
            # One more in front: what it said is not said again.
            turns = await store.run(ask.turns(name, max(0, start - 1), limit + min(start, 1)))
            spent = await store.run(cost_before(name, start))
            found = await _found(store, turns) if has_said else {}
        earlier, turns = turns[: min(start, 1)], turns[min(start, 1) :]
        said = await asyncio.to_thread(_said, [*earlier, *turns], found) if has_said else {}
        return json_answer(
            {"session": row, "from": start, "turns": _turns(turns, earlier[0] if earlier else None, start, spent, said)}
        )

    async def users(self, request: Request) -> Response:
        """One page of users."""
        wanted = self._wanted(request, USER_ORDERS, DEAREST_FIRST)
        limit = whole_number(request, "limit", DEFAULT_LIMIT, 1, MAX_ROWS) or 1
        start, end = self._span(wanted)
        nobody = UserPage([], None, 0, Nameless(requests=0, cost_nano_usd=0))
        async with self._read.store() as store:
            page = await store.run(_asked_users(wanted, start, end, limit)) if store else nobody
        return json_answer(
            {
                "users": page.rows,
                "next_before": str(page.next) if page.next else None,
                "count": page.count,
                "nameless": page.nameless,
                "searched_to": page.searched_to,
                "from": start,
                "to": end,
            }
        )

    async def user(self, request: Request) -> Response:
        """What one user did: sums by step, models, sessions, and what failed last."""
        name = read_segment(request.path_params["id"])
        wanted = self._wanted(request, USER_ORDERS, DEAREST_FIRST)
        start, end = self._span(wanted)
        async with self._read.store() as store:
            found: Profile | None = await store.run(profile(name, start, end)) if store else None
            if store is None or found is None:
                raise NotFoundError("no user has this name, or nothing of theirs is stored any more")
            span = started(from_ms=start, to_ms=end)
            failed = await store.run(ask.page(both(failures(name), span), limit=_FAILURES))
            latest = await store.run(latest_sessions(name, from_ms=start, to_ms=end, limit=_SESSIONS))
        return json_answer(
            {
                "id": name,
                "from": start,
                "to": end,
                **msgspec.structs.asdict(found),
                "failed": [request_shape(row) for row in failed.rows],
                "sessions": latest,
            }
        )

    def _wanted(self, request: Request, known: Mapping[str, str], standard: Order) -> Wanted:
        """Return what a request's parameters mean. Raises ClientError."""
        now, asked = self._read.clock.wall_ms(), request.query_params
        start, end = (read_instant(asked[name], now) if asked.get(name) else None for name in ("from", "to"))
        if start is not None and end is not None and start > end:
            raise QuestionError("from, to: `from` comes first")
        after = Place.parse(asked["before"], known) if asked.get("before") else None
        order = Order.parse(asked["sort"], known) if asked.get("sort") else after.order if after else standard
        if after is not None and after.order != order:
            raise QuestionError("before: hand back `next_before` of the page before")
        return Wanted(parse_filter(asked.get("q", "")), start, end, order, after)

    def _span(self, wanted: Wanted) -> tuple[int, int]:
        now = self._read.clock.wall_ms()
        start = read_instant(DEFAULT_USERS_SPAN, now) if wanted.from_ms is None else wanted.from_ms
        return start, now + 1 if wanted.to_ms is None else wanted.to_ms

    async def _sessions(self, request: Request) -> AsyncGenerator[Sequence[Row], None]:
        wanted = self._wanted(request, SESSION_ORDERS, NEWEST_SESSION)
        columns = chosen(request, SESSION_COLUMNS, SESSION_COLUMNS)
        has_texts = "first_message" in columns or "last_answer" in columns
        while True:
            page, texts = await patiently(lambda: self._some_sessions(wanted, has_texts))  # noqa: B023 (awaited here)
            yield [_session_line(row, texts) for row in page.rows]
            if page.next is None:
                return
            wanted = replace(wanted, after=page.next)

    async def _some_sessions(self, wanted: Wanted, has_texts: bool) -> tuple[SessionPage, dict[str, Preview]]:
        async with self._read.files() as store:
            if store is None:
                return SessionPage([], None, 0), {}
            page = await store.run(_asked_sessions(wanted, FILE_ROWS // 2))
            ids = [id_ for row in page.rows for id_ in (row.first_request, row.last_request)]
            return page, (await store.run(previews(ids))) if has_texts else {}

    async def _users(self, request: Request) -> AsyncGenerator[Sequence[Row], None]:
        wanted = self._wanted(request, USER_ORDERS, DEAREST_FIRST)
        start, end = self._span(wanted)
        while True:
            page = await patiently(lambda: self._some_users(wanted, start, end))  # noqa: B023 (awaited here)
            yield [msgspec.structs.asdict(row) | {"cost_usd": _cost_usd(row)} for row in page.rows]
            if page.next is None:
                return
            wanted = replace(wanted, after=page.next)

    async def _some_users(self, wanted: Wanted, start: int, end: int) -> UserPage:
        async with self._read.files() as store:
            return await store.run(_asked_users(wanted, start, end, MAX_ROWS)) if store else UserPage([], None)


def _asked_sessions(wanted: Wanted, limit: int) -> ask.Plan[SessionPage]:
    return sessions(
        wanted.where,
        from_ms=wanted.from_ms,
        to_ms=wanted.to_ms,
        order=wanted.order,
        limit=limit,
        after=wanted.after,
    )


def _asked_users(wanted: Wanted, start: int, end: int, limit: int) -> ask.Plan[UserPage]:
    return users(wanted.where, from_ms=start, to_ms=end, order=wanted.order, limit=limit, after=wanted.after)


def _session_line(row: SessionRow, texts: Mapping[str, Preview]) -> Row:
    """Return a row of a file."""
    first, last = texts.get(row.first_request), texts.get(row.last_request)
    return msgspec.structs.asdict(row) | {
        "cost_usd": _cost_usd(row),
        "first_message": first.message if first else None,
        "last_answer": last.answer if last else None,
    }


def _cost_usd(row: SessionRow | UserRow) -> float | None:
    # Nothing known and something unpriced is not $0.
    return None if row.unpriced and not row.cost_nano_usd else row.cost_nano_usd / NANO


async def _found(store: AsyncStoreReader, turns: Sequence[RequestRow]) -> dict[str, Found]:
    """Return the bodies of turns, as far as they are not too much for one answer."""
    found: dict[str, Found] = {}
    size = 0
    for turn in turns:
        size += turn.request_bytes + turn.response_bytes
        if size > _MOST_BYTES and found:
            break
        found[turn.id] = await find_request(store, turn.id)
    return found


def _said(turns: Sequence[RequestRow], found: Mapping[str, Found]) -> dict[str, dict[str, Any]]:
    """Return what is new in each turn."""
    said: dict[str, dict[str, Any]] = {}
    before: Found | None = None
    for turn in turns:
        here = found.get(turn.id)
        if here is not None:
            said[turn.id] = said_in(here, before, is_news=True)
        before = here
    return said


def _turns(
    turns: Sequence[RequestRow], earlier: RequestRow | None, start: int, spent: int, said: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    costs = accumulate((turn.cost_nano_usd or 0 for turn in turns), initial=spent)
    next(costs)
    rows = []
    for number, (turn, total) in enumerate(zip(turns, costs, strict=True), start + 1):
        shape = request_shape(turn)
        row = {name: shape[name] for name in _TURN_FIELDS}
        row |= {"number": number, "gap_ms": _gap_ms(earlier, turn), "cost_so_far_nano_usd": total}
        rows.append(row | {"said": said.get(turn.id)})
        earlier = turn
    return rows


def _gap_ms(earlier: RequestRow | None, turn: RequestRow) -> float | None:
    """Return how long nothing happened before a turn; below zero: the one before was not over."""
    if earlier is None:
        return None
    return turn.started_at - earlier.started_at - (earlier.duration_ms or 0.0)


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "0")
    if value not in ("0", "1"):
        raise QuestionError(f"{name}: 0 or 1")
    return value == "1"
