"""Every question that is asked of the store: SQL, bound values, and how the rows become values.

A query is a value, and a plan makes several of one question; `StoreReader` and `AsyncStoreReader` run them. So the command
line and the admin port ask the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from proxy.errors import ClientError
from proxy.store.filter import Filter, both, started
from proxy.store.listing import NEWEST_FIRST, Cursor, Rows, Sort, Step, find
from proxy.store.payloads import PAYLOAD_SQL, read_bodies
from proxy.store.periods import VERSION, period, summed_by
from proxy.store.rollups import ERRORS, Dimension
from proxy.store.row import StoredBody

T = TypeVar("T")
Side = Literal["request", "response"]
Grouping = Literal[
    "key", "model", "upstream", "provider", "user", "day", "session", "endpoint", "environment", "prompt", "version"
]
MAX_ROWS: Final = 1000
"""One page: a reader must not hold the database, or a screen, for longer."""


class AmbiguousIdError(ClientError):
    """More than one request's id begins like this."""


class Query(NamedTuple, Generic[T]):
    """A question and how to read the answer."""

    sql: str
    parameters: tuple[Any, ...]
    convert: Callable[[Rows], T]


class Plan(NamedTuple, Generic[T]):
    """A question that takes several steps: see `listing`."""

    steps: Callable[[], Generator[Step, Rows, T]]


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the view `requests`, with its place in the order of recording."""

    seq: int
    id: str
    started_at: int
    """Unix ms."""
    key: str | None
    user: str | None
    session: str | None
    trace_id: str | None
    parent_id: str | None
    environment: str | None
    tags: str
    """JSON object."""
    upstream: str
    wire: str
    endpoint: str
    method: str
    path: str
    model_requested: str | None
    model: str | None
    streaming: int
    """1 or 0."""
    status: int | None
    outcome: str
    error_code: str | None
    error_message: str | None
    ttft_ms: float | None
    duration_ms: float | None
    """None: interrupted, nobody saw the end."""
    overhead_ms: float | None
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage: str | None
    """The provider's own usage object, JSON."""
    usage_source: str
    cost_usd: float | None
    """For people; `cost_nano_usd` is exact."""
    cost_source: str
    price_version: str | None
    finish_reason: str | None
    prompt_name: str | None
    prompt_version: str | None
    attempt: int
    request_bytes: int
    response_bytes: int
    mutated: str
    retry_of: str | None = None
    """Id of the first attempt; None: it is the first."""
    cost_nano_usd: int | None
    is_unpriced: int
    """1: it cost something and nobody knows what."""


