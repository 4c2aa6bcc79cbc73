"""Bits that rot in a data directory: whatever flips, a start ends soon, shows nothing wrong and tells what it found."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import apsw

from proxy.errors import OurError
from proxy.journal import CHUNK_RESPONSE, JournalWriter
from proxy.ledger.ledger import Ledger
from proxy.recorder import run
from proxy.store import StoreReader, query
from tests.faults.disk.outage import KEEP, Books, book, make_recorder, memory, reserve
from tests.recorder.builders import ANSWER, PROMPT, make_begin, make_end

START_WITHIN_S: Final = 10.0
STORED: Final = 60
WAITING: Final = 30
PARTS: Final = ("records.db", "records.db-wal", "ledger.db", "ledger.db-wal", "journal")


def bit_rot(count: int, seed: int) -> dict[str, int]:
    """Flip a bit, or a few, in a data directory and start on it, `count` times; return how often what happened.

    Fails with the seed when a start takes longer than ten seconds, ends in an error that is none of ours, shows a body
    that was never sent, or forgets without a word what is spent.
    """
    chance = random.Random(seed)
    found = dict.fromkeys(("flips", "unharmed", "set_aside", "refused", "counted", "slowest_ms"), 0)
    with tempfile.TemporaryDirectory(dir=memory()) as scratch:
        pattern = Path(scratch) / "pattern"
        _make(pattern)
        for number in range(count):
            directory = Path(scratch) / "rotten"
            shutil.copytree(pattern, directory)
            part = PARTS[number % len(PARTS)]
            places = _flip(directory, part, chance)
            try:
                outcome, took_s = _start(directory)
            except Exception as error:
                raise AssertionError(f"seed {seed}, flip {number} in {part} at {places}: {error!r}") from error
            shutil.rmtree(directory)
            assert took_s < START_WITHIN_S, f"seed {seed}, flip {number} in {part}: {took_s:.1f} s"
            found["flips"] += 1
            found[outcome] += 1
            found["slowest_ms"] = max(found["slowest_ms"], int(took_s * 1000))
    return found


def _make(root: Path) -> None:
    """Leave a data directory as `kill -9` leaves it: some records stored, some in the journal, both logs full."""
    for directory in (root, root / "journal", root / "run"):
        directory.mkdir()
    ledger = Ledger(root / "ledger.db", book())
    writer = JournalWriter(root / "journal", "gateway-0", segment_bytes=40_000)
    recorder, store = make_recorder(root, Books(ledger), "b00t0000")
    for number in range(STORED):
        _exchange(writer, ledger, f"stored-{number}", number)
        if number == STORED // 2:
            recorder.step()
            store.checkpoint(at_pages=1)
            ledger._connection.wal_checkpoint()
    recorder.step()
    for number in range(WAITING):
        _exchange(writer, ledger, f"waiting-{number}", number)
    frozen = root.with_name("frozen")
    shutil.copytree(root, frozen)
    recorder.close()
    writer.close()
    ledger.close()
    shutil.rmtree(root)
    frozen.rename(root)


def _exchange(writer: JournalWriter, ledger: Ledger, exchange: str, number: int) -> None:
    ledger.handle([reserve(exchange, writer.name)])
    entry = writer.begin(make_begin(id=exchange, is_reserved=True), PROMPT)
    if number % 2:
        writer.chunk(CHUNK_RESPONSE, entry, ANSWER[:50])
    writer.end(entry, make_end(), ANSWER[50:] if number % 2 else ANSWER)


def _flip(directory: Path, part: str, chance: random.Random) -> list[int]:
    files = sorted((directory / part).glob("*.journal")) if part == "journal" else [directory / part]
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    places = [chance.randrange(len(content)) for _ in range(chance.choice((1, 1, 1, 2, 8, 64)))]
    if chance.random() < 0.2:  # the part that everything hangs on
        places[0] = chance.randrange(min(len(content), 100))
    for place in places:
        content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return places


def _start(directory: Path) -> tuple[str, float]:
    """Do what the ledger and the recorder do at a start, and look at what is shown then."""
    started = time.monotonic()
    try:
        ledger = Ledger(directory / "ledger.db", book())
    except OurError:
        return "refused", time.monotonic() - started
    ledger.close()
    stop = threading.Event()
    stop.set()
    outcome = "unharmed"
    try:
        run(directory, KEEP, directory / "run" / "none.sock", stop=stop)
    except OurError:
        outcome = "refused"
    took_s = time.monotonic() - started
    if list(directory.glob("records.db.corrupt-*")):
        outcome = "set_aside"
        assert _lost(directory) > 0, "set aside, and not counted"
    if outcome == "refused":
        return outcome, took_s
    counted = _look(directory)
    return ("counted" if outcome == "unharmed" and counted else outcome), took_s


def _look(directory: Path) -> bool:
    """Check that nothing wrong is shown; say whether anything is known to be lost."""
    with StoreReader(directory / "records.db") as reader:
        ids = [str(row[0]) for row in _rows(directory, "SELECT id FROM exchanges")]
        assert len(ids) == len(set(ids))
        for id_ in ids:
            body = reader.run(query.body(id_, "response"))
            # Of an exchange whose END rotted, the beginning that was kept is shown, as interrupted.
            assert body is None or body.head in (ANSWER, ANSWER[:50], b"", None), f"{id_} is shown with a wrong body"
    told = _rows(directory, "SELECT name FROM status WHERE name IN ('bad_frames', 'torn_tails') AND value > 0")
    return bool(told or _lost(directory))


def _lost(directory: Path) -> int:
    sql = "SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'glassline_records_lost_total'"
    return int(str(_rows(directory, sql)[0][0]))


def _rows(directory: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(directory / "records.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [tuple(row) for row in connection.execute(sql)]
    finally:
        connection.close()


if __name__ == "__main__":
    print(json.dumps(bit_rot(200, 1)))
