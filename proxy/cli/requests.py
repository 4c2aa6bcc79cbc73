"""`glassline requests list|show|tail|export`: the records, read from the database itself.

No running server is needed. A reader never stands in the recorder's way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from proxy.admin.amounts import money
from proxy.admin.shapes import body_shape, request_shape, whole_bytes
from proxy.admin.snippets import snippet
from proxy.cli.export import write_csv, write_jsonl
from proxy.cli.records import (
    COLUMNS,
    TIME_LIMIT_S,
    WIDTHS,
    cells,
    in_order,
    json_line,
    now_ms,
    open_store,
    pretty,
    request_line,
    selected,
    status_colour,
    store_path,
)
from proxy.cli.table import Cell, Column, Screen, ago, count, duration, moment, printable, size
from proxy.errors import ClientError, EnvironmentUnusable, StoreError
from proxy.store import StoredBody, StoreReader
from proxy.store import query as ask
from proxy.store.detail import detail, stored_exchange
from proxy.store.filter import Filter, parse_filter
from proxy.store.listing import Sort
from proxy.store.query import RequestRow, Side
from proxy.wire.decode import content_codings, decode

POLL_S: Final = 0.2
"""A new row is seen within a fifth of a second, at the price of one indexed look."""
BODY_SHOWN: Final = 20_000
"""Characters of a body that `show` prints; `--raw` has all of it."""
EXPORT_ROWS: Final = 100_000
"""Rows that one query of an export looks at, however few of them are meant."""
SIDES: Final[tuple[Side, Side]] = ("request", "response")


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    actions = {"list": list_requests, "show": show, "tail": tail, "export": export}
    actions[arguments.action](arguments)
    return 0


def list_requests(arguments: argparse.Namespace) -> None:
    """Print requests, newest first or in the order of --sort."""
    screen, where = Screen(), selected(arguments)
    with open_store(arguments) as store:
        rows = list(in_order(store, where, arguments.limit, Sort.parse(arguments.sort)))
    if arguments.json:
        for row in rows:
            screen.line(request_line(row))
        return
    now = now_ms()
    screen.table([Column("TIME"), *COLUMNS], [[moment(row.started_at, now_ms=now), *cells(row)] for row in rows])


def export(arguments: argparse.Namespace) -> None:
    """Write requests, oldest first."""
    where = selected(arguments)
    write = write_csv if arguments.format == "csv" else write_jsonl
    with open_store(arguments) as store:
        rows = oldest_first(store, where)
        if arguments.output is None:
            write(rows, sys.stdout)
            return
        try:
            with Path(arguments.output).open("w", encoding="utf-8", newline="") as out:
                write(rows, out)
        except OSError as error:
            raise EnvironmentUnusable(f"{arguments.output}: {error.strerror}") from error


def oldest_first(store: StoreReader, where: Filter) -> Iterator[RequestRow]:
    """Yield the requests in the order in which they were recorded, page by page."""
    seq, newest = 0, store.run(ask.newest_seq())
    while seq < newest:
        until = seq + EXPORT_ROWS
        page = store.run(ask.requests_after(seq, where, until=until))
        yield from page
        seq = page[-1].seq if len(page) == ask.MAX_ROWS else until


def show(arguments: argparse.Namespace) -> None:
    """Print one request; with --raw a body's exact bytes."""
    with open_store(arguments) as store:
        row = store.run(ask.request(arguments.id))
        if row is None:
            raise ClientError(f"no request has an id that begins with {arguments.id}")
        wanted: tuple[Side, ...] = (arguments.side,) if arguments.side else SIDES
        if arguments.form is not None:
            _write_as(arguments.form, row, store)
            return
        bodies = {side: store.run(ask.body(row.id, side)) for side in wanted}
        if arguments.reidentify:
            originals = store.run(ask.pseudonyms(row.id))
            row = reidentified_row(row, originals)
            bodies = {side: body and reidentified(body, originals) for side, body in bodies.items()}
    if arguments.raw:
        _write_raw(bodies[arguments.side or "response"])
    elif arguments.json:
        shapes = {side: body_shape(body) if body else None for side, body in bodies.items()}
        Screen().line(json_line(request_shape(row) | shapes))
    else:
        _show(row, bodies, Screen())


