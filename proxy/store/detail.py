"""Questions about one request: all of its columns, and where it stands among others."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.records import Begin, Body, End, Exchange, join_headers
from proxy.store import histogram
from proxy.store.filter import Filter, both, parse_filter
from proxy.store.histogram import Histogram, bucket_of
from proxy.store.listing import Place, Rows, Sort
from proxy.store.periods import period
from proxy.store.query import Query, RequestRow
from proxy.store.rollups import DAY_MS, HOUR_MS
from proxy.store.row import StoredBody
from proxy.store.templates import COLUMNS as PACKED
from proxy.store.templates import as_text

COUNTED: Final = 10_000
"""Turns of a session that are counted; of longer ones it is known that they are longer."""
NEARBY: Final = 50
"""Requests of one trace, or attempts of one request, that are named."""
_WEEK: Final = 7 * DAY_MS


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What a row holds beside the columns of the view `requests`. Times are µs after the request head."""

    seq: int
    provider: str | None
    no_store: str
    privacy: str
    request_complete_us: int | None
    dispatched_us: int | None
    connect_us: int | None
    """None: a connection was open already."""
    response_head_us: int | None
    first_token_us: int | None
    first_visible_us: int | None
    last_token_us: int | None
    duration_us: int | None
    overhead_us: int | None
    reader: str
    response_id: str | None
    service_tier: str | None
    speed: str | None
    processing: str | None
    region: str | None
    problems: str
    usage_buckets: str | None
    charges: str | None
    cost_model: str | None
    cost_reason: str | None
    cost_components: str
    price_date: str | None
    pending_id: str | None


class Neighbour(msgspec.Struct, frozen=True):
    """Another request, in short."""

    id: str
    started_at: int
    """Unix ms."""
    model: str | None
    endpoint: str
    status: int | None
    outcome: str
    duration_ms: float | None
    ttft_ms: float | None
    attempt: int
    cost_nano_usd: int | None
    upstream: str


class Turn(msgspec.Struct, frozen=True):
    """Where a request stands in its session."""

    turn: int
    """From 1."""
    turns: int
    """So far; `COUNTED` stands for as many or more."""
    previous: str | None
    """Id of the request before it."""
    next: str | None


class Rank(msgspec.Struct, frozen=True):
    """How long a request took among others of its model."""

    percentile: float
    """Share of them that were not slower, 0 to 100."""
    requests: int
    """How many there are."""


_COLUMNS: Final = ", ".join([as_text(name) if name in PACKED else name for name in Detail.__struct_fields__])
_SESSION: Final = "FROM exchanges WHERE session = ? AND key IS ?"
_NEIGHBOUR: Final = (
    "id, started_at, coalesce(model, model_requested), endpoint, status, outcome, duration_us / 1000.0,"
    " first_token_us / 1000.0, attempt, cost_nano_usd, upstream"
)


def detail(seq: int) -> Query[Detail | None]:
    """Ask for the row `seq`."""

    def convert(rows: Rows) -> Detail | None:
        return Detail(**dict(zip(Detail.__struct_fields__, rows[0], strict=True))) if rows else None

    return Query(f"SELECT {_COLUMNS} FROM exchanges WHERE seq = ?", (seq,), convert)  # noqa: S608 (constants)


def turn_of(row: RequestRow) -> Query[Turn]:
    """Ask where a request stands in its session."""
    before, after = (f"{_SESSION} AND (started_at, seq) {sign} (?, ?)" for sign in "<>")
    counts = ", ".join(f"(SELECT count(*) FROM (SELECT 1 {each} LIMIT {COUNTED}))" for each in (before, after))  # noqa: S608 (constants)
    previous = f"(SELECT id {before} ORDER BY started_at DESC, seq DESC LIMIT 1)"
    following = f"(SELECT id {after} ORDER BY started_at, seq LIMIT 1)"
    place = (row.session, row.key, row.started_at, row.seq)

    def convert(rows: Rows) -> Turn:
        earlier, later, previous_id, next_id = rows[0]
        return Turn(earlier + 1, min(COUNTED, earlier + 1 + later), previous_id, next_id)

    return Query(f"SELECT {counts}, {previous}, {following}", place * 4, convert)


