"""A workload over the real journal, recorder and ledger, cut off by a loss of power, and what must be true after it."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

import apsw

from pricing import PriceBook
from proxy.clock import Clock
from proxy.config import Config
from proxy.journal import CHUNK_RESPONSE, JournalWriter
from proxy.ledger.ledger import Ledger
from proxy.recorder import Recorder
from proxy.recorder.bills import Bills
from proxy.recorder.durability import SegmentSync
from proxy.recorder.interpret import Interpreter
from proxy.reservations import BudgetLine, Draw, Drawn, Granted, Open, Opened, OpenReservation, Release, Reserve, Settle
from proxy.store import SqliteStore, StoreReader, query
from tests.harness.powercut import Recording
from tests.recorder.builders import ANSWER, ANSWER_NANO_USD, PROMPT, START_MS, make_begin, make_end

Durability = Literal["standard", "strict"]
KEEP: Final = Config.model_validate({"retention": {"bodies": "36500d", "records": "36500d"}})
LIMIT: Final = 10**15
LINE: Final = BudgetLine("total", "", LIMIT, True, 0, None)
STEPS: Final = 160
CUTS_PER_RECORDING: Final = 25
BEFORE: Final = "b00t0000"
AFTER: Final = "b00t1111"
"""What the kernel calls the life of the machine before the cut and after it."""


def power_cuts(count: int, seed: int, durability: Durability) -> dict[str, int]:
    """Cut the power `count` times; return how often what happened. Fails with the seed at the first broken promise.

    `promised`: finished exchanges that no cut may take; all were there. `at_stake`: finished within the window of a
    loss; `kept` counts those of both that were there. `reserved`: answers of the ledger, all of which still held.
    """
    chance = random.Random(seed)
    totals = dict.fromkeys(("cuts", "promised", "kept", "at_stake", "reserved"), 0)
    with tempfile.TemporaryDirectory(dir=memory()) as scratch:
        number = 0
        while totals["cuts"] < count:
            number += 1
            root = Path(scratch) / f"recording-{number}"
            recorded = work(root, chance, durability)
            for _ in range(min(CUTS_PER_RECORDING, count - totals["cuts"])):
                cut = chance.randint(recorded.first_cut, recorded.recording.now)
                image = Path(scratch) / "image"
                recorded.recording.image(cut, chance, image)
                try:
                    found = judge(recorded, cut, image)
                except AssertionError as error:
                    raise AssertionError(
                        f"seed {seed}, {durability}, recording {number}, cut {cut}: {error}"
                    ) from error
                finally:
                    shutil.rmtree(image)
                totals["cuts"] += 1
                for name, value in found.items():
                    totals[name] += value
            shutil.rmtree(root)
    return totals


@dataclass(slots=True)
class Worked:
    """What was recorded, and at which event it became true."""

    recording: Recording
    first_cut: int = 0
    begun: dict[str, int] = field(default_factory=dict)
    """BEGIN was appended: the request may have been dispatched."""
    ended: dict[str, int] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)
    """The record survives a loss of power from here on."""
    reserved: dict[str, int] = field(default_factory=dict)
    """The ledger's answer was sent."""
    settling: dict[str, int] = field(default_factory=dict)
    """The ledger was told what it cost, or that it never was."""
    settled: dict[str, int] = field(default_factory=dict)
    """The ledger said that it had heard."""


class Books:
    """The ledger, called directly."""

    def __init__(self, ledger: Ledger, done: Worked | None = None) -> None:
        self.released: list[str] = []
        self._ledger = ledger
        self._done = done

    def settle(self, messages: Sequence[Settle]) -> None:
        with self._noted([message.exchange for message in messages]):
            self._ledger.handle(messages)

    def draw(self, messages: Sequence[Draw]) -> Sequence[str]:
        answers = self._ledger.handle(messages)
        return [
            message.lease
            for message, answer in zip(messages, answers, strict=True)
            if isinstance(answer, Drawn) and not answer.is_open
        ]

    def open(self, owner: str = "") -> Sequence[OpenReservation]:
        (answer,) = self._ledger.handle([Open(0, owner)])
        assert isinstance(answer, Opened)
        return answer.reservations

    def release(self, exchanges: Iterable[str]) -> None:
        released = list(exchanges)
        self.released += released
        with self._noted(released):
            self._ledger.handle([Release(exchange) for exchange in released])

    def close(self) -> None:
        pass

    @contextmanager
    def _noted(self, exchanges: Sequence[str]) -> Iterator[None]:
        done = self._done
        if done is None:
            yield
            return
        # Told twice, as after a restart, the first time counts.
        done.settling = dict.fromkeys(exchanges, done.recording.now) | done.settling
        yield
        done.settled = dict.fromkeys(exchanges, done.recording.now) | done.settled


