"""A recorder that is stepped by hand, and a journal for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.clock import Clock
from proxy.config import Config
from proxy.journal import JournalWriter
from proxy.ledger.client import SyncLedgerClient
from proxy.recorder import Recorder
from proxy.recorder.interpret import Interpreter
from proxy.store import SqliteStore
from tests.recorder.builders import START_MS, interpreter

Make = Callable[..., Recorder]


class Hands:
    """Both clocks, held in the hand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.runs = False
        """Time passes, too."""

    @property
    def clock(self) -> Clock:
        return Clock(wall_ms=lambda: START_MS + int(self.seconds * 1000), monotonic=self.monotonic)

    def monotonic(self) -> float:
        return self.seconds + (time.monotonic() if self.runs else 0)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def make(tmp_path: Path, hands: Hands, stop: threading.Event) -> Iterator[Make]:
    """Make recorders of tmp_path, one after the other; `config` is JSON. There is no ledger."""
    made: list[Recorder] = []

    def start(config: str = "{}", meaning: Interpreter | None = None) -> Recorder:
        for earlier in made:
            earlier.close()
        made.clear()
        store = SqliteStore(tmp_path / "records.db")
        ledger = SyncLedgerClient(tmp_path / "no-ledger.sock")
        meaning = meaning or interpreter(config)
        parsed = Config.model_validate_json(config)
        made.append(Recorder(tmp_path / "journal", store, meaning, ledger, parsed, stop=stop, clock=hands.clock))
        return made[0]

    yield start
    for recorder in made:
        recorder.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(tmp_path / "journal", "gateway-0", segment_bytes=20_000)
    yield writer
    writer.close()
