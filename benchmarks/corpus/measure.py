"""What stored traffic weighs, and what storing it costs: `python -m benchmarks.corpus.measure [--scale N]`.

Generated traffic of each kind, sessions interleaved, goes through the interpreter into a store of its own. Raw bytes are
those of both bodies, without heads; stored bytes are pages of the tables that hold heads and bodies, with their indexes.
Every body is read back and compared. The time is CPU time of one core for cutting, packing and inserting, commits
included, beside that of packing whole bodies without a dictionary, as rows of a plain table.
Prints a table and writes benchmarks/build/corpus.json.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import zstandard

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.corpus.text import Library, standard_library
from benchmarks.corpus.traffic import KINDS, START_MS, Passed
from pricing import PriceBook
from proxy.config import Config
from proxy.databases import open_database
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.records import Begin, Body, End, Exchange, Timeline, join_headers
from proxy.store import Record, SqliteStore, StoreReader
from proxy.store import query as ask
from proxy.store.payloads import PayloadWriter

_SEED: Final = 7
_BATCH: Final = 100
_SIZES: Final = {"agent": 12, "support": 100, "chat": 20_000, "rag": 300, "multimodal": 12}
"""Sessions or requests of each kind."""
_TABLES: Final = ("payloads", "pieces", "sqlite_autoindex_pieces_1")
_PARTS: Final = {
    "rows": ("exchanges",),
    "bodies and heads": _TABLES,
    "words": ("texts_data", "texts_idx", "texts_docsize"),
    "sums and zones": ("rollups", "rollups_by_place", "zones", "zones_by_time", "facets", "facets_by_zone"),
}
"""The rest are indexes of the rows, and what does not grow."""


class Weight(msgspec.Struct, frozen=True):
    """What one kind of traffic weighs."""

    kind: str
    requests: int
    raw_bytes: int
    stored_bytes: int
    """Of heads and bodies."""
    total_bytes: int
    """Of the whole database."""
    parts: dict[str, int]
    """The same by what it is for."""
    cpu_us: float
    """For each request."""
    plain_cpu_us: float
    """For each request, without pieces and without a dictionary."""

    @property
    def ratio(self) -> float:
        """Return how many times smaller what is stored is than what passed."""
        return self.raw_bytes / self.stored_bytes


def weigh(kind: str, passed: Sequence[Passed], folder: Path) -> Weight:
    """Store traffic, read it again, and say what it weighs."""
    interpreter = Interpreter(PriceBook(), Config(), Bills())
    records = [interpreter.record(_exchange(number, each)) for number, each in enumerate(passed)]
    store = SqliteStore(folder / f"{kind}.db")
    for start in range(0, len(records), _BATCH):
        store.write(records[start : start + _BATCH], {})
        store.checkpoint()
    store.close()
    _compare(folder / f"{kind}.db", passed)
    sizes = _sizes(folder / f"{kind}.db")
    return Weight(
        kind=kind,
        requests=len(passed),
        raw_bytes=sum(each.raw_bytes for each in passed),
        stored_bytes=sum(sizes.get(name, 0) for name in _TABLES),
        total_bytes=sum(sizes.values()),
        parts=_parts(sizes),
        cpu_us=min(_cost(records, folder) for _ in range(3)) / len(passed),
        plain_cpu_us=min(_plain_cost(records, folder) for _ in range(3)) / len(passed),
    )


def _compare(path: Path, passed: Sequence[Passed]) -> None:
    with StoreReader(path) as reader:
        for number, each in enumerate(passed):
            for side, expected in (("request", each.request), ("response", each.response)):
                body = reader.run(ask.body(_id(number), "request" if side == "request" else "response"))
                if body is None or body.head != expected:
                    raise SystemExit(f"the {side} of {number} was not read back as it was")


def _sizes(path: Path) -> dict[str, int]:
    with contextlib.closing(open_database(path, "read")) as connection:
        return {
            str(name): int(str(size))
            for name, size in connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
        }


def _parts(sizes: dict[str, int]) -> dict[str, int]:
    parts = {name: sum(sizes.get(table, 0) for table in tables) for name, tables in _PARTS.items()}
    return parts | {
        "indexes of rows": sum(size for name, size in sizes.items() if "exchanges_" in name),
    }


def _cost(records: Sequence[Record], folder: Path) -> float:
    """Return CPU time in µs."""
    path = folder / "cost.db"
    SqliteStore(path).close()
    with contextlib.closing(open_database(path, "write")) as connection:
        connection.pragma("synchronous", 1)
        connection.wal_autocheckpoint(0)
        writer = PayloadWriter(connection)
        started = time.process_time_ns()
        for start in range(0, len(records), _BATCH):
            with connection:
                writer.write(
                    (start + at, each.request, each.response) for at, each in enumerate(records[start : start + _BATCH])
                )
        spent = time.process_time_ns() - started
    path.unlink()
    return spent / 1000


def _plain_cost(records: Sequence[Record], folder: Path) -> float:
    """Return CPU time in µs."""
    path = folder / "plain.db"
    with contextlib.closing(open_database(path, "write")) as connection:
        connection.pragma("page_size", 16384)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 1)
        connection.wal_autocheckpoint(0)
        connection.execute("CREATE TABLE bodies (head TEXT, data BLOB)")
        compressor = zstandard.ZstdCompressor(level=3)
        started = time.process_time_ns()
        for start in range(0, len(records), _BATCH):
            with connection:
                connection.executemany(
                    "INSERT INTO bodies VALUES (?, ?)", list(_plain(records[start : start + _BATCH], compressor))
                )
        spent = time.process_time_ns() - started
    path.unlink()
    return spent / 1000


def _plain(records: Sequence[Record], compressor: zstandard.ZstdCompressor) -> Iterator[tuple[str, bytes]]:
    for record in records:
        for body in (record.request, record.response):
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in body.headers]
            yield msgspec.json.encode(headers).decode(), compressor.compress(body.head or b"")


def _interleaved(passed: Iterator[Passed], library: Library) -> list[Passed]:
    """Mix sessions; each keeps its own order."""
    sessions: dict[str, list[Passed]] = {}
    for each in passed:
        sessions.setdefault(each.session, []).append(each)
    waiting = [list(reversed(session)) for session in sessions.values()]
    mixed = []
    while waiting:
        at = library.numbers.randrange(len(waiting))
        mixed.append(waiting[at].pop())
        if not waiting[at]:
            waiting[at] = waiting[-1]
            waiting.pop()
    return mixed


def _exchange(number: int, passed: Passed) -> Exchange:
    begin = Begin(
        id=_id(number),
        started_at_ms=START_MS + number,
        upstream="provider",
        wire={"/messages": "anthropic"}.get(passed.path, "gemini" if "models" in passed.path else "openai"),
        provider=None,
        is_free=False,
        method="POST",
        path=passed.path,
        headers=passed.request_headers,
        key="application",
        session=passed.session,
    )
    end = End(
        outcome="completed",
        status=200,
        head=join_headers(passed.response_headers),
        request_size=len(passed.request),
        response_size=len(passed.response),
        request_complete_us=90,
        dispatched_us=150,
        response_head_us=400_000 + number % 1000,
        ended_us=500_000 + number % 7000,
        overhead_us=250,
    )
    request, response = (Body(data, len(data), sha256(data).digest()) for data in (passed.request, passed.response))
    return Exchange(begin, end, request, response, Timeline())


def _id(number: int) -> str:
    return f"0198f2b1-7c00-7000-8000-{number:012d}"


def main() -> None:
    """Weigh every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of sessions")
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    arguments = parser.parse_args()
    weights = []
    print(
        f"{'kind':12}{'requests':>9}{'raw/request':>13}{'stored/request':>15}{'ratio':>8}{'database':>10}{'CPU µs':>9}{'plain µs':>10}"
    )
    for kind in arguments.kind or KINDS:
        library = standard_library(_SEED)
        passed = _interleaved(KINDS[kind](library, max(1, int(_SIZES[kind] * arguments.scale))), library)
        with tempfile.TemporaryDirectory() as folder:
            each = weigh(kind, passed, Path(folder))
        weights.append(each)
        shares = [value / each.requests for value in (each.raw_bytes, each.stored_bytes)]
        print(
            f"{kind:12}{each.requests:9}{shares[0]:13.0f}{shares[1]:15.0f}{each.ratio:8.1f}"
            f"{each.total_bytes / each.requests:10.0f}{each.cpu_us:9.1f}{each.plain_cpu_us:10.1f}"
        )
    target = Path(__file__).resolve().parents[1] / "build" / "corpus.json"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(
        msgspec.json.format(
            msgspec.json.encode({each.kind: msgspec.to_builtins(each) | {"ratio": each.ratio} for each in weights})
        )
    )


if __name__ == "__main__":
    main()
