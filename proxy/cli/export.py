"""Requests as files for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TextIO

from proxy.admin.shapes import request_shape
from proxy.admin.sheets import Csv, jsonl
from proxy.store.query import RequestRow

CSV_FIELDS: Final = tuple(name for name in RequestRow.__struct_fields__ if name != "seq")
_AT_ONCE: Final = 500


def write_jsonl(rows: Iterable[RequestRow], out: TextIO) -> None:
    """Write one JSON object a line."""
    for some in _slices(rows):
        out.write(jsonl(some))


def write_csv(rows: Iterable[RequestRow], out: TextIO) -> None:
    """Write CSV with a title line; unknown values are empty."""
    sheet = Csv(CSV_FIELDS)
    out.write(sheet.title())
    for some in _slices(rows):
        out.write(sheet.lines(some))


def _slices(rows: Iterable[RequestRow]) -> Iterator[list[dict[str, Any]]]:
    shapes = map(request_shape, rows)
    while some := list(islice(shapes, _AT_ONCE)):
        yield some
