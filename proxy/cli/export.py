"""Requests as files for other programs: JSON lines, or CSV that a spreadsheet cannot be tricked by."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Final, TextIO

from proxy.cli.records import request_line
from proxy.store.query import RequestRow

CSV_FIELDS: Final = tuple(name for name in RequestRow.__struct_fields__ if name != "seq")
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_jsonl(rows: Iterable[RequestRow], out: TextIO) -> None:
    """Write one JSON object a line."""
    for row in rows:
        out.write(request_line(row) + "\n")


def write_csv(rows: Iterable[RequestRow], out: TextIO) -> None:
    """Write CSV with a title line; unknown values are empty."""
    # As RFC 4180 ends a line; with a bare line feed, Python would not quote a text with a carriage return, and what
    # follows that would begin a row of its own.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_FIELDS)
    for row in rows:
        writer.writerow([_safe(getattr(row, name)) for name in CSV_FIELDS])


def _safe(value: object) -> object:
    # A model name such as `=HYPERLINK(…)` would run as a formula in whoever's spreadsheet opens the file. An
    # apostrophe in front makes it text (OWASP, CSV injection). Numbers are left alone: `-1` is a number.
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return "'" + value
    return value
