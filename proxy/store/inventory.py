"""Inventory: what is there and since when, and what would no longer be there under another retention.

Counted from sums and from the ends of indexes: the answer takes as long for ten million requests as for ten.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from proxy.store.listing import Rows, Step
from proxy.store.periods import period
from proxy.store.query import Plan


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept."""

    records: int = 0
    """Nearly: rows that are deleted one by one leave gaps that are counted."""
    oldest_ms: int | None = None
    """When the oldest request started, Unix ms; None: there is none."""
    oldest_body_ms: int | None = None
    """The same of those whose bodies are kept."""


class Keepsakes(msgspec.Struct, frozen=True, kw_only=True):
    """What a retention would delete now."""

    records: int
    bodies: int
    """Requests whose bodies would go, those of deleted records included."""
    payload_bytes: int
    """What these bodies were on the wire; stored they take much less."""
    all_payload_bytes: int
    """The same of all bodies that are kept, to set it in proportion."""


_ENDS = (
    "SELECT (SELECT min(started_at) FROM exchanges),"
    " (SELECT started_at FROM exchanges WHERE bodies_kept = 1 ORDER BY started_at LIMIT 1),"
    " (SELECT max(started_at) FROM exchanges),"
    # Each end by itself: together, SQLite reads all that lies between.
    " coalesce((SELECT max(seq) FROM exchanges) - (SELECT min(seq) FROM exchanges) + 1, 0)"
)


def inventory() -> Plan[Inventory]:
    """Ask what is kept."""

    def steps() -> Generator[Step, Rows, Inventory]:
        ((oldest, oldest_body, _, count),) = yield _ENDS, ()
        return Inventory(records=int(count), oldest_ms=oldest, oldest_body_ms=oldest_body)

    return Plan(steps)


def keepsakes(records_before_ms: int, bodies_before_ms: int) -> Plan[Keepsakes]:
    """Ask what would go if records that began before one moment, and bodies before another, were deleted."""

    def steps() -> Generator[Step, Rows, Keepsakes]:
        ((oldest, oldest_body, newest, _),) = yield _ENDS, ()
        end = (newest or 0) + 1
        records, _ = _first((yield _sums(oldest, min(records_before_ms, end))))
        cut = min(max(records_before_ms, bodies_before_ms), end)
        bodies, payload = _first((yield _sums(oldest_body, cut)))
        _, everything = _first((yield _sums(oldest_body, end)))
        return Keepsakes(records=records, bodies=bodies, payload_bytes=payload, all_payload_bytes=everything)

    return Plan(steps)


def _sums(from_ms: int | None, to_ms: int) -> Step:
    if from_ms is None or from_ms >= to_ms:
        return "SELECT 0, 0", ()
    asked = period("all", from_ms, to_ms, ("requests", "request_bytes", "response_bytes"))
    select = "SELECT coalesce(sum(requests), 0), coalesce(sum(request_bytes + response_bytes), 0)"
    return f"{select} FROM {asked.sql}", asked.parameters


def _first(rows: Rows) -> tuple[int, int]:
    row: tuple[Any, ...] = rows[0]
    return int(row[0]), int(row[1])