def attempts(row: RequestRow) -> Query[list[Neighbour]]:
    """Ask for all attempts to send a request, the first one first; it alone: there were no others."""
    first = row.retry_of or row.id
    sql = f"SELECT {_NEIGHBOUR} FROM exchanges WHERE id = ? OR retry_of = ? ORDER BY attempt LIMIT {NEARBY}"  # noqa: S608 (constants)
    return Query(sql, (first, first), _neighbours)


def trace(row: RequestRow) -> Query[list[Neighbour]]:
    """Ask for the requests of the same trace, oldest first."""
    sql = f"SELECT {_NEIGHBOUR} FROM exchanges WHERE trace_id = ? ORDER BY started_at, seq LIMIT {NEARBY}"  # noqa: S608 (constants)
    return Query(sql, (row.trace_id,), _neighbours)


def _neighbours(rows: Rows) -> list[Neighbour]:
    return [Neighbour(*row) for row in rows]


def rank(row: RequestRow) -> Query[Rank | None]:
    """Ask how long a request took among those of its model in the seven days before; None: nobody can say."""
    end = row.started_at - row.started_at % HOUR_MS + HOUR_MS
    asked = period("model", end - _WEEK, end, ["latency"])
    model = row.model or row.model_requested or ""

    def convert(rows: Rows) -> Rank | None:
        return _rank(histogram.merged(_counts(stored) for (stored,) in rows), row.duration_ms)

    return Query(f"SELECT latency FROM {asked.sql} WHERE value = ?", (*asked.parameters, model), convert)  # noqa: S608 (constants)


def _counts(stored: bytes | int | None) -> Histogram:
    return {bucket_of(stored): 1} if isinstance(stored, int) else histogram.unpacked(stored)


def _rank(counts: Histogram, duration_ms: float | None) -> Rank | None:
    requests = sum(counts.values())
    if duration_ms is None or not requests:
        return None
    own = bucket_of(round(duration_ms * 1000))
    faster = sum(count for bucket, count in counts.items() if bucket < own)
    # The middle of its own bucket: of two that took as long, neither is the slower.
    return Rank(100 * (faster + counts.get(own, 0) / 2) / requests, requests)


def place(row: RequestRow, sort: Sort) -> Query[Place]:
    """Ask where a request stands in a list."""
    value, seq = sort.row
    sql = f"SELECT {value}, {seq} FROM exchanges WHERE seq = ?"  # noqa: S608 (constants)
    return Query(sql, (row.seq,), lambda rows: Place(*rows[0]))


def backwards(where: Filter, sort: Sort) -> tuple[Filter, Sort]:
    """Return the filter and the order in which a list is read from its end; what has no value is left out there."""
    turned = Sort(sort.name, not sort.is_descending)
    return (where if sort.name == "time" else both(where, parse_filter(f"has:{sort.name}"))), turned


def stored_exchange(row: RequestRow, known: Detail, request: StoredBody, response: StoredBody) -> Exchange:
    """Return an exchange as far as its record tells of it, for whoever reads bytes."""
    begin = Begin(
        id=row.id,
        started_at_ms=row.started_at,
        upstream=row.upstream,
        wire=row.wire,
        provider=known.provider,
        is_free=False,
        method=row.method,
        path=row.path,
        headers=_headers(request),
        key=row.key,
        user=row.user,
    )
    end = End(
        outcome=row.outcome,  # type: ignore[arg-type]  # as it was stored
        status=row.status,
        head=join_headers(_headers(response)),
        request_size=row.request_bytes,
        response_size=row.response_bytes,
        ended_us=known.duration_us or 0,
    )
    return Exchange(begin, end, stored_bytes(request), stored_bytes(response), response.timeline)


def _headers(body: StoredBody) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in body.headers)


def stored_bytes(stored: StoredBody) -> Body:
    """Return a body as a reader takes it: what redaction left is all that there is to read."""
    head = stored.head or b""
    size = len(head) if stored.edit and stored.is_whole else stored.size
    return Body(head, size, stored.sha256, stored.tail)
