"""The routes about budgets: pace and projected end, who spends, earlier windows, why a refusal, and another limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.accounts import as_configured, configured_budgets, key_of, window_ms
from proxy.admin.answers import NotFoundError, QuestionError, json_answer, whole_number
from proxy.admin.declared import DeclaredRoute
from proxy.admin.explaining import (
    ExplainedShape,
    all_policies,
    explained_shape,
    find_policy,
    needs,
    read_explained,
    read_typical,
)
from proxy.admin.instruments import Instruments
from proxy.admin.pace import REFUSED_MS, Pace, lookback_ms, pace_of
from proxy.admin.scopes import Scope, Sums, scope_of, templates_by_identity
from proxy.admin.segments import read_segment
from proxy.admin.shapes import AccountShape, account_shape
from proxy.admin.sheets import Row
from proxy.admin.simulation import Hourly, Simulated, simulate
from proxy.admin.twins import Listing, Twins
from proxy.admin.urgency import CONSIDERED, Order, named, ordered, read_order, urgency
from proxy.config import Config
from proxy.gates.budgets import NANO, BudgetTemplate
from proxy.gates.refusal import read_refusal
from proxy.gates.windows import window_at
from proxy.ledger.accounts import AccountRow
from proxy.ledger.reading import read_accounts, read_history
from proxy.store import AsyncStoreReader
from proxy.store import query as ask
from proxy.store.filter import both, parse_filter, started
from proxy.store.query import Page
from proxy.store.rollups import DAY_MS, HOUR_MS, Dimension
from proxy.store.spending import Leaf, leaves, spent_by_minute, spent_in

MONTH_MS: Final = 30 * DAY_MS
_POINTS: Final = 200
_BY_MINUTE_MS: Final = 6 * HOUR_MS
_BY_MINUTE: Final = 50_000
"""Rows from which a curve of a short window is drawn: a tenth of a second."""
_TOP: Final = 5
_REFUSALS: Final = 1000
"""The newest that are looked through for those of one budget."""
_SHOWN: Final = 20
_LISTED: Final = 100


class BudgetShape(AccountShape, frozen=True, kw_only=True):
    """One budget window and its pace."""

    key: str | None
    """The key it belongs to. None: it is one across keys."""
    window: str
    """`minute` … `month`, `total`, `rolling`; '': the budget is not configured any more."""
    timezone: str
    models: tuple[str, ...]
    """Empty: all."""
    per: str | None
    pace: Pace


class Spender(msgspec.Struct, frozen=True):
    """Somebody who spent under a budget in its window."""

    name: str
    """'': requests that have none."""
    requests: int
    cost_nano_usd: int


COLUMNS: Final = (
    *("budget", "scope", "key", "window", "timezone", "is_hard", "limit_usd", "spent_usd", "reserved_usd"),
    *("remaining_usd", "overrun_usd", "window_start", "resets_at", "projected_usd", "runs_out_at", "state", "pace"),
)
"""Of the twins."""
_PAGE: Final = 500


def _told(shape: BudgetShape) -> Row:
    """Return a row of the twins."""
    row: dict[str, Any] = {name: getattr(shape, name) for name in BudgetShape.__struct_fields__ if name in COLUMNS}
    for name in ("limit", "spent", "reserved", "remaining", "overrun"):
        row[f"{name}_usd"] = getattr(shape, f"{name}_nano_usd") / NANO
    projected = shape.pace.projected_nano_usd
    row["projected_usd"] = None if projected is None else projected / NANO
    return row | {"runs_out_at": shape.pace.runs_out_at, "state": shape.pace.state, "pace": shape.pace.text}


class BudgetDesk:
    """The endpoints about budgets."""

    def __init__(self, instruments: Instruments, config: Config, twins: Twins) -> None:
        self._read = instruments
        self._config = config
        self._twins = twins

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes."""
        return [
            DeclaredRoute("/api/budgets", self.budgets, least="viewer"),
            *self._twins.routes("/api/budgets", Listing("budgets", lambda _: COLUMNS, self._pages), least="viewer"),
            DeclaredRoute("/api/budgets/{name}/explain", self.explain, least="viewer"),
            DeclaredRoute("/api/budgets/{name}/simulate", self.simulate, least="viewer"),
            DeclaredRoute("/api/budgets/{name}", self.budget, least="viewer"),
        ]

    async def budgets(self, request: Request) -> Response:
        """The budgets in their current windows, with their pace."""
        limit = whole_number(request, "limit", _LISTED, 1, CONSIDERED) or _LISTED
        rows, templates, order = await self._asked(request)
        pressing = await self._pressing_first(rows, templates)
        is_by_urgency = order == "urgency"
        shown = pressing[:limit] if is_by_urgency else await self._shapes(ordered(rows, order)[:limit], templates)
        many = sum(shape.pace.state != "ok" for shape in pressing)
        return json_answer({"budgets": shown, "count": len(rows), "pressing": many})

    async def budget(self, request: Request) -> Response:
        """One budget: its scopes, what was spent in its window and by whom, earlier windows, and what it refused."""
        name, scope = read_segment(request.path_params["name"]), request.query_params.get("scope")
        rows, templates = await asyncio.to_thread(self._accounts)
        mine = [row for row in rows if row.budget == name]
        if not mine:
            raise NotFoundError("no budget has this name")
        row = next((each for each in mine if scope is None or each.scope == scope), None)
        if row is None:
            raise NotFoundError("nobody of this scope has used the budget in its current window")
        (shape,) = await self._shapes([row], templates)
        history = await asyncio.to_thread(read_history, self._read.data_dir / "ledger.db", name)
        async with self._read.store() as store:
            found = await self._of_records(store, row, templates.get(name))
        return json_answer(
            {
                "budget": shape,
                "scopes": [{"scope": each.scope, "spent_nano_usd": each.spent_nano_usd} for each in mine[:1000]],
                "windows": [
                    account_shape(each)
                    for each in reversed(history)
                    if each.scope == row.scope and each.window_start_ms
                ][:100],
            }
            | found
        )

    async def explain(self, request: Request) -> Response:
        """Why a request was refused, or whether the next one of a key would be."""
        name, asked = read_segment(request.path_params["name"]), request.query_params
        refusal = await self._refusal(asked["request"]) if asked.get("request") else None
        key = asked.get("key") or (refusal["key"] if refusal else None) or key_of(name)
        if refusal is None and key is None:
            raise QuestionError("request or key: say which request was refused, or whose next one is meant")
        explained: list[ExplainedShape] = []
        typical = None
        if key is not None:
            typical, explained = await asyncio.to_thread(self._explained, key, asked.get("model"), asked.get("user"))
        return json_answer({"budget": name, "refusal": refusal, "key": key, "typical": typical, "budgets": explained})

    async def simulate(self, request: Request) -> Response:
        """What another limit would have refused in the last 30 days: an estimate from sums by hour."""
        name = read_segment(request.path_params["name"])
        _, templates = await asyncio.to_thread(self._accounts)
        template = templates.get(name)
        if template is None:
            raise NotFoundError("no configured budget has this name")
        limit = _limit(request)
        if template.window == "minute" or (template.rolling_ms or HOUR_MS) < HOUR_MS:
            raise QuestionError("limit_usd: windows shorter than an hour cannot be told from sums by hour")
        async with self._read.store() as store:
            return json_answer(await self._simulated(store, template, limit))

    async def _pages(self, request: Request) -> AsyncGenerator[Sequence[Row], None]:
        rows, templates, order = await self._asked(request)
        rest = ordered(rows, order)
        if order == "urgency":
            yield [_told(shape) for shape in await self._pressing_first(rows, templates)]
            rest = rest[CONSIDERED:]
        for start in range(0, len(rest), _PAGE):
            shapes = await self._shapes(rest[start : start + _PAGE], templates)
            yield [_told(shape) for shape in shapes]

    async def _asked(self, request: Request) -> tuple[list[AccountRow], dict[str, BudgetTemplate], Order]:
        order = read_order(request.query_params.get("sort", "urgency"))
        rows, templates = await asyncio.to_thread(self._accounts)
        return named(rows, request.query_params.get("find", "")), templates, order

    async def _pressing_first(
        self, rows: Sequence[AccountRow], templates: dict[str, BudgetTemplate]
    ) -> list[BudgetShape]:
        shapes = await self._shapes(ordered(rows, "urgency")[:CONSIDERED], templates)
        return sorted(shapes, key=lambda shape: urgency(shape, shape.pace.state))

    def _accounts(self) -> tuple[list[AccountRow], dict[str, BudgetTemplate]]:
        made = [each for policy in all_policies(self._config).values() for each in policy.budgets]
        templates = templates_by_identity([*made, *configured_budgets(self._config)])
        rows = read_accounts(self._read.data_dir / "ledger.db", self._read.clock)
        return as_configured(rows, list(templates.values()), self._read.clock.wall_ms()), templates

    async def _shapes(self, rows: Sequence[AccountRow], templates: dict[str, BudgetTemplate]) -> list[BudgetShape]:
        now = self._read.clock.wall_ms()
        sums: dict[tuple[Dimension, int], Sums] = {}
        shapes = []
        async with self._read.store() as store:
            refused = await _refused_lately(store, now) if store else {}
            for row in rows:
                template = templates.get(row.budget)
                scope = scope_of(template, row.scope) if template else None
                back = lookback_ms(window_ms(template, now) if template else None)
                lately, lately_ms = _since_start(row, now)
                if scope is not None and not scope.is_by_day and store is not None:
                    place = scope.dimension, back
                    if place not in sums:
                        sums[place] = Sums(await store.run(leaves(scope.dimension, from_ms=now - back, to_ms=now + 1)))
                    lately = sums[place].spent(scope)
                    lately_ms = back
                pace = pace_of(row, lately, lately_ms, now, refused.get(row.budget, 0))
                shapes.append(_shape(row, template, pace))
        return shapes

    async def _of_records(
        self, store: AsyncStoreReader | None, row: AccountRow, template: BudgetTemplate | None
    ) -> dict[str, Any]:
        now = self._read.clock.wall_ms()
        scope = scope_of(template, row.scope) if template else None
        start = row.window_start_ms or now - (row.rolling_ms or 3 * MONTH_MS)
        empty: dict[str, Any] = {"spent": None, "spenders": {}, "refusals": [], "refused": 0, "refused_of": 0}
        if store is None:
            return empty
        refusals = await self._refusals(store, row.budget, start)
        if scope is None:
            return empty | refusals
        found = await store.run(spent_in(scope.dimension, from_ms=start, to_ms=now + 1, value=scope.value))
        hours = _hourly(
            (each.at, each.requests, each.cost_nano_usd) for each in found if scope.matches(each.value, each.part)
        )
        step = DAY_MS if scope.is_by_day else HOUR_MS
        if now - start <= _BY_MINUTE_MS and scope.key_and_model and sum(each.requests for each in found) <= _BY_MINUTE:
            rows = await store.run(spent_by_minute(from_ms=start, to_ms=now + 1, key=scope.value))
            hours = _hourly(
                (each.at, each.requests, each.cost_nano_usd)
                for each in rows
                if scope.matches(*scope.key_and_model(each.value, each.part))
            )
            step = 60_000
        return refusals | {
            "spent": _curve(hours, start, now, step),
            "spenders": await _spenders(store, scope, start, now),
        }

    async def _refusals(self, store: AsyncStoreReader, budget: str, since: int) -> dict[str, Any]:
        where = both(parse_filter("error:budget_exceeded"), started(from_ms=since))
        page: Page = await store.run(ask.page(where, limit=_REFUSALS))
        told = [(row, read_refusal(row.error_message or "")) for row in page.rows]
        mine = [(row, said) for row, said in told if said is not None and said.budget == budget]
        shown = [
            {
                "id": row.id,
                "at": row.started_at,
                "key": row.key,
                "user": row.user,
                "model": row.model_requested,
                "needed_nano_usd": said.needed_nano_usd,
                "room_nano_usd": said.room_nano_usd,
            }
            for row, said in mine[:_SHOWN]
        ]
        return {"refusals": shown, "refused": len(mine), "refused_of": len(page.rows)}

    async def _refusal(self, wanted: str) -> dict[str, Any]:
        async with self._read.store() as store:
            row = await store.run(ask.request(wanted)) if store else None
        if row is None:
            raise NotFoundError("no request has this id")
        told = read_refusal(row.error_message or "")
        if told is None:
            raise QuestionError("request: it was not refused by a budget")
        return {
            "id": row.id,
            "at": row.started_at,
            "key": row.key,
            "model": row.model_requested,
            "text": row.error_message,
            "budget": told.budget,
            "needed_nano_usd": told.needed_nano_usd,
            "room_nano_usd": told.room_nano_usd,
            "fits_at": told.fits_at,
        }

    def _explained(self, key: str, model: str | None, user: str | None) -> tuple[dict[str, Any], list[ExplainedShape]]:
        policy = find_policy(self._config, key)
        typical = read_typical(self._config, policy, model or None)
        needed = needs(self._config, typical, None)
        found = read_explained(self._config, policy, typical.model, user or None, self._read.clock.wall_ms())
        shown = {
            "model": typical.model,
            "request_bytes": typical.request_bytes,
            "sample": typical.sample,
            "needed_nano_usd": needed,
        }
        return shown, [explained_shape(each, needed) for each in found]

    async def _simulated(self, store: AsyncStoreReader | None, template: BudgetTemplate, limit: int) -> Simulated:
        now = self._read.clock.wall_ms()
        start = now - MONTH_MS
        found = []
        if store is not None:
            question = spent_in(_summed_for(template), from_ms=start, to_ms=now + 1)
            found = await store.run(question)
        scopes: dict[str, list[tuple[int, int, int]]] = {}
        for each in found:
            scope = each.value if template.per else ""
            within = scope_of(template, scope)
            if within is not None and (within.matches(each.value, each.part)):
                scopes.setdefault(scope, []).append((each.at, each.requests, each.cost_nano_usd))
        blocked = nano = 0.0
        windows: set[tuple[str, int]] = set()
        hit: set[tuple[str, int]] = set()
        window_of = cache(lambda at: _window(template, at))
        for scope, rows in scopes.items():
            some, money, seen, reached = simulate(_hourly(rows), limit, window_of, template.rolling_ms)
            blocked, nano = blocked + some, nano + money
            windows |= {(scope, window) for window in seen}
            hit |= {(scope, window) for window in reached}
        return Simulated(
            limit_nano_usd=limit,
            start=start,
            end=now,
            requests=sum(each[1] for rows in scopes.values() for each in rows),
            blocked=round(blocked),
            blocked_nano_usd=round(nano),
            windows=len(windows),
            windows_hit=len(hit),
        )


