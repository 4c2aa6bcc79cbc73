"""`glassline cost`: what was spent, and on what."""

from __future__ import annotations

import argparse
from typing import Final, get_args

from proxy.admin.amounts import money
from proxy.admin.when import read_instant
from proxy.cli.records import json_line, now_ms, open_store
from proxy.cli.table import Cell, Column, Screen, count
from proxy.errors import ClientError
from proxy.store import query as ask
from proxy.store.filter import parse_filter
from proxy.store.query import CostRow, Grouping

DEFAULT_START: Final = "now-7d"


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each group, the dearest first, and the sum."""
    by = read_groupings(arguments.by)
    now = now_ms()
    start = read_instant(arguments.start or DEFAULT_START, now)
    # One past now: what was recorded in this millisecond counts.
    end = read_instant(arguments.end, now) if arguments.end else now + 1
    where = parse_filter(arguments.query, is_all=True)
    with open_store(arguments) as store:
        rows = store.run(ask.costs(by, from_ms=start, to_ms=end, where=where))
    screen = Screen()
    if arguments.json:
        for row in rows:
            screen.line(json_line(_shape(row, by)))
    else:
        _print(rows, by, screen)
    return 0


def read_groupings(text: str) -> list[Grouping]:
    """Return the groupings that a comma-separated text names. Raises ClientError."""
    known: tuple[Grouping, ...] = get_args(Grouping)
    names = [name.strip() for name in text.split(",") if name.strip()]
    found = [name for name in known if name in names]
    if not names or set(names) != set(found):
        raise ClientError(f"--by takes a comma-separated list of {', '.join(known)}")
    return sorted(found, key=names.index)


def _shape(row: CostRow, by: list[Grouping]) -> dict[str, object]:
    group: dict[str, object] = dict(zip(by, row.group, strict=True))
    return group | {name: getattr(row, name) for name in CostRow.__struct_fields__ if name != "group"}


def _print(rows: list[CostRow], by: list[Grouping], screen: Screen) -> None:
    numbers = ("REQUESTS", "INPUT", "CACHED", "OUTPUT", "COST", "NO PRICE")
    columns = [*(Column(name.upper()) for name in by), *(Column(name, is_number=True) for name in numbers)]
    total = CostRow(
        group=("total",) + ("",) * (len(by) - 1),
        requests=sum(row.requests for row in rows),
        cost_nano_usd=sum(row.cost_nano_usd for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_input_tokens=sum(row.cached_input_tokens for row in rows),
        cache_write_tokens=sum(row.cache_write_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
    )
    screen.table(columns, [_cells(row) for row in [*rows, total]])


def _cells(row: CostRow) -> list[Cell | str]:
    # Nothing known and something unpriced is not $0.
    is_unknown = row.unpriced > 0 and row.cost_nano_usd == 0
    return [
        *("(none)" if value is None else value for value in row.group),
        count(row.requests),
        count(row.input_tokens),
        count(row.cached_input_tokens),
        count(row.output_tokens),
        money(None if is_unknown else row.cost_nano_usd),
        Cell(count(row.unpriced), "yellow") if row.unpriced else "",
    ]
