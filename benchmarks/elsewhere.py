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


class Pages(msgspec.Struct, frozen=True):
    """Listing, filtering and sorting, of `benchmarks/queries.py`."""

    rows: int
    worst_p95_ms: float
    "of the slowest question"


class Sums(msgspec.Struct, frozen=True):
    """Roll-ups and search, of `benchmarks/rollups.py`."""

    rows: int
    cost_p95_ms: float
    overview_p95_ms: float
    search_p95_ms: float


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    corpus: dict[str, Kind] = {}
    pages: Pages | None = None
    sums: Sums | None = None


def read_elsewhere(build: Path) -> Elsewhere:
    """Read what there is."""
    return Elsewhere(
        corpus=_read(build / "corpus.json", dict[str, Kind]) or {},
        pages=_read(build / "queries.json", Pages),
        sums=_read(build / "rollups.json", Sums),
    )


def _read(file: Path, kind: type[Figures]) -> Figures | None:
    return msgspec.json.decode(file.read_bytes(), type=kind) if file.exists() else None