async def _refused_lately(store: AsyncStoreReader, now: int) -> dict[str, int]:
    """Return how many requests each budget refused lately: of the newest that were refused."""
    where = both(parse_filter("error:budget_exceeded"), started(from_ms=now - REFUSED_MS))
    page: Page = await store.run(ask.page(where, limit=_REFUSALS))
    told = [read_refusal(row.error_message or "") for row in page.rows]
    return Counter(each.budget for each in told if each is not None)


def _shape(row: AccountRow, template: BudgetTemplate | None, pace: Pace) -> BudgetShape:
    account = account_shape(row)
    window = (template.window or "rolling") if template else ""
    return BudgetShape(
        **{name: getattr(account, name) for name in AccountShape.__struct_fields__},
        key=key_of(row.budget),
        window=window,
        timezone=str(template.zone) if template else "UTC",
        models=template.models.patterns if template else (),
        per=template.per if template else None,
        pace=pace,
    )


def _since_start(row: AccountRow, now_ms: int) -> tuple[int, int]:
    """Return what the ledger says was spent, and since when: the rate of what sums cannot tell."""
    if row.rolling_ms is not None:
        return row.spent_nano_usd, row.rolling_ms
    return row.spent_nano_usd, max(1, now_ms - row.window_start_ms) if row.window_start_ms else 0


