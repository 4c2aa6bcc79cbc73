"""A glance: what `glassline top` shows, from facts that are handed in to lines of text. No clock, no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.admin.amounts import money
from proxy.cli.records import COLUMNS, cells
from proxy.cli.table import DASH, Cell, Colour, Column, Screen, count, duration, printable, shorten, width
from proxy.ledger.accounts import AccountRow
from proxy.store.query import RequestRow
from proxy.store.recent import MOST, Seen

WINDOW_MS: Final = 15 * 60_000
"""How far back a glance looks."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_LEAST_TO_JUDGE: Final = 20
"""Requests; a share of fewer says nothing."""
_MANY_ERRORS: Final = 0.05
_SOME_ERRORS: Final = 0.01
_NEARLY: Final = 0.8
"""Of a budget."""
MOST_ROWS: Final = 10
"""Of a table."""
_NAME: Final = 28
"""Columns for names of models, keys and budgets."""


@dataclass(frozen=True, slots=True)
class State:
    """What the running processes say of themselves."""

    level: str
    """ok, degraded or failing."""
    reasons: tuple[str, ...]
    in_flight: int
    connections: int


@dataclass(frozen=True, slots=True)
class Glance:
    """Everything that is shown at one moment."""

    now_ms: int
    state: State | None
    """None: no Glassline runs on this data directory."""
    seen: Sequence[Seen]
    """The requests of the last 15 minutes, newest first."""
    newest: Sequence[RequestRow]
    """The last few of all, newest first."""
    budgets: Sequence[AccountRow]

    @property
    def stretch_ms(self) -> int:
        """How long the requests took that are looked at: 15 minutes, or less where there were too many."""
        return WINDOW_MS if len(self.seen) < MOST else max(1000, self.now_ms - self.seen[-1].started_at)


def lines(glance: Glance, screen: Screen, columns: int, rows: int) -> list[str]:
    """Return what fits on a terminal of that size; the least important parts are the first to go."""
    head = [*_verdict(glance, screen), "", *_rates(glance, screen, columns)]
    tables = [
        _shares("MODEL", glance, lambda each: each.model, screen),
        _shares("KEY", glance, lambda each: each.key, screen),
        _budgets(glance, screen, columns),
        _newest(glance, screen),
    ]
    room = rows - len(head)
    fitted = _fitted([table for table in tables if table], room)
    body = [line for table in fitted for line in ("", *table)]
    return [_cut(line, columns) for line in [*head, *body]][:rows]


def _fitted(tables: Sequence[list[str]], room: int) -> list[list[str]]:
    """Give each table as many rows as it wants while there is room: first three each, then more, from the top."""
    sizes = [min(len(table), 4) for table in tables]
    while sizes and sum(sizes) + len(sizes) > room:
        sizes.pop()
    for index, table in reversed(list(enumerate(tables[: len(sizes)]))):
        sizes[index] += max(0, min(len(table) - sizes[index], room - sum(sizes) - len(sizes)))
    return [table[:size] for table, size in zip(tables, sizes, strict=False)]


def _verdict(glance: Glance, screen: Screen) -> list[str]:
    state = glance.state
    if state is None:
        return [screen.paint("No Glassline runs on this data directory; this is what it recorded.", "yellow")]
    words: dict[str, tuple[str, Colour]] = {
        "ok": ("✓ Everything is OK", "green"),
        "degraded": ("! Something needs attention", "yellow"),
        "failing": ("✗ Failing", "red"),
    }
    text, colour = words.get(state.level, (state.level, ""))
    return [screen.paint(text, colour), *(f"  {printable(reason)}" for reason in state.reasons[:4])]


def _rates(glance: Glance, screen: Screen, columns: int) -> list[str]:
    seen, minutes = glance.seen, glance.stretch_ms / 60_000
    flight = f"{count(glance.state.in_flight)} in flight" if glance.state else ""
    if not seen:
        return [_joined([f"no requests in the last {WINDOW_MS // 60_000} min", flight])]
    failed = sum(each.is_fault for each in seen)
    priced = sum(each.cost_nano_usd for each in seen)
    latencies = sorted(each.duration_us for each in seen if each.duration_us is not None)
    firsts = sorted(each.ttft_us for each in seen if each.ttft_us is not None)
    unpriced = sum(bool(each.is_unpriced) for each in seen)
    tokens = sum(each.tokens for each in seen)
    share = failed / len(seen)
    errors = f"{count(failed)} of {count(len(seen))} failed"
    if len(seen) >= _LEAST_TO_JUDGE:
        errors = f"{percent(share)} errors ({errors})"
    colour: Colour = "red" if share > _MANY_ERRORS else "yellow" if share > _SOME_ERRORS else ""
    facts = [
        f"{len(seen) / minutes:,.1f} req/min",
        flight,
        screen.paint(errors, colour),
        f"latency P50 {_time(latencies, 0.5)}, P95 {_time(latencies, 0.95)}",
        f"first token P50 {_time(firsts, 0.5)}" if firsts else "",
        f"{short(round(tokens / minutes))} tok/min",
        f"{money(round(priced * 60 / minutes))} an hour",
        screen.paint(f"{count(unpriced)} without a price", "yellow") if unpriced else "",
    ]
    bars = _histogram(glance, min(60, columns))
    return [*_wrapped(facts, columns), screen.paint(f"{bars}  last {duration(glance.stretch_ms)}", "dim")]


