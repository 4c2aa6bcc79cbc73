"""Deletions: the right to be forgotten, carried out by the one process that writes records.

A command leaves a file in `jobs/`; the recorder does the work in slices between two batches, writes what became of it
beside the file, and removes the file. The file names the person, so that nothing of it may stay: no row of the database
ever holds it. Doing the work twice does no harm, so a recorder that dies in between begins again.

Requests that are running when a deletion is asked for are waited for, for a while: their records would come after it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import apsw
import msgspec

from proxy.config import Record as RecordPolicy
from proxy.databases import open_database
from proxy.errors import GlasslineError, StoreError
from proxy.failpoints import failpoint
from proxy.policy.detectors import BUILT_IN
from proxy.policy.redaction import RedactionError, Redactor
from proxy.records import Begin
from proxy.store.backups import erase_backup, known_backups
from proxy.store.deletion import Deletion, Names, Selection, spilling_into
from proxy.store.lineage import INFERRED
from proxy.store.orders import Orders, Report
from proxy.store.retention import Purged

LOOK_EVERY_S: Final = 0.5
_PAUSE_S: Final = 5.0
"""After a failure: what the disk refuses now it may take later."""
PATIENCE_S: Final = 30.0
"""How long running requests are waited for."""


class Housekeeper(Protocol):
    """What the recorder does for a deletion."""

    def open_begins(self) -> Sequence[Begin]:
        """Return the requests that are running."""
        ...

    def erase_journal(self) -> tuple[int, list[str]]:
        """Overwrite in the journal what is stored; return how many bytes that was, and which segments are damaged."""
        ...

    def purge(self) -> Purged:
        """Delete one portion of what is too old or too much."""
        ...


class Asked(NamedTuple):
    """The order at work."""

    id: str
    selection: Selection
    since: float
    """On the monotonic clock."""


class Forgetter:
    """Carries out one deletion wherever the data of a directory is."""

    def __init__(self, data_dir: Path, deletion: Deletion, policy: RecordPolicy, secret: bytes) -> None:
        self._data_dir = data_dir
        self._deletion = deletion
        self._redactors = [Redactor(each, secret) for each in _policies(policy)]

    def names(self, selection: Selection) -> Names:
        """Return under which names the selection may be stored."""
        return Names(*(self._stored_as(name) for name in (selection.user, selection.session)))

    def erase_some(self, selection: Selection) -> tuple[int, int]:
        """Deal with some rows of the database; return how many were emptied and deleted. Both 0: there are no more."""
        return self._deletion.erase(selection, self.names(selection))

    def sweep_some(self) -> bool:
        """Write a part of the full-text index anew, without what was deleted; return whether there is more."""
        return self._deletion.sweep()

    def finish(
        self,
        selection: Selection,
        report: Report,
        erase_journal: Callable[[], tuple[int, list[str]]],
        *,
        is_bounded: bool,
    ) -> Report:
        """Do what has to be done once the rows are: journal, quarantine, backups, what SQLite leaves."""
        missed = list(report.not_reached)
        journal_bytes, damaged = erase_journal()
        missed += [f"journal/{name}: damaged, and kept until its writer is through with it" for name in damaged]
        quarantined = _empty_folder(self._data_dir / "journal" / "bad", missed)
        backups = self._erase_backups(selection, missed)
        with spilling_into(os.fspath(self._data_dir)):
            missed += self._deletion.compact(is_bounded=is_bounded)
        missed += self._elsewhere(selection)
        return msgspec.structs.replace(
            report, journal_bytes=journal_bytes, quarantined_files=quarantined, backups=backups, not_reached=missed
        )

    def _stored_as(self, name: str | None) -> tuple[str, ...]:
        if name is None:
            return ()
        stored = [name]
        for redactor in self._redactors:
            with contextlib.suppress(RedactionError):  # then no name was stored either
                stored.append(redactor.redact_identity(name).text)
        return tuple(dict.fromkeys(stored))

    def _erase_backups(self, selection: Selection, missed: list[str]) -> dict[str, int]:
        reached: dict[str, int] = {}
        for path in known_backups(self._data_dir):
            try:
                reached[os.fspath(path)] = erase_backup(path, selection, self.names(selection))
            except FileNotFoundError:
                missed.append(f"{path}: a backup that is no longer there; if it was moved, it is as it was")
            except (OSError, GlasslineError, apsw.Error, ValueError) as error:
                missed.append(f"{path}: a backup that cannot be changed: {error}")
        return reached

    def _elsewhere(self, selection: Selection) -> list[str]:
        missed = []
        if selection.key is not None:
            missed.append("the key's own name: in the configuration or app.db, in its rows, metrics and budgets")
        if selection.user is not None and self._has_budget(selection.user):
            missed.append("ledger.db: the user's budget is kept under the user's name, or what was spent would be lost")
        return missed

    def _has_budget(self, user: str) -> bool:
        path = self._data_dir / "ledger.db"
        if not path.exists():
            return False
        try:
            with contextlib.closing(open_database(path, "read")) as connection:
                rows = connection.execute("SELECT 1 FROM accounts WHERE instr(scope, ?) LIMIT 1", (user[:60],))
                return bool(rows.fetchall())
        except (apsw.Error, StoreError):
            return True  # who cannot look must not say that there is nothing


class Deletions:
    """Carries out what is asked for in a folder, a slice at a time."""

    def __init__(
        self, orders: Orders, forgetter: Forgetter, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._orders = orders
        self._forgetter = forgetter
        self._monotonic = monotonic
        self._next_look = 0.0
        self._asked: Asked | None = None
        self._report = Report()
        self._was_idle = False
        """Everything that had ended when the order was accepted is stored."""

    def step(self, recorder: Housekeeper, *, is_idle: bool) -> None:
        """Accept what is asked for and carry out one slice; `is_idle`: the journal has nothing that is not stored.

        Raises StoreError: nothing is lost then.
        """
        now = self._monotonic()
        if now < self._next_look:
            return
        if self._asked is None:
            self._next_look = now + LOOK_EVERY_S
            order = next(self._orders.open_orders(), None)
            self._asked = None if order is None else Asked(*order, now)
            self._report, self._was_idle = Report(), False
            if self._asked is None:
                return
        try:
            self._go_on(self._asked, recorder, now, is_idle=is_idle)
        except OSError as error:
            self._next_look = now + _PAUSE_S
            raise StoreError(f"a deletion cannot go on: {error}") from error
        except StoreError:
            self._next_look = now + _PAUSE_S
            raise

    def _go_on(self, asked: Asked, recorder: Housekeeper, now: float, *, is_idle: bool) -> None:
        self._next_look = now
        self._was_idle |= is_idle
        if not self._was_idle and now - asked.since <= PATIENCE_S:
            return
        running = sum(_is_about(asked.selection, begin) for begin in recorder.open_begins())
        is_waiting = running > 0 and now - asked.since < PATIENCE_S
        # What goes on from a conversation is known by the marks that go with it: before them, or not at all.
        if is_waiting and _is_inferred(asked.selection.session):
            return
        if self._is_more(asked, recorder) or is_waiting:
            return
        failpoint("deletion.before_finish")
        self._finish(asked, recorder, running)
        self._asked = None

    def _is_more(self, asked: Asked, recorder: Housekeeper) -> bool:
        """Carry out one slice; return whether there may be another."""
        report = self._report
        if asked.selection.is_empty:
            purged = recorder.purge()
            self._report = msgspec.structs.replace(
                report, deleted=report.deleted + purged.records, emptied=report.emptied + purged.bodies
            )
            return purged.is_more
        emptied, deleted = self._forgetter.erase_some(asked.selection)
        self._report = msgspec.structs.replace(
            report, emptied=report.emptied + emptied, deleted=report.deleted + deleted
        )
        return bool(emptied or deleted) or self._forgetter.sweep_some()

    def _finish(self, asked: Asked, recorder: Housekeeper, running: int) -> None:
        report = self._report
        if running:
            # Of an inferred session nothing is left by which they could be told to belong to it.
            how = "by key or user" if _is_inferred(asked.selection.session) else "again"
            missed = f"{running} requests that are still running and may be meant: prune {how} when they have ended"
            report = msgspec.structs.replace(report, not_reached=[missed])
        if not self._was_idle and not asked.selection.is_empty:
            missed = "requests that have ended and were not stored yet, because too many wait for that: prune again"
            report = msgspec.structs.replace(report, not_reached=[*report.not_reached, missed])
        if not asked.selection.is_empty:
            report = self._forgetter.finish(asked.selection, report, recorder.erase_journal, is_bounded=True)
        self._orders.finish(asked.id, report)


def _is_about(selection: Selection, begin: Begin) -> bool:
    """Say whether a running request may be meant.

    A user whom only the body names is not known before it ends, and no session that is inferred.
    """
    session = selection.session if begin.session is None and _is_inferred(selection.session) else begin.session
    return (
        selection.user in (None, begin.user or selection.user)
        and selection.session in (None, session)
        and selection.key in (None, begin.key)
        and (selection.before_ms is None or begin.started_at_ms < selection.before_ms)
    )


def _is_inferred(session: str | None) -> bool:
    return session is not None and session.startswith(INFERRED)


def _policies(policy: RecordPolicy) -> Iterator[RecordPolicy]:
    """Yield the rules under which a name may have been stored: those of now, and others that may have been before."""
    yield policy
    built_in = tuple(dict.fromkeys(BUILT_IN))
    for rules in (built_in, *((each,) for each in built_in)):
        yield RecordPolicy.model_validate({"redact": rules})


def _empty_folder(folder: Path, missed: list[str]) -> int:
    count = 0
    if folder.is_dir():
        for path in folder.iterdir():
            try:
                path.unlink()
                count += 1
            except OSError as error:
                missed.append(f"{path}: cannot be deleted: {error.strerror}")
    return count
