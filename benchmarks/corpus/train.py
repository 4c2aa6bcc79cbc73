"""Train the dictionary that small stored texts are compressed with: `python -m benchmarks.corpus.train NUMBER`.

What it learns from is generated: the shapes of requests and answers, filled with this repository's own text. A trained
dictionary never changes, because stored texts need it: another one gets another number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zstandard

from benchmarks.corpus.text import own_text
from benchmarks.corpus.traffic import KINDS, Passed
from proxy.store.packing import LEVEL
from proxy.store.pieces import Part, cut_request

_SEED = 20261121
_SIZE = 64 * 1024
"""Beyond it every doubling gains some three percent of a chat, and stays in the memory of every reader."""
_SAMPLES = {"agent": 6, "support": 80, "chat": 1500, "rag": 60, "multimodal": 8}


def train() -> bytes:
    """Return a dictionary."""
    library = own_text(_SEED)
    samples: list[bytes | bytearray | memoryview] = [
        sample
        for kind, number in _SAMPLES.items()
        for passed in KINDS[kind](library, number)
        for sample in _samples(passed)
    ]
    library.numbers.shuffle(samples)
    return zstandard.train_dictionary(_SIZE, samples, level=LEVEL).as_bytes()


def _samples(passed: Passed) -> Iterator[bytes]:
    """Yield what of an exchange is packed at a time."""
    said = [part for part in cut_request(passed.request, _nameless).parts if len(part.data) < 8192]
    yield msgspec.msgpack.encode([[part.data for part in said[-3:]], passed.response[:4096]])
    for headers in (passed.request_headers, passed.response_headers):
        yield msgspec.json.encode([(name.decode(), value.decode()) for name, value in headers])
    yield from (part.data for part in _leaves(said) if len(part.data) > 64)


def _leaves(parts: list[Part]) -> Iterator[Part]:
    for part in parts:
        yield from _leaves(list(part.parts)) if part.parts else (part,)


def _nameless(_: bytes) -> bytes:
    return b"\1"


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "proxy" / "store" / "dictionaries" / f"{int(sys.argv[1])}.zdict"
    if target.exists():
        sys.exit(f"{target.name} exists: stored texts need it as it is")
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(train())
