"""Text for people: aligned tables, and numbers with their units.

Everything here is pure but `Screen`, which knows whether it writes to a terminal. None is shown as a dash, an unknown
price as `no price`: an unknown is never shown as zero.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TextIO

Colour = Literal["", "red", "green", "yellow", "dim", "bold"]
_CODES: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
DASH: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    is_number: bool = False
    """Numbers stand right-aligned."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text and how to show it."""

    text: str
    colour: Colour = ""


@dataclass(slots=True)
class Screen:
    """Where a command writes; colours only for a terminal, and never with NO_COLOR."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    has_colour: bool | None = None

    def __post_init__(self) -> None:
        if self.has_colour is None:
            self.has_colour = self.out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        """Write one line at once."""
        print(text, file=self.out, flush=True)

    def paint(self, text: str, colour: Colour) -> str:
        """Return `text` in `colour`, where colours are wanted."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and self.has_colour else text

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]]) -> None:
        """Write a table with its titles."""
        for line in self.table_lines(columns, rows):
            self.line(line)

    def table_lines(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]]) -> list[str]:
        """Return the lines of a table with its titles."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [
            max([width(column.title), *(width(row[i].text) for row in cells)]) for i, column in enumerate(columns)
        ]
        titles = [Cell(column.title, "dim") for column in columns]
        return [self._row(row, columns, widths) for row in (titles, *cells)]

    def row(self, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Cell | str]) -> None:
        """Write one row of a table that grows, so its widths are given."""
        self.line(self._row([_cell(value) for value in cells], columns, widths))

    def _row(self, cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> str:
        padded = []
        for cell, column, size in zip(cells, columns, widths, strict=True):
            space = " " * max(0, size - width(cell.text))
            text = self.paint(cell.text, cell.colour)
            padded.append(space + text if column.is_number else text + space)
        return "  ".join(padded).rstrip()


def _cell(value: Cell | str) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(printable(cell.text), cell.colour)


def printable(text: str) -> str:
    """Return `text` without what could move a terminal's cursor, change its colours or its reading order."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def shorten(text: str | None, size: int) -> str:
    """Return `text` cut to `size` columns, its end marked; None: a dash."""
    if text is None or text == "":
        return DASH
    if width(text) <= size:
        return text
    kept, used = "", 0
    for character in text:
        used += width(character)
        if used > size - 1:
            break
        kept += character
    return kept + "…"


def count(value: int | None) -> str:
    """Write a count with thousands separated."""
    return DASH if value is None else f"{value:,}"


def duration(ms: float | None) -> str:
    """Write a duration with the unit that suits it: 0.4 ms, 85 ms, 1.24 s, 3m 20s, 2h 05m, 3d 04h."""
    if ms is None:
        return DASH
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_995:
        return f"{ms / 1000:.2f} s" if ms < 9_995 else f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}h"


def size(value: int | None) -> str:
    """Write a number of bytes in decimal units: 812 B, 4.1 kB, 12.3 MB."""
    if value is None:
        return DASH
    if value < 1000:
        return f"{value} B"
    amount = float(value)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95 or unit == "TB":
            break
    return f"{amount:.1f} {unit}"


def ago(then_ms: int, now_ms: int) -> str:
    """Write how long ago: now, 12s ago, 5m ago, 3h ago, 2d ago."""
    seconds = max(0, now_ms - then_ms) // 1000
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago" if seconds else "now"


def moment(ms: int, *, now_ms: int | None = None) -> str:
    """Write an instant in local time; without the date when it is today's."""
    when = datetime.fromtimestamp(ms / 1000).astimezone()
    is_today = now_ms is not None and datetime.fromtimestamp(now_ms / 1000).astimezone().date() == when.date()
    return when.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")
