"""`glassline reprice` and `glassline reread`: opinions about stored records, formed anew.

One process writes records.db. While `glassline serve` runs that is the recorder: the work is handed to it and watched.
Otherwise it is done here, under the same lock. A dry run only reads, and may be done beside anything.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import msgspec

from proxy.admin.amounts import money
from proxy.admin.when import read_instant
from proxy.cli.records import json_line, now_ms
from proxy.cli.settings import open_settings
from proxy.cli.table import Cell, Column, Screen, count
from proxy.config import Config
from proxy.config.prices import price_book
from proxy.databases import open_database
from proxy.encryption import sealed
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.files import write_whole
from proxy.recorder import take_lock
from proxy.recorder.bills import Bills
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import FOLDER, SLICE, JobFile, revised, run_slice
from proxy.recorder.keep import naming_secret
from proxy.recorder.revise import Reviser
from proxy.store import SqliteStore
from proxy.store.bills import BillReader
from proxy.store.jobs import Difference, Job, JobReader, Summary, Task
from proxy.upgrade import missing_numbers

_LOOK_EVERY_S: Final = 0.2
_TURN_S: Final = 2.0
"""How long the lock is kept at a time: a recorder that starts meanwhile waits longer than this."""
_SILENCE_MS: Final = 10_000
"""After so long without a sign of life the recorder is taken for dead; it gives one every second."""
_COLUMNS: Final = (
    Column("DAY"),
    Column("MODEL"),
    *(Column(name, is_number=True) for name in ("REQUESTS", "CHANGED", "BEFORE", "AFTER", "DIFFERENCE", "NO PRICE")),
)
Progress = Callable[[Job], None]


def run(arguments: argparse.Namespace) -> int:
    """Revise what was chosen, and print what that changed by day and model."""
    config = open_settings(arguments)
    path = config.data_dir / "records.db"
    if not path.exists():
        raise EnvironmentUnusable(f"{path}: no records yet: is this the data directory of `glassline serve`?")
    task = read_task(arguments)
    with _progress(arguments.action, is_quiet=arguments.json) as progress:
        do = try_out if arguments.dry_run else carry_out
        differences = do(task, config, progress)
    _print(differences, arguments)
    return 0


def read_task(arguments: argparse.Namespace) -> Task:
    """Return what is asked for. Raises ClientError."""
    now = now_ms()
    return Task(
        kind=arguments.action,
        from_ms=read_instant(arguments.start, now) if arguments.start else None,
        to_ms=read_instant(arguments.end, now) if arguments.end else None,
        model=arguments.model,
    )


def try_out(task: Task, config: Config, progress: Progress) -> list[Difference]:
    """Return what the task would change."""
    path = config.data_dir / "records.db"
    if missing_numbers(path):
        raise EnvironmentUnusable(f"{path}: made by an older version: `glassline migrate` brings it up to date")
    with _reading(path) as connection:
        store = JobReader(connection)
        reviser = _reviser(config, Bills(BillReader(connection)))
        job = store.start(task)
        summary = Summary()
        while job.done_seq < job.last_seq:
            part = store.take(job, SLICE[task.kind])
            summary.add(revised(task.kind, row, store, reviser) for row in part.rows)
            job = msgspec.structs.replace(job, done_seq=part.done_seq, done=job.done + len(part.rows))
            progress(job)
        return summary.differences


def carry_out(task: Task, config: Config, progress: Progress) -> list[Difference]:
    """Have the task done by whoever may write; return what it changed."""
    id_ = str(uuid.uuid4())
    while True:
        try:
            lock = take_lock(config.data_dir / "recorder.lock")
        except EnvironmentUnusable:
            differences = _hand_over(id_, task, config, progress)
        else:
            try:
                differences = _do(id_, task, config, progress)
            finally:
                os.close(lock)
        if differences is not None:
            return differences
        # A recorder that is just starting waits for the lock: let it have it.
        time.sleep(_LOOK_EVERY_S)


def _do(id_: str, task: Task, config: Config, progress: Progress) -> list[Difference] | None:
    """Do the task here, for a while, and go on with the same task of somebody who was killed. None: not all is done."""
    deadline = time.monotonic() + _TURN_S
    (config.data_dir / FOLDER / f"{id_}.json").unlink(missing_ok=True)
    store = SqliteStore(config.data_dir / "records.db", max_series=config.metrics.record_series)
    try:
        reviser = _reviser(config, Bills(store.bills))
        job = store.jobs.job(id_) or next((each for each in store.jobs.open_jobs() if each.task == task), None)
        if job is None:
            job = store.jobs.start(task, id_)
            store.jobs.add(job, now_ms())
        try:
            while not job.is_over:
                if time.monotonic() > deadline:
                    return None
                job, _ = run_slice(job, store.jobs, reviser, now_ms())
                progress(job)
        except KeyboardInterrupt:
            store.jobs.give_up(job.id, "interrupted by the user", now_ms())
            raise
        return store.jobs.differences(job.id)
    finally:
        store.close()


def _hand_over(id_: str, task: Task, config: Config, progress: Progress) -> list[Difference] | None:
    """Let the recorder do it, and wait. None: it ended before it was done."""
    folder = config.data_dir / FOLDER
    with _reading(config.data_dir / "records.db") as connection:
        store = JobReader(connection)
        if store.job(id_) is None:
            _leave(folder / f"{id_}.json", JobFile(id_, task))
        while True:
            job = store.job(id_)
            if job is not None:
                progress(job)
                if job.error is not None:
                    raise StoreError(f"the recorder gave up: {job.error}")
                if job.is_over:
                    return store.differences(id_)
            if now_ms() - store.last_sign_ms() > _SILENCE_MS:
                return None
            time.sleep(_LOOK_EVERY_S)


def _leave(path: Path, file: JobFile) -> None:
    """Put a file where the recorder looks, whole from the first moment."""
    write_whole(path, sealed(msgspec.json.encode(file), FOLDER))


def _reviser(config: Config, bills: Bills) -> Reviser:
    book = price_book(config.pricing)
    secret = naming_secret(config.data_dir)
    return Reviser(book, config, Interpreter(book, config, bills, secret=secret))


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection]:
    connection = open_database(path, "read")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _progress(what: str, *, is_quiet: bool) -> Iterator[Progress]:
    """Yield what shows on a terminal how far a job has come."""
    shown = ""

    def show(job: Job) -> None:
        nonlocal shown
        percent = 100 * job.done // job.total if job.total else 100
        shown = f"{what}: {count(job.done)} of {count(job.total)} records, {percent} %"
        print(f"\r{shown}", end="", file=sys.stderr, flush=True)

    yield show if sys.stderr.isatty() and not is_quiet else lambda _job: None
    if shown:
        print(f"\r{' ' * len(shown)}\r", end="", file=sys.stderr, flush=True)


def _print(differences: list[Difference], arguments: argparse.Namespace) -> None:
    screen = Screen()
    total = _total(differences)
    if arguments.json:
        for difference in differences:
            screen.line(json_line(difference))
        screen.line(json_line({"kind": arguments.action, "dry_run": arguments.dry_run, "total": _numbers(total)}))
        return
    changed = [each for each in differences if each.changed or each.before_nano_usd != each.after_nano_usd]
    if changed:
        screen.table(_COLUMNS, [_cells(each) for each in [*changed, total]])
    done = "would change" if arguments.dry_run else "changed"
    screen.line(f"{count(total.requests)} records looked at, {count(total.changed)} {done}")
    if total.skipped:
        screen.line(f"{count(total.skipped)} skipped: their bytes were not kept, or their cost is still awaited")


def _total(differences: list[Difference]) -> Difference:
    total = Difference(day="total", model="")
    for name in Difference.__struct_fields__[2:]:
        setattr(total, name, sum(getattr(each, name) for each in differences))
    return total


def _numbers(total: Difference) -> dict[str, int]:
    return {name: getattr(total, name) for name in Difference.__struct_fields__[2:]}


def _cells(each: Difference) -> list[Cell | str]:
    difference = each.after_nano_usd - each.before_nano_usd
    sign = "-" if difference < 0 else "+"
    unpriced = str(each.unpriced_after)
    if each.unpriced_before != each.unpriced_after:
        unpriced = f"{each.unpriced_before} → {each.unpriced_after}"
    return [
        each.day,
        each.model,
        count(each.requests),
        count(each.changed),
        # Nothing known and something unpriced is not $0.
        money(each.before_nano_usd or (None if each.unpriced_before else 0)),
        money(each.after_nano_usd or (None if each.unpriced_after else 0)),
        f"{sign}{money(abs(difference))}",
        Cell(unpriced, "yellow") if each.unpriced_after or each.unpriced_before else "",
    ]
