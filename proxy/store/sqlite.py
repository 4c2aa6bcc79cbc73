"""The store in SQLite: one writer, one file, everything about a batch in one transaction.

Invariants: a record is stored once, however often it is written; the counters change in the transaction that stores
the row they count; the journal position is in it too. So whatever instant the process dies at, the database is exactly
the fold of the journal up to the position it names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

import apsw
import msgspec

from proxy.databases import open_database
from proxy.disk import file_identity
from proxy.errors import EnvironmentUnusable, StoreReplaced
from proxy.failpoints import failpoint
from proxy.migrations import migrate
from proxy.records import Feedback
from proxy.store.bills import BillWriter
from proxy.store.deletion import Deletion
from proxy.store.faults import our_errors, sane
from proxy.store.feedback import FeedbackWriter
from proxy.store.jobs import JobWriter
from proxy.store.leases import LeaseWriter
from proxy.store.lineage import Lineage
from proxy.store.payloads import PayloadWriter
from proxy.store.record import JournalPosition, Record, Settlement
from proxy.store.retention import Retention
from proxy.store.rollups import Rollups
from proxy.store.row import EXCHANGE_COLUMNS, exchange_row
from proxy.store.series import Histogram, Labels, Series, SeriesKey, Tally, labels_json
from proxy.store.templates import COLUMNS, Templates
from proxy.store.text import Value, storable_text
from proxy.store.words import Heard, Words
from proxy.store.zones import ZoneWriter

MINIMUM_SQLITE: Final = (3, 51, 3)
"""Older ones can corrupt a WAL database: sqlite.org/changes.html, 3.51.3."""
CHECKPOINT_PAGES: Final = 1000
"""16 MB of log: rare enough to be cheap, small enough to be copied between two batches."""
_PAGE_BYTES: Final = 16384
"""A quarter fewer overflow pages than 4 KB for bodies of a few kilobytes, at the same speed for small ones."""
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_BUSY_MS: Final = 100
"""Short: whoever holds the lock, the recorder has better ways to wait."""


class Store(Protocol):
    """Where records are kept. Every implementation passes the same tests."""

    def write(
        self,
        records: Sequence[Record],
        positions: Mapping[str, JournalPosition | None],
        tallies: Sequence[Tally] = (),
        said: Sequence[Feedback] = (),
    ) -> list[str]:
        """Store a batch, the journal positions, extra tallies and feedback in one transaction; return the new ids.

        A position of None forgets the segment. Raises StoreError when the file or the machine is at fault: nothing
        was stored, and the same call may succeed later. Anything else raised is the fault of a record.
        """
        ...

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are stored."""
        ...

    def settlements(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """Return what the ledger is to be told about those of the exchanges that are stored."""
        ...

    def awaited(self, ids: Sequence[str]) -> set[str]:
        """Return those of the exchanges whose cost is awaited, so that they cannot be settled yet."""
        ...

    def drawn(self, leases: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return what stored requests had of those of the leases that are known, and what they cost."""
        ...

    def forget_leases(self, over: Sequence[str]) -> None:
        """Forget leases that the ledger has closed."""
        ...

    def forget_leases_except(self, still_open: Sequence[str]) -> None:
        """Forget all leases but those that the ledger lists."""
        ...

    def positions(self) -> dict[str, JournalPosition]:
        """Return the position in each journal segment, by file name."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


class SqliteStore:
    """`records.db`, its only writer."""

    def __init__(self, path: Path, *, max_series: int = 2000) -> None:
        """Open or create the database. Raises EnvironmentUnusable or StoreError."""
        require_sqlite()
        self.path = path
        self._series = Series(max_series)
        self._wal_pages = 0
        with our_errors(), sane():
            self._connection = _open(path)
            self._identity = file_identity(path)
            self._connection.set_wal_hook(self._note_wal_pages)
            self._load_series()
            self._payloads = PayloadWriter(self._connection)
            self._lineage = Lineage(self._connection)
        self.rollups = Rollups(self._connection)
        """Sums by hour and day."""
        self.words = Words(self._connection)
        """The full-text index."""
        self._heard = Heard()
        self._zones = ZoneWriter(self._connection)
        self.bills = BillWriter(self._connection)
        """What providers bill once."""
        self._leases = LeaseWriter(self._connection)
        self._feedback = FeedbackWriter(self._connection)
        self._templates = Templates(self._connection)
        self.jobs = JobWriter(self._connection, self._our_transaction, self._templates)
        """Opinions formed anew over what is stored."""
        self.deletion = Deletion(self._connection, self._forgetting)
        """What somebody asked to be forgotten."""
        self.retention = Retention(self._connection, self._our_transaction, _PAGE_BYTES)
        """What is too old, or too much."""

    def write(
        self,
        records: Sequence[Record],
        positions: Mapping[str, JournalPosition | None],
        tallies: Sequence[Tally] = (),
        said: Sequence[Feedback] = (),
    ) -> list[str]:
        """Store a batch in one transaction; see `Store.write`."""
        rows = [exchange_row(record) for record in records]
        with our_errors(), self._transaction():
            stored = self._insert(records, rows) if rows else []
            seqs = [seq for seq, _ in stored]
            pieces = self._payloads.write((seq, record.request, record.response) for seq, record in stored)
            placed = self._lineage.add(stored, pieces)
            self.rollups.add(seqs)
            self.rollups.adopt([seq for seq in placed if seq < seqs[0]])
            self.words.add((seq, self._news(record), record.answer) for seq, record in stored)
            new = [record for _, record in stored]
            with self.rollups.following_ids([id_ for record in new for id_ in record.resolves]):
                self.bills.settle(new)
            self._leases.add(new)
            self._feedback.silence([record.exchange.begin.id for record in new if record.exchange.begin.no_store])
            self._feedback.add(said)
            change = self._series.fold([*(tally for record in new for tally in record.tallies), *tallies])
            self._write_counters(change.counters)
            self._write_histograms(change.histograms)
            self._write_positions(positions)
        self._series.commit(change)
        return [record.exchange.begin.id for record in new]

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are stored."""
        with our_errors():
            rows = self._connection.execute(
                "SELECT id FROM exchanges WHERE id IN (SELECT value FROM json_each(?))", (_json(ids),)
            )
            return {str(row[0]) for row in rows}

    def awaited(self, ids: Sequence[str]) -> set[str]:
        """Return those of the exchanges whose cost is awaited, so that they cannot be settled yet."""
        return self.bills.awaited(ids)

    def give_up_waiting(self, before_ms: int) -> int:
        """Await no cost any more of what started before, and count it as unpriced; return of how many."""
        with (
            self._our_transaction(),
            self.rollups.following("pending_id IS NOT NULL AND +started_at < ?", (before_ms,)),
        ):
            expired = self.bills.give_up_waiting(before_ms)
            if expired:
                self._write_counters({("glassline_unpriced_requests_total", ()): expired})
            return expired

    def settlements(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """Return what the ledger is to be told about those of the exchanges that are stored."""
        with our_errors():
            rows = self._connection.execute(
                "SELECT id, settled_nano_usd, input_tokens, output_tokens, settled_estimate FROM exchanges"
                " WHERE pending_id IS NULL AND id IN (SELECT value FROM json_each(?))",
                (_json(ids),),
            )
            return {
                str(id_): Settlement(_optional(nano), _optional(input_), _optional(output), bool(estimate))
                for id_, nano, input_, output, estimate in rows
            }

    def drawn(self, leases: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return what stored requests had of those of the leases that are known, and what they cost."""
        with our_errors():
            return self._leases.drawn(leases)

    def forget_leases(self, over: Sequence[str]) -> None:
        """Forget leases that the ledger has closed."""
        with self._our_transaction():
            self._leases.forget(over)

    def forget_leases_except(self, still_open: Sequence[str]) -> None:
        """Forget all leases but those that the ledger lists."""
        with self._our_transaction():
            self._leases.forget_except(still_open)

    def positions(self) -> dict[str, JournalPosition]:
        """Return the position in each journal segment, by file name."""
        with our_errors(), sane():
            rows = self._connection.execute("SELECT segment, resume, seen FROM journal_segments")
            return {str(segment): JournalPosition(int(str(resume)), int(str(seen))) for segment, resume, seen in rows}

    def backfill_rollups(self) -> bool:
        """Fold some of what was there before the roll-ups into them; return whether there is more."""
        with self._our_transaction():
            return self.rollups.backfill()

    def index_earlier(self, said: Sequence[tuple[int, str, str]], end: int) -> None:
        """Index what was there before the full-text index, up to the row `end`."""
        with self._our_transaction():
            self.words.add_earlier(said, end)

    def put_status(self, values: Mapping[str, float]) -> None:
        """Replace the named values of the status table."""
        with our_errors(), self._transaction():
            self._connection.executemany(
                "INSERT INTO status (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                list(values.items()),
            )
            self._zones.relearn()
            self._lineage.forget()

    def status(self) -> dict[str, float]:
        """Return the status table."""
        with our_errors(), sane():
            return {str(name): float(str(value)) for name, value in self._connection.execute("SELECT * FROM status")}

    def checkpoint(self, *, at_pages: int = CHECKPOINT_PAGES) -> None:
        """Copy the log into the database when it is longer than `at_pages`, as far as readers allow."""
        if self._wal_pages >= at_pages:
            failpoint("store.checkpoint")
            with our_errors():
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._wal_pages = 0

    def sync(self) -> None:
        """Make every committed transaction survive a loss of power; before the journal behind it is deleted."""
        wal = self.path.with_name(self.path.name + "-wal")
        with our_errors(), contextlib.suppress(FileNotFoundError):
            # SQLite holds no lock on the log file itself, so that closing this descriptor releases none.
            descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
            try:
                failpoint("store.sync")
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            # The log's name is safe: SQLite syncs the directory with the header of every log that it begins.

    def purge_bills(self, before_ms: int) -> None:
        """Forget what was paid before."""
        with self._our_transaction():
            self.bills.purge(before_ms)

    def check_identity(self) -> None:
        """Raise StoreReplaced when the file that was opened is not the one at its path any more."""
        if file_identity(self.path) != self._identity:
            raise StoreReplaced(f"{self.path.name} was deleted or replaced while it was in use")

    def close(self) -> None:
        """Empty the log, unless somebody is reading at this moment, and close the database."""
        with our_errors():
            # The last connection empties it anyway, but readers stay for a while when they are done.
            with contextlib.suppress(apsw.Error):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._zones.learn()
            failpoint("store.before_commit")
            self._connection.execute("COMMIT")
            failpoint("store.after_commit")
        except BaseException:
            self._heard.forget()
            self._templates.forget()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _our_transaction(self) -> Iterator[None]:
        with our_errors(), self._transaction():
            yield

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        with self._our_transaction():
            yield
        self._heard.forget()  # who said it first may be gone, so the next one to say it is to be found

    def _insert(self, records: Sequence[Record], rows: Sequence[tuple[Value, ...]]) -> list[tuple[int, Record]]:
        """Insert the rows of records; return the records that are new, each with its `seq`."""
        newest = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'exchanges'").get or 0
        pack, packed = self._templates.pack, len(COLUMNS)
        self._connection.executemany(_INSERT, [(*map(pack, row[:packed]), *row[packed:]) for row in rows])
        added = self._connection.execute("SELECT id, seq FROM exchanges WHERE seq > ?", (newest,))
        seqs: dict[Value, int] = {id_: int(str(seq)) for id_, seq in added}
        # Of several records of one exchange the first was stored.
        found = ((seqs.pop(row[packed], None), record) for record, row in zip(records, rows, strict=True))
        stored = [(seq, record) for seq, record in found if seq is not None]
        self._connection.executemany(
            "INSERT OR IGNORE INTO pseudonyms (exchange, name, original) VALUES (?, ?, ?)",
            [(seq, name, storable_text(original)) for seq, record in stored for name, original in record.pseudonyms],
        )
        return stored

    def _news(self, record: Record) -> str:
        begin, user = record.exchange.begin, record.exchange.begin.user or record.reading.user
        caller = (begin.key, user, begin.session)
        return self._heard.news(caller, begin.started_at_ms, record.request.headers, record.request.head)

    def _write_counters(self, counters: Mapping[SeriesKey, int]) -> None:
        self._connection.executemany(
            "INSERT INTO counters (name, labels, value) VALUES (?, ?, ?)"
            " ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value",
            [(name, labels_json(labels), value) for (name, labels), value in counters.items()],
        )

    def _write_histograms(self, histograms: Mapping[SeriesKey, Histogram]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO histograms (name, labels, buckets, count, sum) VALUES (?, ?, ?, ?, ?)",
            [
                (name, labels_json(labels), _json(state.buckets), state.count, state.sum)
                for (name, labels), state in histograms.items()
            ],
        )

    def _write_positions(self, positions: Mapping[str, JournalPosition | None]) -> None:
        for segment, position in positions.items():
            if position is None:
                self._connection.execute("DELETE FROM journal_segments WHERE segment = ?", (segment,))
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO journal_segments (segment, resume, seen) VALUES (?, ?, ?)",
                    (segment, position.resume, position.seen),
                )

    def _load_series(self) -> None:
        counters = self._connection.execute("SELECT name, labels FROM counters")
        histograms = self._connection.execute("SELECT name, labels, buckets, count, sum FROM histograms")
        self._series.load(
            [(str(name), _labels(str(labels))) for name, labels in counters],
            [
                (
                    (str(name), _labels(str(labels))),
                    Histogram(msgspec.json.decode(str(buckets), type=list[int]), int(str(count)), float(str(total))),
                )
                for name, labels, buckets, count, total in histograms
            ],
        )

    def _note_wal_pages(self, connection: apsw.Connection, database: str, pages: int) -> int:  # noqa: ARG002 (SQLite calls it)
        self._wal_pages = pages
        return apsw.SQLITE_OK


def require_sqlite() -> None:
    """Raise EnvironmentUnusable when the SQLite inside apsw is one that can corrupt a database."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise EnvironmentUnusable(f"SQLite {version} can corrupt databases: {needed} or newer is needed (apsw)")


def _open(path: Path) -> apsw.Connection:
    connection = open_database(path, "write", busy_ms=_BUSY_MS)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
            connection.pragma("page_size", _PAGE_BYTES)
            connection.pragma("auto_vacuum", 2)
        migrate(connection, files("proxy.store") / "migrations")
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 1)
        connection.pragma("foreign_keys", 1)
        connection.pragma("recursive_triggers", 1)  # a piece that goes gives back the pieces that it held
        # What retention deletes is gone: a deleted prompt must not be readable in the file's free pages.
        connection.pragma("secure_delete", 1)
        connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
        connection.wal_autocheckpoint(0)
    except BaseException:
        connection.close()
        raise
    return connection


_INSERT: Final = (
    f"INSERT INTO exchanges ({', '.join(EXCHANGE_COLUMNS)}) VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"  # noqa: S608 (column names are ours)
    " ON CONFLICT (id) DO NOTHING"
)


def _json(values: Sequence[str] | Sequence[int]) -> str:
    return msgspec.json.encode(values).decode()


def _labels(text: str) -> Labels:
    return tuple(msgspec.json.decode(text, type=dict[str, str]).items())


def _optional(value: Value) -> int | None:
    return value if isinstance(value, int) else None
