"""Retention over a large store while streams pass: what it takes, whom it delays, and what it leaves in the files."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.store import Record, SqliteStore
from tests.faults.disk.steady import WARM_S, ask, first_p99, missing, problems, sessions
from tests.faults.lifecycle.traffic import resident_kb
from tests.harness import Glassline
from tests.harness.pacer import Pacer, between
from tests.harness.process import wait_until
from tests.recorder.builders import make_begin, make_end, make_record

CANARY: Final = b"CANARY-OF-WHAT-IS-TOO-OLD"
_DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
_LOOK_EVERY_S: Final = 0.25
_PIECE: Final = 1 << 24


@dataclass
class _Watch:
    """What was seen of a store while it was purged."""

    oldest: list[int] = field(default_factory=list)
    """Of the rows there were, one after the other."""
    most_kb: int = 0
    """Memory of all processes."""


def purge_store(
    glassline: Glassline, rows: int, per_second: float, calm_s: float, *, body_bytes: int = 1000, within_s: float = 900
) -> dict[str, Any]:
    """Fill the store of a Glassline that does not run yet, let streams pass, lower its retention and watch.

    `batch` is what all steps that were seen are multiples of: with many of them, the rows of one batch.
    """
    glassline.data_dir.mkdir(mode=0o700, exist_ok=True)
    database = glassline.data_dir / "records.db"
    cutoff_ms = int(time.time() * 1000) - _DAY_MS
    fill(database, rows, cutoff_ms - _DAY_MS - rows, body_bytes)
    full_bytes, found_before = database.stat().st_size, search(glassline.data_dir)
    config = yaml.safe_load(glassline.config_file.read_text())
    glassline.start()
    with Pacer(glassline.port, ask(is_stream=True), per_second) as pacer:
        time.sleep(WARM_S)
        calm = time.monotonic()
        time.sleep(calm_s)
        memory_kb = sum(resident_kb(glassline).values())
        glassline.write_config(config | {"retention": {"bodies": "12h", "records": "1d"}})
        begun = time.monotonic()
        glassline.reload()
        watch = _watch(glassline, cutoff_ms, begun + within_s)
        purged = time.monotonic()
        wait_until(lambda: not _free_pages(glassline) or time.monotonic() > purged + 60, "time", timeout_s=70)
        small = time.monotonic()
        wait_until(lambda: not search(glassline.data_dir) or time.monotonic() > small + 30, "time", timeout_s=60)
        found, ended = search(glassline.data_dir), time.monotonic()
        small_bytes, free = database.stat().st_size, _free_pages(glassline)
        asked = pacer.stop()
    wait_until(lambda: not missing(asked, sessions(database)), "all records", timeout_s=60)
    steps = [later - earlier for earlier, later in pairwise(watch.oldest)]
    return {
        "rows": rows,
        "seconds": purged - begun,
        "is_some_left": _is_some_left(glassline, cutoff_ms),
        "batch": math.gcd(*steps),
        "requests": len(asked),
        "failed": len(problems(asked)),
        "first_problems": problems(asked)[:3],
        "grown_mb": (watch.most_kb - memory_kb) / 1024,
        "calm_p99_ms": first_p99(between(asked, calm, begun)),
        "purging_p99_ms": first_p99(between(asked, begun, purged)),
        "full_mb": full_bytes / 2**20,
        "small_mb": small_bytes / 2**20,
        "free_pages": free,
        "shrunk_s": small - purged,
        "found_before": found_before,
        "found": found,
        "clean_s": ended - purged,
    }


def fill(database: Path, rows: int, first_ms: int, body_bytes: int) -> None:
    """Store so many requests, a millisecond apart, each with the canary in its request and as its user."""
    store = SqliteStore(database)
    for start in range(0, rows, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, rows))
        store.write([_record(number, first_ms + number, body_bytes) for number in numbers], {})
        store.checkpoint(at_pages=4000)
    store.checkpoint(at_pages=1)
    store.close()


def search(directory: Path) -> dict[str, int]:
    """Return how often the canary stands in which files below a directory."""
    found = {path.name: _occurrences(path) for path in directory.rglob("*") if path.is_file()}
    return {name: count for name, count in found.items() if count}


def _record(number: int, at_ms: int, body_bytes: int) -> Record:
    request = b'{"said":"%b"}' % CANARY  # so short that it is not compressed: a search finds it
    response = b'{"said":"%b"}' % os.urandom(body_bytes // 2).hex().encode()
    begin = make_begin(id=f"old-{number:09}", started_at_ms=at_ms, user=CANARY.decode(), session="old")
    return make_record(begin, make_end(response, request), request=request, response=response)


def _watch(glassline: Glassline, cutoff_ms: int, until: float) -> _Watch:
    """Look until nothing is left to delete, or until it is too late."""
    watch = _Watch()
    while time.monotonic() < until:
        watch.most_kb = max(watch.most_kb, sum(resident_kb(glassline).values()))
        [row] = glassline.rows("SELECT min(seq) AS oldest FROM exchanges")
        watch.oldest.append(int(row["oldest"]))
        if not _is_some_left(glassline, cutoff_ms):
            break
        time.sleep(_LOOK_EVERY_S)
    return watch


def _is_some_left(glassline: Glassline, cutoff_ms: int) -> bool:
    return bool(glassline.rows("SELECT 1 AS one FROM exchanges WHERE started_at < ? LIMIT 1", cutoff_ms))


def _free_pages(glassline: Glassline) -> int:
    [row] = glassline.rows("PRAGMA freelist_count")
    return int(row["freelist_count"])


def _occurrences(path: Path) -> int:
    """Count in pieces, which overlap by less than a canary."""
    count, before = 0, b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                piece = before + piece
                count += piece.count(CANARY)
                before = piece[1 - len(CANARY) :]
    except FileNotFoundError:
        return 0  # it came and went
    return count
