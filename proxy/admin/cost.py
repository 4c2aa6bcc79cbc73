"""The routes about cost: by group and by step, against the period before, to the end of the month, and why it changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.accounts import hourly_pace
from proxy.admin.amounts import NANO
from proxy.admin.answers import QuestionError, json_answer, whole_number
from proxy.admin.change import explain_change
from proxy.admin.declared import DeclaredRoute
from proxy.admin.forecast import month_forecast
from proxy.admin.instruments import Instruments
from proxy.admin.saving import Savings
from proxy.admin.sheets import Row
from proxy.admin.twins import Listing, Twins, patiently
from proxy.admin.when import read_instant
from proxy.config import Config
from proxy.store import AsyncStoreReader
from proxy.store import query as ask
from proxy.store.filter import Filter, parse_filter
from proxy.store.query import CostRow, Grouping
from proxy.store.rollups import DAY_MS, HOUR_MS, Dimension
from proxy.store.spending import STEPS, Spent, leaves, spent_by_step, spent_by_tag

GROUPINGS: Final[tuple[Grouping, ...]] = get_args(Grouping)
DEFAULT_SPAN: Final = "now-7d"
MOST_STEPS: Final = 2200
"""Ninety days of hours."""
DEFAULT_TOP: Final = 6
_TAG: Final = "meta."
CHANGES: Final[dict[str, tuple[Dimension, int]]] = {
    "model": ("model", 0),
    "key": ("key", 0),
    "upstream": ("upstream", 0),
    "provider": ("provider", 0),
    "endpoint": ("endpoint", 0),
    "environment": ("environment", 0),
    "user": ("user", 0),
    "prompt": ("prompt", 0),
    "version": ("prompt", 1),
}
"""Where the leaves of each grouping are summed, and which of their names is the group's."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one group of requests cost, and what it did in the period before."""

    group: tuple[str | None, ...]
    """Value of each grouping, in the order asked for. None: the requests have none."""
    requests: int
    cost_nano_usd: int
    unpriced: int
    """Requests that cost something nobody knows."""
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    saving_nano_usd: int | None
    """What cached input saved at list prices. None: sums by this grouping cannot tell, or there is no price."""
    previous: CostRow | None = None
    """None: nothing, or it was not asked for."""


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent in a stretch of time."""

    by: Sequence[str]
    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    previous_from: int | None
    previous_to: int | None
    rows: Sequence[Measured]
    total: Measured


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One group, step by step."""

    name: str | None
    """None: the requests have none."""
    is_others: bool
    """All that is not among the largest."""
    values: int
    """How many groups it stands for."""
    cost_nano_usd: list[int]
    requests: list[int]
    tokens: list[int]
    unpriced: list[int]


