"""Figures of the benchmarks of the store, which leave them beside the samples; one that has not run is missing."""

from pathlib import Path
from typing import TypeVar

import msgspec

Figures = TypeVar("Figures")


class Kind(msgspec.Struct, frozen=True):
    """One kind of traffic, of `benchmarks/corpus`."""

    requests: int
    total_bytes: int
    "of the database, rows and indexes included"
    ratio: float
    "raw bytes of the bodies for each that is stored"
    raw_bytes: int = 0
    "of the bodies"
    parts: dict[str, int] = {}
    "of the stored bytes, by what they are for; empty: not measured"


class Questions(msgspec.Struct, frozen=True):
    """Lists, searches and sums, of `benchmarks/queries.py`."""

    rows: int
    p95_ms: float
    "of all pages of all lists"
    worst_p95_ms: float
    "of the slowest list"
    search_p95_ms: float
    cost_p95_ms: float
    overview_p95_ms: float


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    corpus: dict[str, Kind] = {}
    questions: Questions | None = None


def read_elsewhere(build: Path) -> Elsewhere:
    """Read what there is."""
    return Elsewhere(
        corpus=_read(build / "corpus.json", dict[str, Kind]) or {},
        questions=_read(build / "queries.json", Questions),
    )


def _read(file: Path, kind: type[Figures]) -> Figures | None:
    return msgspec.json.decode(file.read_bytes(), type=kind) if file.exists() else None
