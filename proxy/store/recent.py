"""Recent: what is happening now, from the newest rows, and what is usual, from the sums by hour.

The newest `MOST` rows are enough to judge by, and cost the same however busy the gateways are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.store import histogram
from proxy.store.histogram import Histogram
from proxy.store.query import Query
from proxy.store.rollups import MODEL

MOST: Final = 5000
"""About 15 ms to read."""
FAULTS: Final = ("upstream_error", "upstream_reset", "truncated", "timeout", "interrupted", "status_429", "status_5xx")
"""The measures that make up what is the provider's fault, or ours: what a client did wrong or broke off is none."""
FAULTS_FILTER: Final = (
    "outcome:(upstream_error OR upstream_reset OR truncated OR timeout OR interrupted)"
    " OR outcome:completed status:(429 OR 5xx)"
)
"""The same as a filter."""
_IS_FAULT: Final = (
    "outcome IN ('upstream_error', 'upstream_reset', 'truncated', 'timeout', 'interrupted')"
    " OR outcome = 'completed' AND coalesce(status >= 500 OR status = 429, 0)"
)


class Seen(NamedTuple):
    """One of the newest requests."""

    started_at: int
    """Unix ms."""
    upstream: str
    model: str
    """'': nobody knows; so are key and user."""
    key: str
    user: str
    is_refused: int
    """1: not forwarded."""
    is_fault: int
    """1: the provider or we failed it."""
    duration_us: int | None
    ttft_us: int | None
    cost_nano_usd: int
    """0 when nobody knows."""
    is_unpriced: int
    what: str
    """Status and code of a fault; '': it is none."""
    tokens: int = 0
    """In and out; 0 when nobody knows."""


class Hour(NamedTuple):
    """The sums of one hour."""

    start: int
    """Unix ms, UTC."""
    requests: int
    refused: int
    faults: int
    cost_nano_usd: int
    latency: Histogram
    ttft: Histogram


def seen(since_ms: int) -> Query[list[Seen]]:
    """Ask for the newest requests that started since then, newest first: at most `MOST`."""
    sql = (
        f"SELECT started_at, upstream, coalesce({MODEL}, ''), coalesce(key, ''), coalesce(user, ''),"  # noqa: S608 (constants)
        f" outcome = 'refused', {_IS_FAULT},"
        " duration_us, first_token_us, coalesce(cost_nano_usd, 0), is_unpriced,"
        f" CASE WHEN {_IS_FAULT} THEN concat_ws(' ', status, coalesce(error_code, outcome)) ELSE '' END,"
        " coalesce(input_tokens, 0) + coalesce(output_tokens, 0)"
        " FROM exchanges WHERE started_at >= ? ORDER BY started_at DESC LIMIT ?"
    )
    return Query(sql, (since_ms, MOST), lambda rows: [Seen(*row) for row in rows])


def newest() -> Query[int | None]:
    """Ask when the newest request started, in Unix ms; None: there is none."""
    return Query("SELECT max(started_at) FROM exchanges", (), lambda rows: rows[0][0])


def hours(since_ms: int) -> Query[list[Hour]]:
    """Ask for the sums of the hours that began since then, oldest first; an hour without requests has none."""
    sql = (
        f"SELECT start, requests, refused, {' + '.join(FAULTS)}, cost_nano_usd, latency, ttft FROM rollups"  # noqa: S608
        " WHERE dimension = 'all' AND span = 'hour' AND start >= ? ORDER BY start"
    )
    return Query(sql, (since_ms,), _hours)


def _hours(rows: Sequence[tuple[Any, ...]]) -> list[Hour]:
    return [
        Hour(start, requests, refused, faults, cost, histogram.unpacked(latency), histogram.unpacked(ttft))
        for start, requests, refused, faults, cost, latency, ttft in rows
    ]