def _write_as(form: str, row: RequestRow, store: StoreReader) -> None:
    known = store.run(detail(row.seq))
    request, response = (store.run(ask.body(row.id, side)) for side in SIDES)
    if known is None or request is None or response is None:
        raise ClientError("nothing of it was kept")
    text = snippet(form, row, stored_exchange(row, known, request, response), request)
    # What strangers wrote must not speak to a terminal; a file gets every character.
    lines = map(printable, text.splitlines()) if sys.stdout.isatty() else [text.removesuffix("\n")]
    for line in lines:
        print(line)


def reidentified(body: StoredBody, originals: Mapping[str, str]) -> StoredBody:
    """Return a body with the pseudonyms replaced by what stood there."""
    head, tail = (_replaced(data, originals) if data else data for data in (body.head, body.tail))
    return msgspec.structs.replace(body, head=head, tail=tail or b"")


def reidentified_row(row: RequestRow, originals: Mapping[str, str]) -> RequestRow:
    """Do the same with the texts of a row."""
    texts = {name: getattr(row, name) for name in ("user", "session", "path", "tags", "error_message")}
    return msgspec.structs.replace(
        row, **{name: _replaced(text.encode(), originals).decode() for name, text in texts.items() if text}
    )


def _replaced(data: bytes, originals: Mapping[str, str]) -> bytes:
    for name, original in originals.items():
        # Most stand inside JSON, where what stood there was a string's content.
        data = data.replace(name.encode(), msgspec.json.encode(original)[1:-1])
    return data


def _write_raw(body: StoredBody | None) -> None:
    if body is None:
        raise ClientError("this body was not kept")
    sys.stdout.buffer.write(whole_bytes(body))
    sys.stdout.buffer.flush()


def _show(row: RequestRow, bodies: dict[Side, StoredBody | None], screen: Screen) -> None:
    facts = _facts(row)
    label = max(len(name) for name, _ in facts)
    for name, value in facts:
        text = screen.paint(printable(value.text), value.colour)
        screen.line(f"{screen.paint(name.ljust(label), 'dim')}  {text}")
    for side, body in bodies.items():
        screen.line()
        _show_body(side, body, screen)


def _facts(row: RequestRow) -> list[tuple[str, Cell]]:
    facts: list[tuple[str, str | Cell | None]] = [
        ("id", row.id),
        ("time", f"{moment(row.started_at)} ({ago(row.started_at, now_ms())})"),
        ("key", row.key),
        ("user", row.user),
        ("session", row.session),
        ("trace", row.trace_id),
        ("environment", row.environment),
        ("tags", row.tags if row.tags != "{}" else None),
        ("prompt", row.prompt_name and f"{row.prompt_name}@{row.prompt_version or '?'}"),
        ("upstream", f"{row.upstream} ({row.wire})"),
        ("request", f"{row.method} {row.path}"),
        ("model", _model(row)),
        ("status", Cell(f"{row.status or 'none'} {row.outcome}", status_colour(row))),
        ("error", " ".join(filter(None, (row.error_code, row.error_message))) or None),
        ("finish", row.finish_reason),
        ("duration", f"{duration(row.duration_ms)}, of which Glassline {duration(row.overhead_ms)}"),
        ("first token", None if row.ttft_ms is None else duration(row.ttft_ms)),
        ("tokens", _tokens(row)),
        ("cost", _cost(row)),
        ("bytes", f"{size(row.request_bytes)} in, {size(row.response_bytes)} out"),
        ("mutated", row.mutated or None),
        ("attempt", str(row.attempt) if row.attempt > 1 else None),
        ("retry of", row.retry_of),
    ]
    return [(name, value if isinstance(value, Cell) else Cell(value)) for name, value in facts if value is not None]


def _model(row: RequestRow) -> str | None:
    if row.model is None or row.model_requested in (None, row.model):
        return row.model or row.model_requested
    return f"{row.model} (asked for {row.model_requested})"