class Workload:
    """One writer and one recorder at work, one step at a time."""

    def __init__(self, recording: Recording, chance: random.Random, durability: Durability) -> None:
        self.root = root = recording.root
        self.chance = chance
        self.is_strict = durability == "strict"
        self.done = Worked(recording)
        self.open: list[tuple[str, int]] = []
        self.count = 0
        self.ledger = Ledger(root / "ledger.db", book())
        self.writer = self._writer()
        self.recorder, self.store = make_recorder(root, Books(self.ledger, self.done), BEFORE)
        self.sync = SegmentSync(root / "journal")

    def step(self) -> None:
        actions = [self.begin, self.begin, self.chunk, self.end, self.end, self.end, self.fold, self.fold, self.force]
        rare = [self.checkpoint, self.erase, self.restart_recorder, self.renew_writer]
        (self.chance.choice(rare) if self.chance.random() < 0.06 else self.chance.choice(actions))()

    def begin(self) -> None:
        self.count += 1
        exchange = f"id-{self.count}"
        if self.count % 2:
            (answer,) = self.ledger.handle([reserve(exchange, self.writer.name)])
            assert isinstance(answer, Granted)
            self.done.reserved[exchange] = self.now
        if self.count % 14 == 1:
            return  # the gateway died between the reservation and BEGIN, as far as anybody can tell
        number = self.writer.begin(make_begin(id=exchange, is_reserved=bool(self.count % 2)), PROMPT)
        self.done.begun[exchange] = self.now
        self.open.append((exchange, number))

    def chunk(self) -> None:
        if self.open:
            exchange, number = self.chance.choice(self.open)
            self.writer.chunk(CHUNK_RESPONSE, number, b"")
            del exchange

    def end(self) -> None:
        if self.open:
            exchange, number = self.open.pop(self.chance.randrange(len(self.open)))
            middle = self.chance.randrange(len(ANSWER))
            if middle:
                self.writer.chunk(CHUNK_RESPONSE, number, ANSWER[:middle])
            self.writer.end(number, make_end(), ANSWER[middle:])
            self.done.ended[exchange] = self.now

    def force(self) -> None:
        """What the recorder does every 50 ms; in `strict`, what the gateway does before the last byte."""
        ended = list(self.done.ended)
        if self.is_strict:
            self.writer.prepare_sync()()
        else:
            self.sync.sync()
        for exchange in ended:
            self.done.promised.setdefault(exchange, self.now)

    def fold(self) -> None:
        self.recorder.step()

    def checkpoint(self) -> None:
        self.store.checkpoint(at_pages=1)

    def erase(self) -> None:
        """What redaction and deletion do to segments that are folded."""
        self.recorder.erase_journal()

    def restart_recorder(self) -> None:
        self.recorder.close()
        self.recorder, self.store = make_recorder(self.root, Books(self.ledger, self.done), BEFORE)

    def renew_writer(self) -> None:
        if self.is_strict:
            self.force()
        self.writer.close()
        self.open.clear()
        self.writer = self._writer()

    def close(self) -> None:
        self.recorder.close()
        self.writer.close()
        self.ledger.close()

    @property
    def now(self) -> int:
        return self.done.recording.now

    def _writer(self) -> JournalWriter:
        writer = JournalWriter(self.root / "journal", "gateway-0", segment_bytes=6000, boot=BEFORE)
        writer.keeps_rotated = self.is_strict
        return writer


def work(root: Path, chance: random.Random, durability: Durability) -> Worked:
    """Record a workload below `root`."""
    for directory in (root, root / "journal", root / "run"):
        directory.mkdir()
    recording = Recording(root)
    with recording.running():
        workload = Workload(recording, chance, durability)
        try:
            workload.force()
            workload.done.first_cut = recording.now
            for _ in range(STEPS):
                workload.step()
        finally:
            end = recording.now
            workload.close()
    del recording.events[end:]
    return workload.done