class Page(msgspec.Struct, frozen=True):
    """Requests in the order that was asked for."""

    rows: list[RequestRow]
    cursor: Cursor | None
    """Where the next page begins; None: there is nothing more."""
    reached: float | int | None = None
    """As far as this value of the order was looked when the time was over; None: as far as it takes."""


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one group of requests cost."""

    group: tuple[str | None, ...]
    """Value of each grouping, in the order asked for. None: the requests have none."""
    requests: int
    cost_nano_usd: int
    """Sum of the known costs."""
    unpriced: int
    """Requests that cost something nobody knows."""
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int


class CounterRow(msgspec.Struct, frozen=True):
    """One counter series. `glassline_cost_usd_total` is in nano-USD."""

    name: str
    labels: dict[str, str]
    value: int


class HistogramRow(msgspec.Struct, frozen=True):
    """One histogram series."""

    name: str
    labels: dict[str, str]
    buckets: list[int]
    """Observations in each bucket, not cumulative; boundaries are in `series.BOUNDARIES`, the last has none."""
    count: int
    sum: float


_COLUMNS: Final = ", ".join(RequestRow.__struct_fields__)


def page(
    where: Filter = Filter(),  # noqa: B008 (frozen)
    *,
    sort: Sort = NEWEST_FIRST,
    limit: int = 50,
    after: Cursor | None = None,
) -> Plan[Page]:
    """Ask for one page of requests; `after`: the cursor of the page before, which also says its order."""

    def steps() -> Generator[Step, Rows, Page]:
        found = yield from find(where, after.sort if after else sort, _page(limit), after.place if after else None)
        rows = yield _BY_SEQ, (msgspec.json.encode(found.seqs).decode(),)
        by_seq = {row.seq: row for row in _request_rows(rows)}
        # What was deleted between two steps is not there.
        return Page([by_seq[seq] for seq in found.seqs if seq in by_seq], found.cursor, found.reached)

    return Plan(steps)


_BY_SEQ: Final = f"SELECT {_COLUMNS} FROM request_rows WHERE seq IN (SELECT value FROM json_each(?))"  # noqa: S608


def turns(session: str, start: int = 0, limit: int = 50) -> Query[list[RequestRow]]:
    """Ask for the requests of a session in the order of time, from the one at `start` on."""
    chosen = "SELECT seq FROM exchanges WHERE session = ? ORDER BY started_at, seq LIMIT ? OFFSET ?"
    sql = f"SELECT {_COLUMNS} FROM request_rows WHERE seq IN ({chosen}) ORDER BY started_at, seq"  # noqa: S608
    return Query(sql, (session, _page(limit), start), _request_rows)


def requests(where: Filter = Filter(), *, limit: int = 50) -> Plan[list[RequestRow]]:  # noqa: B008 (frozen)
    """Ask for the newest requests."""

    def steps() -> Generator[Step, Rows, list[RequestRow]]:
        return (yield from page(where, limit=limit).steps()).rows

    return Plan(steps)


def requests_after(
    seq: int,
    where: Filter = Filter(),  # noqa: B008 (frozen)
    *,
    until: int | None = None,
    limit: int = MAX_ROWS,
) -> Query[list[RequestRow]]:
    """Ask for what was recorded after the row `seq`, and not after the row `until`, oldest first: for followers."""
    # Whatever the filter, only the rows since are read; an index on what it asks for would be read as a whole.
    sql = (
        f"SELECT {_COLUMNS} FROM request_rows WHERE seq IN (SELECT seq FROM exchanges NOT INDEXED"  # noqa: S608
        f" WHERE seq > ? AND seq <= ? AND ({where.sql}) ORDER BY seq LIMIT ?) ORDER BY seq"
    )
    last = _LAST_SEQ if until is None else until
    return Query(sql, (seq, last, *where.parameters, _page(limit)), _request_rows)


_LAST_SEQ: Final = 2**63 - 1


def newest_seq() -> Query[int]:
    """Ask for the place of the newest row; 0: there is none."""
    return Query("SELECT max(seq) FROM exchanges", (), lambda rows: int(rows[0][0] or 0))


def request(prefix: str) -> Query[RequestRow | None]:
    """Ask for the request whose id is, or uniquely begins with, `prefix`. Running it may raise AmbiguousIdError."""
    sql = f"SELECT {_COLUMNS} FROM request_rows WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"  # noqa: S608

    def convert(rows: Rows) -> RequestRow | None:
        found = _request_rows(rows)
        if len(found) > 1 and found[0].id != prefix:
            raise AmbiguousIdError(f"more than one request's id begins with {prefix}")
        return found[0] if found else None

    # U+10FFFF sorts after every character an id can hold.
    return Query(sql, (prefix, prefix + "\U0010ffff"), convert)


def body(exchange_id: str, side: Side) -> Query[StoredBody | None]:
    """Ask for a body of the request with exactly this id; None: there is no such request."""

    def convert(rows: Rows) -> StoredBody | None:
        bodies = read_bodies(rows)
        return None if bodies is None else bodies[side == "response"]

    return Query(PAYLOAD_SQL.format(choice="id = ?"), (exchange_id,), convert)


def pseudonyms(exchange_id: str) -> Query[dict[str, str]]:
    """Ask what the pseudonyms in the texts of a request stand for; empty: none has one, or that is not kept."""
    sql = "SELECT name, original FROM pseudonyms WHERE exchange = (SELECT seq FROM exchanges WHERE id = ?)"
    return Query(sql, (exchange_id,), lambda rows: {str(name): str(original) for name, original in rows})


GROUPINGS: Final[dict[str, str]] = {
    "key": "key",
    "model": "coalesce(model, model_requested)",
    "upstream": "upstream",
    "user": "user",
    "session": "session",
    "endpoint": "endpoint",
    "provider": "provider",
    "environment": "environment",
    "prompt": "prompt_name",
    "version": VERSION.format(name="prompt_name", version="nullif(prompt_version, '')"),
    "day": "date(started_at / 1000, 'unixepoch')",
}


def costs(
    by: Sequence[Grouping],
    *,
    from_ms: int,
    to_ms: int,
    where: Filter = Filter(),  # noqa: B008 (frozen)
    limit: int = MAX_ROWS,
) -> Query[list[CostRow]]:
    """Ask what the requests that started in [from, to) cost, dearest group first; days are UTC days.

    Without a filter, most groupings are answered from roll-ups.
    """
    summed = summed_by(by) if where == Filter() else None
    if summed is not None:
        return _summed_costs(*summed, from_ms, to_ms, limit)
    groups = [GROUPINGS[name] for name in by]
    condition = both(started(from_ms=from_ms, to_ms=to_ms), where)
    select = ", ".join([*groups, *_SUMS])
    grouped = f"GROUP BY {', '.join(groups)}" if groups else ""
    sql = (
        f"SELECT {select} FROM exchanges WHERE {condition.sql} {grouped}"  # noqa: S608
        " ORDER BY total(cost_nano_usd) DESC, count(*) DESC LIMIT ?"
    )
    return Query(sql, (*condition.parameters, _page(limit)), cost_rows)


def _summed_costs(
    dimension: Dimension, groups: Sequence[str], from_ms: int, to_ms: int, limit: int
) -> Query[list[CostRow]]:
    names = CostRow.__struct_fields__[1:]
    asked = period(dimension, from_ms, to_ms, names)
    sums = ", ".join([*groups, *(f"coalesce(sum({name}), 0)" for name in names)])
    grouping = f"GROUP BY {', '.join(groups)}" if groups else ""
    sql = f"SELECT {sums} FROM {asked.sql} {grouping} ORDER BY sum(cost_nano_usd) DESC, sum(requests) DESC LIMIT ?"  # noqa: S608
    return Query(sql, (*asked.parameters, _page(limit)), cost_rows)


def cost_rows(rows: Rows) -> list[CostRow]:
    names = CostRow.__struct_fields__[1:]
    return [
        CostRow(group=tuple(row[: -len(names)]), **dict(zip(names, row[-len(names) :], strict=True))) for row in rows
    ]


_SUMS: Final = (
    "count(*)",
    "coalesce(sum(cost_nano_usd), 0)",
    "coalesce(sum(is_unpriced), 0)",
    "coalesce(sum(input_tokens), 0)",
    "coalesce(sum(cached_input_tokens), 0)",
    "coalesce(sum(cache_write_tokens), 0)",
    "coalesce(sum(output_tokens), 0)",
)


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """How the requests of one group went."""

    requests: int
    errors: int
    """Not completed, or answered with 400 or above."""
    unreachable: int
    """Of these, without an answer, or with one that broke off."""


def outcomes(dimension: Dimension, *, from_ms: int, to_ms: int) -> Query[dict[str, Outcomes]]:
    """Ask how requests went that started in [from, to), by the values of a dimension."""
    broken = ("upstream_error", "upstream_reset", "truncated", "timeout")
    asked = period(dimension, from_ms, to_ms, ("requests", *ERRORS))
    sql = (
        f"SELECT value, sum(requests), sum({' + '.join(ERRORS)}), sum({' + '.join(broken)})"  # noqa: S608 (constants)
        f" FROM {asked.sql} WHERE value <> '' GROUP BY value"
    )
    return Query(
        sql,
        asked.parameters,
        lambda rows: {
            str(value): Outcomes(requests=requests, errors=errors, unreachable=unreachable)
            for value, requests, errors, unreachable in rows
        },
    )


def price_of(exchange_id: str) -> Query[tuple[str | None, str | None] | None]:
    """Ask for the provider whose prices count for a request, and why there is none; None: there is no such request."""
    return Query(
        "SELECT provider, cost_reason FROM exchanges WHERE id = ?",
        (exchange_id,),
        lambda rows: (rows[0][0], rows[0][1]) if rows else None,
    )


def last_days(dimension: Dimension, *, from_ms: int) -> Query[dict[str, int]]:
    """Ask for the last day (UTC, its first millisecond) on which each value of a dimension occurs since `from_ms`."""
    return Query(
        "SELECT value, max(start) FROM rollups WHERE dimension = ? AND span = 'day' AND start >= ? AND value <> ''"
        " GROUP BY value",
        (dimension, from_ms),
        lambda rows: {str(value): int(start) for value, start in rows},
    )


def counters() -> Query[list[CounterRow]]:
    """Ask for all counters."""
    return Query(
        "SELECT name, labels, value FROM counters ORDER BY name, labels",
        (),
        lambda rows: [CounterRow(name, _labels(labels), value) for name, labels, value in rows],
    )


def histograms() -> Query[list[HistogramRow]]:
    """Ask for all histograms."""
    return Query(
        "SELECT name, labels, buckets, count, sum FROM histograms ORDER BY name, labels",
        (),
        lambda rows: [
            HistogramRow(name, _labels(labels), msgspec.json.decode(buckets, type=list[int]), count, total)
            for name, labels, buckets, count, total in rows
        ],
    )


def status() -> Query[dict[str, float]]:
    """Ask how the recorder is doing: see `proxy.recorder.status` for the names."""
    return Query("SELECT name, value FROM status", (), lambda rows: {name: float(value) for name, value in rows})


def _page(limit: int) -> int:
    return max(0, min(limit, MAX_ROWS))


def _labels(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _request_rows(rows: Rows) -> list[RequestRow]:
    return [RequestRow(**dict(zip(RequestRow.__struct_fields__, row, strict=True))) for row in rows]
