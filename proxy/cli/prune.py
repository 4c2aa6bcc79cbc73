"""`glassline prune`: delete what retention demands now, or everything about one user, session or key.

One process writes records.db. While `glassline serve` runs that is the recorder: it is asked, and waited for. Otherwise
the same recorder runs here until the work is done, so that what the last gateway left in the journal is dealt with, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import uuid
from typing import Final

import msgspec

from proxy.admin.when import read_instant
from proxy.cli.records import json_line, now_ms
from proxy.cli.settings import load_settings
from proxy.cli.table import Screen, count, size
from proxy.config import Config
from proxy.databases import open_database
from proxy.errors import ClientError, EnvironmentUnusable, StoreError
from proxy.recorder import run as run_recorder
from proxy.recorder import take_lock
from proxy.recorder.deletions import Forgetter
from proxy.recorder.keep import naming_secret
from proxy.store import SqliteStore
from proxy.store.deletion import Deletion, Selection, spilling_into
from proxy.store.deletion import count as count_requests
from proxy.store.jobs import JobReader
from proxy.store.orders import Orders, Report

_LOOK_EVERY_S: Final = 0.2
_SILENCE_MS: Final = 60_000
"""After so long without a sign of life the recorder is taken for dead; rewriting a large file keeps it silent."""


def run(arguments: argparse.Namespace) -> int:
    """Delete, and say what was deleted and what could not be reached."""
    config = load_settings(arguments)
    path = config.data_dir / "records.db"
    if not path.exists():
        raise EnvironmentUnusable(f"{path}: no records yet: is this the data directory of `glassline serve`?")
    selection = _selection(arguments)
    if arguments.dry_run:
        if selection.is_empty:
            raise ClientError("--dry-run goes with --user, --session or --key")
        _say_dry(_count(config, selection), arguments)
        return 0
    if not selection.is_empty and not arguments.yes:
        _ask_person(_count(config, selection))
    _say(carry_out(config, selection), selection, arguments)
    return 0


def carry_out(config: Config, selection: Selection) -> Report:
    """Have the deletion done by whoever may write; return what became of it."""
    orders, id_ = Orders(config.data_dir), str(uuid.uuid4())
    orders.ask(id_, selection)
    report: Report | None = None
    try:
        while report is None:
            try:
                os.close(take_lock(config.data_dir / "recorder.lock"))
            except EnvironmentUnusable:
                report = _wait(config, orders, id_)
            else:
                report = _do(config, orders, id_)
    finally:
        orders.withdraw(id_)
    return report


def _do(config: Config, orders: Orders, id_: str) -> Report | None:
    """Be the recorder until the report is there. None: another one was faster."""
    nobody = config.data_dir / "run" / "no-ledger.sock"
    with contextlib.suppress(EnvironmentUnusable):
        run_recorder(config.data_dir, config, nobody, stop=_Until(orders, id_))
    report = orders.report(id_)
    if report is not None and any(line.startswith("records.db:") for line in report.not_reached):
        return _compacted(config, report)
    return report


def _compacted(config: Config, report: Report) -> Report:
    """Rewrite a database that was too large to be rewritten beside the traffic."""
    store = SqliteStore(config.data_dir / "records.db", max_series=config.metrics.record_series)
    try:
        with spilling_into(os.fspath(config.data_dir)):
            missed = store.deletion.compact(is_bounded=False)
    finally:
        store.close()
    others = [line for line in report.not_reached if not line.startswith("records.db")]
    return Report(
        emptied=report.emptied,
        deleted=report.deleted,
        journal_bytes=report.journal_bytes,
        quarantined_files=report.quarantined_files,
        backups=report.backups,
        not_reached=[*missed, *others],
    )


class _Until:
    """Tells a recorder to end when an order is done."""

    def __init__(self, orders: Orders, id_: str) -> None:
        self._orders = orders
        self._id = id_

    def is_set(self) -> bool:
        return not self._orders.is_open(self._id)

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0.0)
        return self.is_set()


def _wait(config: Config, orders: Orders, id_: str) -> Report | None:
    """Wait for the recorder that is at work. None: it ended before it was done."""
    while True:
        report = orders.report(id_)
        if report is not None:
            return report
        with contextlib.closing(open_database(config.data_dir / "records.db", "read")) as connection:
            if now_ms() - JobReader(connection).last_sign_ms() > _SILENCE_MS:
                raise StoreError("the recorder gives no sign of life: see `glassline doctor`")
        time.sleep(_LOOK_EVERY_S)
        with contextlib.suppress(EnvironmentUnusable):
            os.close(take_lock(config.data_dir / "recorder.lock"))
            return orders.report(id_)


def _selection(arguments: argparse.Namespace) -> Selection:
    now = now_ms()
    before = read_instant(arguments.before, now) if arguments.before else None
    selection = Selection(
        user=arguments.user, session=arguments.session, key=arguments.key, before_ms=before, rows=arguments.rows
    )
    if selection.is_empty and (before is not None or arguments.rows):
        raise ClientError("--before and --rows go with --user, --session or --key")
    if "" in (arguments.user, arguments.session, arguments.key):
        raise ClientError("an empty name is nobody's")
    if before is None and not selection.is_empty:
        # What begins after the question is not part of it: a busy user's requests would never end.
        return msgspec.structs.replace(selection, before_ms=now + 1)
    return selection


def _count(config: Config, selection: Selection) -> int:
    secret = naming_secret(config.data_dir)
    with contextlib.closing(open_database(config.data_dir / "records.db", "read")) as connection:
        forgetter = Forgetter(config.data_dir, Deletion(connection, contextlib.nullcontext), config.record, secret)
        return count_requests(connection, selection, forgetter.names(selection))


def _ask_person(number: int) -> None:
    if not sys.stdin.isatty():
        raise ClientError("say --yes: what is deleted cannot be brought back")
    answer = input(f"{count(number)} recorded requests, and whatever backups hold of them. Delete for good? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise ClientError("nothing was deleted")


def _say_dry(number: int, arguments: argparse.Namespace) -> None:
    screen = Screen()
    if arguments.json:
        screen.line(json_line({"dry_run": True, "requests": number}))
    else:
        screen.line(f"{count(number)} recorded requests would be affected")


def _say(report: Report, selection: Selection, arguments: argparse.Namespace) -> None:
    screen = Screen()
    if arguments.json:
        screen.line(json_line(report))
        return
    if selection.is_empty:
        screen.line(f"retention: {count(report.deleted)} records and the bodies of {count(report.emptied)} deleted")
        return
    screen.line(f"records.db: {count(report.emptied)} requests emptied, {count(report.deleted)} rows deleted")
    screen.line(f"journal: {size(report.journal_bytes)} overwritten, {report.quarantined_files} damaged pieces deleted")
    for path, number in report.backups.items():
        screen.line(f"{path}: {count(number)} requests emptied")
    for line in report.not_reached:
        screen.line(screen.paint(f"not reached: {line}", "yellow"))
    screen.line("not Glassline's to delete: what the provider keeps, exports, and backups that were copied elsewhere")