def _tokens(row: RequestRow) -> str | None:
    if row.usage_source == "none":
        return None
    parts = [f"{count(row.input_tokens)} in"]
    if row.cached_input_tokens:
        parts.append(f"{count(row.cached_input_tokens)} of them cached")
    if row.cache_write_tokens:
        parts.append(f"{count(row.cache_write_tokens)} written to the cache")
    parts.append(f"{count(row.output_tokens)} out")
    if row.reasoning_tokens:
        parts.append(f"{count(row.reasoning_tokens)} of them reasoning")
    return ", ".join(parts) + (" (estimated)" if row.usage_source == "estimated" else "")


def _cost(row: RequestRow) -> str:
    if row.cost_nano_usd is None:
        return money(None) if row.is_unpriced else "unknown"
    source = {"provider": "said by the provider", "override": "your price", "table": "price table"}
    origin = source.get(row.cost_source, row.cost_source)
    return f"{money(row.cost_nano_usd)} ({origin}{', ' + row.price_version if row.price_version else ''})"


def _show_body(side: str, body: StoredBody | None, screen: Screen) -> None:
    screen.line(screen.paint(side.upper(), "bold"))
    if body is None:
        screen.line("nothing was kept")
        return
    for name, value in body.headers:
        screen.line(screen.paint(f"{printable(name)}: {printable(value)}", "dim"))
    screen.line()
    if body.head is None:
        screen.line(f"{size(body.size)}, not kept")
        return
    if body.edit:
        screen.line(screen.paint("redacted before it was stored", "yellow"))
    codings = content_codings([(name.encode("latin-1"), value.encode("latin-1")) for name, value in body.headers])
    text = pretty(decode(body.head, codings).data.decode("utf-8", "replace"))
    for line in text[:BODY_SHOWN].splitlines():
        screen.line(printable(line))
    if len(text) > BODY_SHOWN:
        screen.line(f"… {len(text) - BODY_SHOWN:,} more characters: --raw writes all of it")
    if not body.is_whole:
        screen.line(f"… only the first {size(len(body.head))} of {size(body.size)} were kept")


def tail(arguments: argparse.Namespace) -> None:
    """Print the last requests, then each new one as it is recorded, until Ctrl-C."""
    follower = Follower(store_path(arguments), parse_filter(arguments.query))
    screen = Screen()
    try:
        if not arguments.json:
            screen.row([Column("WHEN"), *COLUMNS], [8, *WIDTHS], ["WHEN", *(c.title for c in COLUMNS)])
        for row in follower.last(arguments.limit):
            _print_row(row, screen, as_json=arguments.json)
        while not arguments.no_follow:
            for row in follower.new():
                _print_row(row, screen, as_json=arguments.json)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return


def _print_row(row: RequestRow, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        screen.line(request_line(row))
    else:
        screen.row([Column("WHEN"), *COLUMNS], [8, *WIDTHS], [ago(row.started_at, now_ms()), *cells(row)])


@dataclass(slots=True)
class Follower:
    """Reads a store that may not exist yet, may be busy, and may be replaced by another one."""

    path: Path
    where: Filter
    seq: int = 0
    """Place of the last row that was looked at."""
    _inode: int = field(default=-1, init=False)

    def last(self, limit: int) -> list[RequestRow]:
        """Return the last `limit` requests, oldest first; what comes later is new."""
        if not self.path.exists():
            return []
        with StoreReader(self.path, time_limit_s=TIME_LIMIT_S) as store:
            self.seq = store.run(ask.newest_seq())
            self._inode = self.path.stat().st_ino
            return list(in_order(store, self.where, limit))[::-1]

    def new(self) -> list[RequestRow]:
        """Return what was recorded since; nothing while the store cannot be read."""
        try:
            inode = self.path.stat().st_ino
            if inode != self._inode:
                self._inode, self.seq = inode, 0
            with StoreReader(self.path, time_limit_s=TIME_LIMIT_S) as store:
                newest = store.run(ask.newest_seq())
                if newest <= self.seq:
                    return []
                rows = store.run(ask.requests_after(self.seq, self.where))
        except (FileNotFoundError, StoreError):
            return []
        self.seq = rows[-1].seq if len(rows) == ask.MAX_ROWS else max(newest, rows[-1].seq if rows else 0)
        return rows