class CostDesk:
    """The endpoints about cost."""

    def __init__(self, instruments: Instruments, config: Config, twins: Twins) -> None:
        self._read = instruments
        self._twins = twins
        self._savings = Savings(config.pricing)

    def routes(self) -> list[DeclaredRoute]:
        """Return the routes."""
        return [
            DeclaredRoute("/api/cost", self.cost, least="viewer"),
            *self._twins.routes("/api/cost", Listing("cost", _columns, self._pages), least="viewer"),
            DeclaredRoute("/api/cost/series", self.series, least="viewer"),
            DeclaredRoute("/api/cost/change", self.change, least="viewer"),
            DeclaredRoute("/api/cost/forecast", self.forecast, least="viewer"),
        ]

    async def cost(self, request: Request) -> Response:
        """What was spent, grouped, and in the period before."""
        return json_answer(await self._costs(request))

    async def _pages(self, request: Request) -> AsyncGenerator[Sequence[Row], None]:
        found = await patiently(lambda: self._costs(request))
        yield [_told(row, found.by) for row in found.rows]

    async def _costs(self, request: Request) -> Costs:
        by, span, where = _groupings(request), self._span(request), _filter(request)
        compares = _compares(request)
        before = (2 * span[0] - span[1], span[0])
        async with self._read.store() as store:
            if store is None:
                return _answer(by, span, [], _nothing(), before if compares else None, None)
            rows = await _rows(store, by, span, where)
            total = (await store.run(ask.costs([], from_ms=span[0], to_ms=span[1], where=where)) or [_nothing()])[0]
            past, past_total = [], None
            if compares:
                past = await _rows(store, by, before, where)
                found = await store.run(ask.costs([], from_ms=before[0], to_ms=before[1], where=where))
                past_total = (found or [_nothing()])[0]
            saved = await self._saved(store, by, span, where)
        rows += [_nothing(row.group) for row in past if row.group not in {each.group for each in rows}]
        earlier = {row.group: row for row in past}
        groups = saved.groups if saved else {}
        measured = [_measured(row, groups.get(row.group), earlier.get(row.group)) for row in rows]
        return _answer(by, span, measured, total, before if compares else None, past_total, saved)

    async def series(self, request: Request) -> Response:
        """What was spent, step by step."""
        by, span, where = _groupings(request), self._span(request), _filter(request)
        if len(by) > 1 or any(name == "day" or name.startswith(_TAG) for name in by):
            raise QuestionError("by: one grouping, and neither a day nor a tag")
        step = request.query_params.get("step") or ("hour" if span[1] - span[0] <= 4 * DAY_MS else "day")
        if step not in STEPS:
            raise QuestionError(f"step: {step} is none of {', '.join(STEPS)}")
        if by == ["user"] and where == Filter():
            step = "day"
        length = STEPS[step]
        first = span[0] - span[0] % length
        starts = range(first, max(span[1], first + 1), length)
        if len(starts) > MOST_STEPS:
            raise QuestionError(f"step: at most {MOST_STEPS} steps; take days")
        top = whole_number(request, "top", DEFAULT_TOP, 1, 20) or 1
        grouping = cast("Grouping", by[0]) if by else None
        async with self._read.store() as store:
            question = spent_by_step(grouping, step, from_ms=span[0], to_ms=span[1], where=where)
            rows = await store.run(question) if store else []
        return json_answer(
            {"by": by, "from": span[0], "to": span[1], "step": step, "starts": list(starts)}
            | {"series": lines(rows, starts, top), "pace_nano_usd": self._pace(step)}
        )

    async def change(self, request: Request) -> Response:
        """Why it cost more or less than in the period before."""
        by, span = _groupings(request), self._span(request)
        if len(by) != 1 or by[0] not in CHANGES:
            raise QuestionError(f"by: one of {', '.join(CHANGES)}")
        if request.query_params.get("q"):
            raise QuestionError("q: the difference is told from sums, and these know no filter")
        dimension, place = CHANGES[by[0]]
        before = (2 * span[0] - span[1], span[0])
        async with self._read.store() as store:
            pair = [
                await store.run(leaves(dimension, from_ms=start, to_ms=end)) if store else []
                for start, end in (before, span)
            ]
        return json_answer(
            {"by": by, "from": span[0], "to": span[1], "previous_from": before[0], "previous_to": before[1]}
            | {"change": explain_change(*pair, place=place)}
        )

    async def forecast(self, _: Request) -> Response:
        """Where this month's cost ends if it goes on as it did lately."""
        async with self._read.store() as store:
            return json_answer(await month_forecast(store, self._read.clock.wall_ms()))

    def _pace(self, step: str) -> int | None:
        """Return what may be spent in a step for the tightest budget of all traffic to last."""
        pace = hourly_pace(self._read.budgets, self._read.clock.wall_ms())
        return None if pace is None else pace * STEPS[step] // HOUR_MS

    def _span(self, request: Request) -> tuple[int, int]:
        now = self._read.clock.wall_ms()
        start = read_instant(request.query_params.get("from", DEFAULT_SPAN), now)
        end = read_instant(request.query_params.get("to", "now"), now)
        if start > end:
            raise QuestionError("from, to: `from` comes first")
        return start, end

    async def _saved(
        self, store: AsyncStoreReader, by: Sequence[str], span: tuple[int, int], where: Filter
    ) -> _Saved | None:
        """Return what cached input saved; None: sums by this grouping cannot tell."""
        if not set(by) <= {"key", "model"}:
            return None
        names: list[Grouping] = ["key", "model"] if "key" in by else ["model"]
        rows = await store.run(ask.costs(names, from_ms=span[0], to_ms=span[1], where=where))
        saved = _Saved({}, 0)
        found = await store.run(ask.costs(["provider"], from_ms=span[0], to_ms=span[1], where=where))
        providers = tuple(row.group[0] for row in found if row.group[0])
        at = datetime.fromtimestamp(span[1] / 1000, UTC)
        for row in rows:
            tokens = row.cached_input_tokens, row.cache_write_tokens
            amount = await asyncio.to_thread(self._savings.nano_usd, row.group[-1] or "", providers, at, *tokens)
            saved.add(tuple(row.group[names.index(cast("Grouping", name))] for name in by), amount)
        return saved


class _Saved:
    """What cached input saved, by group and in all."""

    def __init__(self, groups: dict[tuple[str | None, ...], int | None], total: int) -> None:
        self.groups, self.total = groups, total

    def add(self, group: tuple[str | None, ...], amount: int | None) -> None:
        """Add the saving of a part of a group; None: nobody knows it."""
        known = self.groups.get(group)
        self.groups[group] = known if amount is None else (known or 0) + amount
        self.total += amount or 0