def judge(worked: Worked, cut: int, image: Path) -> dict[str, int]:
    """Start on what the cut left, and compare with what was promised."""
    ledger = Ledger(image / "ledger.db", book())
    try:
        sound = _is_sound(image / "ledger.db")
        books = Books(ledger)
        found = {each.exchange for each in books.open()}
        recorder, _ = make_recorder(image, books, AFTER)
        try:
            recorder.run()
        finally:
            recorder.close()
        left, released = books.open(), books.released
        spent = _spent(image / "ledger.db")
    finally:
        ledger.close()
    sound = sound and _is_sound(image / "ledger.db") and _is_sound(image / "records.db")
    rows = _rows(image / "records.db")

    began = _before(worked.begun, cut)
    ended = _before(worked.ended, cut)
    promised = _before(worked.promised, cut)
    acked = _before(worked.reserved, cut)
    lost = {exchange for exchange in promised if rows.get(exchange) != ("completed", ANSWER)}
    assert sound, "a database is corrupt"
    assert not lost, f"promised and not there: {sorted(lost)} of {len(promised)}"
    # A piece that was lost leaves a body that is not shown, never one with a gap.
    wrong = {
        exchange for exchange, (outcome, body) in rows.items() if outcome == "completed" and body not in (ANSWER, b"")
    }
    assert not wrong, f"shown with a wrong body: {sorted(wrong)}"
    assert rows.keys() <= _nearly(worked.begun, cut), "a record of something that never was"
    missing = acked - _before(worked.settling, cut) - found
    assert not missing, f"the ledger forgot reservations: {sorted(missing)}"
    undone = _before(worked.settled, cut) & found
    assert not undone, f"the ledger forgot settlements: {sorted(undone)}"
    assert not left, f"still reserved: {[each.exchange for each in left]}"
    # What was dispatched is paid for: the provider will bill it, whether or not a record of it is left.
    assert not set(released) & began, f"dispatched, and not paid for: {sorted(set(released) & began)}"
    due = ANSWER_NANO_USD * len(began & acked)
    assert spent >= due, f"{due - spent} nano-USD of dispatched requests were not counted"
    return {
        "promised": len(promised),
        "kept": sum(exchange in rows for exchange in ended),
        "at_stake": len(ended - promised),
        "reserved": len(acked),
    }


def make_recorder(root: Path, books: Books, boot: str) -> tuple[Recorder, SqliteStore]:
    """Return a recorder that ends when the journal is folded, and its store."""
    store = SqliteStore(root / "records.db")
    stop = threading.Event()
    stop.set()
    clock = Clock(wall_ms=lambda: START_MS)
    interpreter = Interpreter(book(), KEEP, Bills(store.bills))
    return Recorder(root / "journal", store, interpreter, books, KEEP, stop=stop, clock=clock, boot=boot), store


def reserve(exchange: str, owner: str) -> Reserve:
    """Return a request for admission that covers ANSWER."""
    return Reserve(
        ticket=0,
        exchange=exchange,
        owner=owner,
        model="gpt-4o-mini",
        provider="openai",
        is_free=False,
        endpoint="chat",
        input_bytes=2000,
        max_output_tokens=200,
        choices=1,
        is_sliced=False,
        tier=None,
        lines=(LINE,),
        rates=(),
    )


@cache
def book() -> PriceBook:
    return PriceBook()


def _before(facts: dict[str, int], cut: int) -> set[str]:
    return {exchange for exchange, at in facts.items() if at <= cut}


def _nearly(facts: dict[str, int], cut: int) -> set[str]:
    """What had happened, and what was happening."""
    later = [exchange for exchange, at in sorted(facts.items(), key=lambda fact: fact[1]) if at > cut]
    return _before(facts, cut) | set(later[:1])


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        yield connection
    finally:
        connection.close()


def _is_sound(path: Path) -> bool:
    with _reading(path) as connection:
        is_whole = connection.pragma("integrity_check") == "ok"
        return is_whole and not connection.execute("PRAGMA foreign_key_check").fetchall()


def _spent(path: Path) -> int:
    with _reading(path) as connection:
        return int(str(connection.execute("SELECT coalesce(sum(spent_nano_usd), 0) FROM accounts").get))


def _rows(path: Path) -> dict[str, tuple[str, bytes]]:
    """Return outcome and response body by id, as the product shows them."""
    found: dict[str, tuple[str, bytes]] = {}
    with _reading(path) as connection:
        outcomes = [(str(id_), str(outcome)) for id_, outcome in connection.execute("SELECT id, outcome FROM requests")]
    with StoreReader(path) as reader:
        for id_, outcome in outcomes:
            body = reader.run(query.body(id_, "response"))
            found[id_] = (outcome, (body.head or b"") if body is not None else b"")
    return found


def memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a scratch directory is made in it
