"""The recorder: one process that turns the journal into records.

journal → exchanges (`fold`) → understanding and cost (`interpret`, `verdict`) → rows and counters (`proxy.store`) →
settlement with the ledger (`settle`). It runs beside the traffic and can die at any instant: what it had not stored is
still in the journal, what it had stored is not stored again.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy import locks
from proxy.clock import SYSTEM
from proxy.config import Config
from proxy.config.prices import price_book
from proxy.errors import EnvironmentUnusable, StoreDamaged, StoreError
from proxy.failpoints import failpoint
from proxy.ledger.client import SyncLedgerClient
from proxy.recorder.backfill import Backfill
from proxy.recorder.bills import Bills
from proxy.recorder.deletions import Deletions, Forgetter
from proxy.recorder.durability import SegmentSync
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import FOLDER, Jobs
from proxy.recorder.keep import naming_secret
from proxy.recorder.recorder import Recorder, Stop
from proxy.recorder.revise import Reviser
from proxy.store import SqliteStore, Tally
from proxy.store.damage import set_aside
from proxy.store.orders import Orders

__all__ = ["Recorder", "run", "take_lock"]

log = logging.getLogger(__name__)

_COLLECT_AT: Final = 50_000
"""New objects, about those of two full batches."""
LOCK_PATIENCE_S: Final = 5.0
"""Commands that write records keep the lock for two seconds at a time."""


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
    lock = _patient_lock(data_dir / "recorder.lock", stop)
    sync = SegmentSync(journal)
    sync.start()
    try:
        while not _record(data_dir, config, ledger_socket, stop, ready, sync):
            _begin_anew(data_dir / "records.db", config)
    finally:
        sync.stop()
        os.close(lock)


def _record(
    data_dir: Path, config: Config, ledger_socket: Path, stop: Stop, ready: Callable[[], None], sync: SegmentSync
) -> bool:
    """Record until told to stop; False: the store is damaged, and another one is needed."""
    try:
        failpoint("recorder.open")
        store = SqliteStore(data_dir / "records.db", max_series=config.metrics.record_series)
    except StoreDamaged as error:
        log.error("%s", error)
        return False
    try:
        recorder = _make_recorder(data_dir, store, config, ledger_socket, stop, sync)
        try:
            _spare_the_collector()
            ready()
            recorder.run()
        finally:
            recorder.close()
    except StoreDamaged as error:
        log.error("%s", error)
        with contextlib.suppress(StoreError):
            store.close()
        return False
    return True


def _spare_the_collector() -> None:
    """Let it look at new objects only, and at those seldom: a batch makes thousands, and none of them is a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AT, 20, 20)


def _make_recorder(
    data_dir: Path, store: SqliteStore, config: Config, ledger_socket: Path, stop: Stop, sync: SegmentSync
) -> Recorder:
    book = price_book(config.pricing)
    interpreter = Interpreter(book, config, Bills(store.bills), secret=naming_secret(data_dir))
    reviser = Reviser(book, config, interpreter)
    jobs = Jobs(
        data_dir / FOLDER,
        store.jobs,
        reviser,
        wall_ms=SYSTEM.wall_ms,
        monotonic=SYSTEM.monotonic,
    )
    secret = naming_secret(data_dir)
    forgetter = Forgetter(data_dir, store.deletion, config.record, secret)
    ledger = SyncLedgerClient(ledger_socket)
    deletions = Deletions(Orders(data_dir), forgetter)
    return Recorder(
        data_dir / "journal",
        store,
        interpreter,
        ledger,
        config,
        stop=stop,
        jobs=jobs,
        deletions=deletions,
        backfill=Backfill(store, reviser),
        sync=sync,
    )


def _begin_anew(path: Path, config: Config) -> None:
    """Set a damaged store aside and count that in a new one."""
    set_aside(path)
    store = SqliteStore(path, max_series=config.metrics.record_series)
    store.write([], {}, [Tally("glassline_records_lost_total", (("reason", "store_damaged"),), 1)])
    store.close()


class _Signalled:
    """Set by SIGTERM or SIGINT. Not a `threading.Event`: setting one in a handler can deadlock with waiting for it."""

    def __init__(self) -> None:
        self._is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        # Not `time.sleep`, which waits for a moment: where the clock is simulated that may be past already, an error.
        select.select((), (), (), timeout or 0.0)
        return self._is_set

    def _note(self, *_: object) -> None:
        self._is_set = True


def _patient_lock(path: Path, stop: Stop) -> int:
    """Take the lock, as soon as a command that has it for a moment lets it go."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return take_lock(path)
        except EnvironmentUnusable:
            if stop.is_set() or time.monotonic() > deadline:
                raise
        stop.wait(0.05)


def take_lock(path: Path) -> int:
    """Take the lock of the one writer of a data directory's records. Raises EnvironmentUnusable: it is taken."""
    lock = locks.take_lock(path)
    if lock is None:
        raise EnvironmentUnusable(f"{path.parent}: another recorder is at work here")
    return lock
