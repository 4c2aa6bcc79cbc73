"""How the command line opens the store, and how one request looks in a line."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.admin.amounts import money
from proxy.admin.shapes import request_shape
from proxy.admin.when import read_instant
from proxy.cli.settings import load_data_dir
from proxy.cli.table import DASH, Cell, Colour, Column, count, duration, shorten
from proxy.errors import EnvironmentUnusable
from proxy.store import StoreReader
from proxy.store import query as ask
from proxy.store.filter import Filter, both, parse_filter, started
from proxy.store.listing import NEWEST_FIRST, Cursor, Sort
from proxy.store.query import MAX_ROWS, RequestRow

TIME_LIMIT_S: Final = 30.0
"""A person who asks for a year waits, and can press Ctrl-C."""
ID_SHOWN: Final = 18
"""Characters of an id that tell it apart: the millisecond and twelve random bits."""
COLUMNS: Final = (
    Column("ID"),
    Column("KEY"),
    Column("MODEL"),
    Column("STATUS", is_number=True),
    Column("DURATION", is_number=True),
    Column("TTFT", is_number=True),
    Column("IN", is_number=True),
    Column("OUT", is_number=True),
    Column("COST", is_number=True),
    Column("OUTCOME"),
)
WIDTHS: Final = (ID_SHOWN, 14, 24, 6, 8, 8, 8, 7, 10, 14)
"""Of a list that grows; a table that is complete takes what it needs."""


def store_path(arguments: argparse.Namespace) -> Path:
    """Return where the store is, or will be."""
    return load_data_dir(arguments) / "records.db"


def open_store(arguments: argparse.Namespace) -> StoreReader:
    """Open the store. Raises EnvironmentUnusable when there is none yet, StoreError when it cannot be read."""
    path = store_path(arguments)
    if not path.exists():
        raise EnvironmentUnusable(f"{path}: no records yet: is this the data directory of `glassline serve`?")
    return StoreReader(path, time_limit_s=TIME_LIMIT_S)


def selected(arguments: argparse.Namespace) -> Filter:
    """Return the filter that -q, --from and --to make together. Raises ClientError."""
    now = now_ms()
    start, end = (text and read_instant(text, now) for text in (arguments.start, arguments.end))
    return both(parse_filter(arguments.query), started(from_ms=start, to_ms=end))


def in_order(store: StoreReader, where: Filter, limit: int, sort: Sort = NEWEST_FIRST) -> Iterator[RequestRow]:
    """Yield up to `limit` requests, page by page, so that no query is long."""
    cursor: Cursor | None = None
    while limit > 0:
        page = store.run(ask.page(where, sort=sort, limit=min(limit, MAX_ROWS), after=cursor))
        yield from page.rows
        limit -= len(page.rows)
        cursor = page.cursor
        if cursor is None:
            return


def cells(row: RequestRow) -> list[Cell | str]:
    """Return the cells of COLUMNS."""
    return [
        row.id[:ID_SHOWN],
        shorten(row.key, 14),
        shorten(row.model or row.model_requested, 24),
        Cell(str(row.status or DASH), status_colour(row)),
        duration(row.duration_ms),
        duration(row.ttft_ms),
        count(row.input_tokens),
        count(row.output_tokens),
        cost_cell(row),
        Cell(row.outcome if row.outcome != "completed" else "", "yellow" if row.outcome != "refused" else "red"),
    ]


def cost_cell(row: RequestRow) -> Cell:
    """Return what a request cost; `no price` stands out where money was spent unseen."""
    if row.cost_nano_usd is None and not row.is_unpriced:
        return Cell(DASH, "dim")
    return Cell(money(row.cost_nano_usd), "yellow" if row.cost_nano_usd is None else "")


def status_colour(row: RequestRow) -> Colour:
    """Return green for a good answer, red for the provider's or our fault, yellow for what is between."""
    if row.status is None or row.status >= 500:
        return "red"
    return "yellow" if row.status >= 400 or row.outcome != "completed" else "green"


def json_line(value: Any) -> str:
    """Return `value` on one line of JSON."""
    return msgspec.json.encode(value).decode()


def request_line(row: RequestRow) -> str:
    """Return one request as a line of JSON."""
    return json_line(request_shape(row))


def pretty(text: str | None) -> str:
    """Return JSON text as people read it; what is not JSON stays as it is."""
    try:
        return json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text or ""


def now_ms() -> int:
    """Return the wall clock, Unix ms."""
    return time.time_ns() // 1_000_000
