"""The recorder: one process that turns the journal into records.

journal → exchanges (`fold`) → understanding and cost (`interpret`, `verdict`) → rows and counters (`proxy.store`) →
settlement with the ledger (`settle`). It runs beside the traffic and can die at any instant: what it had not stored is
still in the journal, what it had stored is not stored again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from proxy.config import Config
from proxy.config.prices import price_book
from proxy.errors import EnvironmentUnusable
from proxy.ledger.client import SyncLedgerClient
from proxy.recorder.bills import Bills
from proxy.recorder.durability import SegmentSync
from proxy.recorder.interpret import Interpreter
from proxy.recorder.recorder import Recorder, Stop
from proxy.store import SqliteStore

__all__ = ["Recorder", "run"]


def run(
    data_dir: Path,
    config: Config,
    ledger_socket: Path,
    *,
    stop: Stop | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Record until told to stop, then until the journal is folded.

    Without `stop`, SIGTERM and SIGINT end it. `ready` is called when the store is open. Raises EnvironmentUnusable and
    StoreError at the start only.
    """
    stop = stop or _Signalled()
    journal = data_dir / "journal"
    journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(data_dir / "recorder.lock")
    store = SqliteStore(data_dir / "records.db", max_series=config.metrics.max_series)
    interpreter = Interpreter(price_book(config.pricing), config, Bills(store.payers))
    recorder = Recorder(journal, store, interpreter, SyncLedgerClient(ledger_socket), config, stop=stop)
    sync = SegmentSync(journal)
    sync.start()
    ready()
    try:
        recorder.run()
    finally:
        sync.stop()
        recorder.close()
        os.close(lock)


class _Signalled:
    """Set by SIGTERM or SIGINT. Not a `threading.Event`: setting one in a handler can deadlock with waiting for it."""

    def __init__(self) -> None:
        self._is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0.0)
        return self._is_set

    def _note(self, *_: object) -> None:
        self._is_set = True


def _lock(path: Path) -> int:
    """Take the lock of the one recorder of a data directory."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise EnvironmentUnusable(f"{path.parent}: another recorder is at work here") from None
    return descriptor