def _hourly(rows: Any) -> list[Hourly]:
    sums: dict[int, tuple[int, int]] = {}
    for at, requests, nano_usd in rows:
        before = sums.get(at, (0, 0))
        sums[at] = before[0] + requests, before[1] + nano_usd
    return [Hourly(at, *sums[at]) for at in sorted(sums)]


def _curve(hours: Sequence[Hourly], start: int, now: int, length: int) -> dict[str, list[int]]:
    """Return what was spent up to the end of each step: at most `_POINTS` of them."""
    step = length * max(1, -(-(now - start) // (length * _POINTS)))
    ends = [*range(start + step, now, step), now]
    values, total, at = [], 0, 0
    for end in ends:
        while at < len(hours) and hours[at].at < end:
            total += hours[at].nano_usd
            at += 1
        values.append(total)
    return {"at": [start, *ends], "nano_usd": [0, *values]}


async def _spenders(store: AsyncStoreReader, scope: Scope, start: int, now: int) -> dict[str, list[Spender]]:
    """Return who spent most, by each grouping in which the budget's spending is summed."""
    span = {"from_ms": start, "to_ms": now + 1}
    if scope.dimension == "all":
        dimensions: tuple[Dimension, ...] = ("key", "model", "user")
        found = {name: await store.run(leaves(name, **span)) for name in dimensions}
        return {name: _ranked([(leaf.names[0], leaf) for leaf in some]) for name, some in found.items()}
    rows = [leaf for leaf in await store.run(leaves(scope.dimension, **span)) if scope.matches(*leaf.names)]
    place = 1 if scope.dimension == "key_model" else 0
    name = "user" if scope.dimension == "user" else "model"
    return {name: _ranked([(leaf.names[place], leaf) for leaf in rows])}


def _ranked(rows: Sequence[tuple[str, Leaf]]) -> list[Spender]:
    spenders = [Spender(name, leaf.requests, leaf.cost_nano_usd) for name, leaf in rows]
    return sorted(spenders, key=lambda each: (-each.cost_nano_usd, -each.requests))[:_TOP]


def _summed_for(template: BudgetTemplate) -> Dimension:
    if template.per == "user" and (template.models or key_of(template.identity) is not None):
        raise QuestionError("limit_usd: what each user spent with a key or on a model is not summed")
    if template.per == "user":
        if template.window in ("hour", "minute") or (template.rolling_ms or DAY_MS) < DAY_MS:
            raise QuestionError(
                "limit_usd: what each user spent is summed by day: windows of a day and more can be told"
            )
        return "user"
    if template.per == "key" or key_of(template.identity) is not None:
        return "key_model"
    return "model" if template.models else "all"


def _window(template: BudgetTemplate, at_ms: int) -> int:
    return 0 if template.window is None else window_at(template.window, template.zone, at_ms)[0]


def _limit(request: Request) -> int:
    text = request.query_params.get("limit_usd", "")
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit <= 9_000_000:
        raise QuestionError("limit_usd: an amount in dollars, such as 25 or 0.5")
    return round(limit * NANO)
