"""Rows as files for other programs: JSON lines, or CSV that a spreadsheet cannot be tricked by.

Both are made a few rows at a time, so that a file may be larger than the memory.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

Row = Mapping[str, Any]
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def jsonl(rows: Iterable[Row], columns: Sequence[str] | None = None) -> str:
    """Return one line for each row, with these columns of it; None: with all that it has."""
    wanted = (row if columns is None else {name: row.get(name) for name in columns} for row in rows)
    return "".join(f"{msgspec.json.encode(row).decode()}\n" for row in wanted)


class Csv:
    """Writes the lines of one file."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def title(self) -> str:
        """Return the line that names the columns."""
        return _line([self._columns])

    def lines(self, rows: Iterable[Row]) -> str:
        """Return one line for each row; what is unknown is empty."""
        return _line([_cell(row.get(name)) for name in self._columns] for row in rows)


def _line(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO(newline="")
    # As RFC 4180 ends a line; with a bare line feed, Python would not quote a text with a carriage return, and what
    # follows that would begin a row of its own.
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _cell(value: object) -> object:
    # A model name such as `=HYPERLINK(…)` would run as a formula in whoever's spreadsheet opens the file. An
    # apostrophe in front makes it text (OWASP, CSV injection). Numbers are left alone: `-1` is a number.
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if text == "null" and not isinstance(value, str):
        return None
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