def _histogram(glance: Glance, bins: int) -> str:
    """Return how many requests began in each part of the stretch, as bars."""
    counts = [0] * bins
    for each in glance.seen:
        at = bins - 1 - (glance.now_ms - each.started_at) * bins // glance.stretch_ms
        counts[min(max(at, 0), bins - 1)] += 1
    most = max(counts) or 1
    return "".join(_BARS[-(-number * (len(_BARS) - 1) // most)] if number else " " for number in counts)


_SHARES: Final = ("REQUESTS", "ERRORS", "P95", "TOKENS", "COST")


def _shares(title: str, glance: Glance, name_of: Callable[[Seen], str], screen: Screen) -> list[str]:
    """Return a table of what cost most."""
    groups: dict[str, list[Seen]] = {}
    for each in glance.seen:
        groups.setdefault(name_of(each), []).append(each)
    dearest = sorted(groups.items(), key=lambda item: (-_cost(item[1]), -len(item[1]), item[0]))
    rows = [_share(name, group) for name, group in dearest[:MOST_ROWS]]
    return _table(screen, [Column(title), *(Column(name, is_number=True) for name in _SHARES)], rows)


def _share(name: str, group: Sequence[Seen]) -> list[Cell | str]:
    failed = sum(each.is_fault for each in group)
    latencies = sorted(each.duration_us for each in group if each.duration_us is not None)
    is_known = not all(each.is_unpriced for each in group)
    return [
        shorten(name, _NAME),
        count(len(group)),
        Cell(count(failed), "red" if failed else "dim"),
        _time(latencies, 0.95),
        short(sum(each.tokens for each in group)),
        money(_cost(group) if is_known else None),
    ]


def _cost(group: Iterable[Seen]) -> int:
    return sum(each.cost_nano_usd for each in group)


def _budgets(glance: Glance, screen: Screen, columns: int) -> list[str]:
    """Return a table of the budgets that are nearest to their limits."""
    fullest = sorted(glance.budgets, key=lambda row: -_used(row))
    size = 20 if columns >= 100 else 10
    rows: list[list[Cell | str]] = []
    for row in fullest[:MOST_ROWS]:
        used = _used(row)
        colour: Colour = "red" if used >= 1 else "yellow" if used >= _NEARLY else ""
        resets = "" if row.window_end_ms is None else f"resets in {duration(row.window_end_ms - glance.now_ms)}"
        committed = row.spent_nano_usd + row.reserved_nano_usd
        rows.append(
            [
                shorten(row.budget + (f" {row.scope}" if row.scope else ""), _NAME),
                Cell(_bar(used, size), colour),
                Cell(f"{used:.0%}", colour),
                f"{money(committed)} of {money(row.limit_nano_usd)}",
                Cell(resets, "dim"),
            ]
        )
    right = Column("", is_number=True)
    return _table(screen, [Column("BUDGET"), Column("USED"), right, right, Column("")], rows)


def _used(row: AccountRow) -> float:
    committed = row.spent_nano_usd + row.reserved_nano_usd
    return committed / row.limit_nano_usd if row.limit_nano_usd else float(committed > 0)


def _bar(share: float, size: int) -> str:
    full = min(size, round(share * size))
    return "█" * full + "░" * (size - full)


def _newest(glance: Glance, screen: Screen) -> list[str]:
    columns = [Column("AGO", is_number=True), *COLUMNS[1:]]
    rows: list[list[Cell | str]] = [
        [duration(glance.now_ms - row.started_at), *cells(row)[1:]] for row in glance.newest
    ]
    return _table(screen, columns, rows)


def _table(screen: Screen, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]) -> list[str]:
    return screen.table_lines(columns, rows) if rows else []


def _time(ordered: Sequence[int], share: float) -> str:
    """Return a percentile of ascending µs."""
    return duration(ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000) if ordered else DASH


def percent(share: float) -> str:
    """Write a share: 0.47%, 12.3%."""
    return f"{share * 100:.2f}%" if share < 0.1 else f"{share * 100:.1f}%"


def short(value: int) -> str:
    """Write a large count in three digits: 950, 3,412, 41.2K, 1.23M."""
    if value < 10_000:
        return f"{value:,}"
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if value >= size:
            scaled = value / size
            return (
                f"{scaled:.0f}{unit}"
                if scaled >= 100
                else f"{scaled:.1f}{unit}"
                if scaled >= 10
                else f"{scaled:.2f}{unit}"
            )
    return str(value)


def _joined(facts: Iterable[str]) -> str:
    return "  ·  ".join(fact for fact in facts if fact)


def _wrapped(facts: Iterable[str], columns: int) -> list[str]:
    """Put facts on as many lines as they need."""
    found: list[str] = []
    for fact in filter(None, facts):
        longer = _joined([found[-1], fact]) if found else fact
        if found and _shown_width(longer) <= columns:
            found[-1] = longer
        else:
            found.append(fact)
    return found


def _shown_width(text: str) -> int:
    return sum(width(part) for part, is_code in _split(text) if not is_code)


def _cut(line: str, columns: int) -> str:
    """Cut a line to the width of the terminal, colours kept and ended."""
    if _shown_width(line) <= columns:
        return line
    parts, room = [], columns
    for part, is_code in _split(line):
        if is_code:
            parts.append(part)
            continue
        kept = part if width(part) <= room else shorten(part, room) if room > 0 else ""
        parts.append(kept)
        room -= width(kept)
    return "".join(parts)


def _split(line: str) -> Iterable[tuple[str, bool]]:
    """Yield the text of a line and the colour codes in it."""
    for index, part in enumerate(line.split("\x1b[")):
        if index == 0:
            yield part, False
            continue
        code, mark, rest = part.partition("m")
        yield f"\x1b[{code}{mark}", True
        yield rest, False