def lines(rows: Sequence[Spent], starts: range, top: int) -> list[Line]:
    """Return the dearest groups and one for all others, step by step."""
    totals: dict[str | None, tuple[int, int]] = {}
    for row in rows:
        cost, requests = totals.get(row.value, (0, 0))
        totals[row.value] = cost + row.cost_nano_usd, requests + row.requests
    ranked = sorted(totals, key=lambda name: totals[name], reverse=True)
    kept, rest = (ranked, []) if len(ranked) <= top + 1 else (ranked[:top], ranked[top:])
    places = {name: place for place, name in enumerate(kept)} | dict.fromkeys(rest, len(kept))
    count = len(kept) + bool(rest)
    sums = [[[0] * len(starts) for _ in range(4)] for _ in range(count)]
    for row in rows:
        at = (row.at - starts.start) // starts.step
        if 0 <= at < len(starts):
            amounts = (row.cost_nano_usd, row.requests, row.input_tokens + row.output_tokens, row.unpriced)
            for values, amount in zip(sums[places[row.value]], amounts, strict=True):
                values[at] += amount
    return [
        Line(
            name=kept[place] if place < len(kept) else None,
            is_others=place >= len(kept),
            values=1 if place < len(kept) else len(rest),
            cost_nano_usd=cost,
            requests=requests,
            tokens=tokens,
            unpriced=unpriced,
        )
        for place, (cost, requests, tokens, unpriced) in enumerate(sums)
    ]


async def _rows(store: AsyncStoreReader, by: list[str], span: tuple[int, int], where: Filter) -> list[CostRow]:
    if by and by[0].startswith(_TAG):
        if len(by) > 1 or where != Filter():
            raise QuestionError("by: a tag is summed by itself: without another grouping, and without q")
        return await store.run(spent_by_tag(by[0].removeprefix(_TAG), from_ms=span[0], to_ms=span[1]))
    groupings = cast("list[Grouping]", by)
    return await store.run(ask.costs(groupings, from_ms=span[0], to_ms=span[1], where=where))


def _groupings(request: Request) -> list[str]:
    by = [name for name in request.query_params.get("by", "model").split(",") if name]
    unknown = [name for name in by if name not in GROUPINGS and not (name.startswith(_TAG) and name != _TAG)]
    if unknown:
        raise QuestionError(f"by: {', '.join(sorted(unknown))} is none of {', '.join(GROUPINGS)}, meta.TAG")
    return by


def _filter(request: Request) -> Filter:
    return parse_filter(request.query_params.get("q", ""), is_all=True)


def _compares(request: Request) -> bool:
    compare = request.query_params.get("compare", "")
    if compare not in ("", "prev"):
        raise QuestionError("compare: prev, the period just before of the same length")
    return bool(compare)


def _nothing(group: tuple[str | None, ...] = ()) -> CostRow:
    return CostRow(group=group, **dict.fromkeys(CostRow.__struct_fields__[1:], 0))


def _measured(row: CostRow, saving: int | None, previous: CostRow | None) -> Measured:
    sums = {name: getattr(row, name) for name in CostRow.__struct_fields__}
    return Measured(**sums, saving_nano_usd=saving, previous=previous)


def _answer(
    by: Sequence[str],
    span: tuple[int, int],
    rows: Sequence[Measured],
    total: CostRow,
    before: tuple[int, int] | None,
    past_total: CostRow | None,
    saved: _Saved | None = None,
) -> Costs:
    return Costs(
        by=by,
        start=span[0],
        end=span[1],
        previous_from=before[0] if before else None,
        previous_to=before[1] if before else None,
        rows=rows,
        total=_measured(total, saved.total if saved else None, past_total),
    )


_SUMS: Final = ("requests", "unpriced", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens")


def _columns(request: Request) -> list[str]:
    """Return what stands in a row of the twins."""
    before = ["previous_cost_usd", "previous_requests"] if _compares(request) else []
    return [*_groupings(request), "cost_usd", *_SUMS, "saving_usd", *before]


def _told(row: Measured, by: Sequence[str]) -> Row:
    """Return a row of the twins."""
    told: dict[str, Any] = dict(zip(by, row.group, strict=True)) | {name: getattr(row, name) for name in _SUMS}
    # Nothing known and something unpriced is not $0.
    is_unknown = row.unpriced > 0 and row.cost_nano_usd == 0
    told["cost_usd"] = None if is_unknown else row.cost_nano_usd / NANO
    told["saving_usd"] = None if row.saving_nano_usd is None else row.saving_nano_usd / NANO
    if row.previous is not None:
        told |= {"previous_cost_usd": row.previous.cost_nano_usd / NANO, "previous_requests": row.previous.requests}
    return told
