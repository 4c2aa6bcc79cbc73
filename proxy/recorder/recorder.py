"""The recorder's loop: poll the journal, understand, store, settle, tidy up, again.

Invariants: positions are stored in the transaction of the rows they speak of; a segment is deleted only after every
exchange with a frame in it is durable in the store; one exchange that cannot be understood or stored never holds up
the others; a store that cannot be written is waited for, because the journal keeps everything meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, TypeVar

from proxy.clock import SYSTEM, Clock
from proxy.config import Config, Retention
from proxy.disk import Headroom
from proxy.errors import StoreDamaged, StoreError, StoreReplaced
from proxy.failpoints import failpoint
from proxy.journal import Lost
from proxy.journal.reader import JournalReader, Segment
from proxy.recorder.backfill import Backfill
from proxy.recorder.deletions import Deletions
from proxy.recorder.durability import SegmentSync
from proxy.recorder.erase import JournalEraser
from proxy.recorder.fold import Fold, Folded, Unreadable
from proxy.recorder.interpret import Interpreter
from proxy.recorder.jobs import Jobs
from proxy.recorder.settle import LedgerClient, Settler
from proxy.records import Begin, Exchange, Feedback
from proxy.store import JournalPosition, Record, Settlement, SqliteStore, Tally
from proxy.store.retention import Purged

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

POLL_BYTES: Final = 256 * 1024
"""One batch: about a hundred exchanges of a kilobyte each way."""
PERIOD_S: Final = 0.04
"""From one look at a journal that is read to its end to the next. A transaction costs as much as five exchanges, so what
comes meanwhile is stored together; and it is visible soon enough."""
_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Bodies held at once; large ones are written before the batch is complete."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LAST_TRY_S: Final = 5.0
"""How long a store that cannot be written is tried again after being told to stop."""
_CAUGHT_UP: Final = 200
"""Frames: a last batch below this means that only what living writers append right now is left."""
_STATUS_EVERY_S: Final = 1.0
_CHECKPOINT_EVERY_S: Final = 10.0
_ERASE_EVERY_S: Final = 1.0
"""How long what must not be kept stays in the journal once its record is stored."""
_PURGE_EVERY_S: Final = 60.0
_PURGE_REST: Final = 3
"""Times what a batch took, until the next: the disk and the processor are there for requests first."""
_WAIT_MS: Final = 26 * 3_600_000
"""How long a bill is awaited: batches promise a day, background responses end sooner. Then what was reserved is spent."""
_BILLS_MS: Final = 90 * 86_400_000
"""How long a bill is remembered at least: providers keep responses and results for a month."""
_LOST: Final = "glassline_records_lost_total"


class _GaveUp(Exception):
    """Told to stop while the store could not be written: nothing more may be stored, or positions would skip it."""


class Stop(Protocol):
    """Says when to end; a `threading.Event` does."""

    def is_set(self) -> bool:
        """Say whether to end."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until it is time to end, or for `timeout` seconds."""
        ...


@dataclass(slots=True)
class _Due:
    """When periodic work is due, on the monotonic clock."""

    status: float = 0.0
    checkpoint: float = 0.0
    purge: float = 0.0
    erase: float = 0.0


class Recorder:
    """Folds the journal into the store until told to stop."""

    def __init__(
        self,
        directory: Path,
        store: SqliteStore,
        interpreter: Interpreter,
        ledger: LedgerClient,
        config: Config,
        *,
        stop: Stop,
        clock: Clock = SYSTEM,
        jobs: Jobs | None = None,
        deletions: Deletions | None = None,
        backfill: Backfill | None = None,
        boot: str | None = None,
        sync: SegmentSync | None = None,
    ) -> None:
        """`boot` names the life of the machine, None: the present one."""
        self._directory = directory
        self._jobs = jobs
        self._deletions = deletions
        self._backfill = backfill
        self._erases_always = bool(config.record.redact)
        self._erase_due = directory / "erase-due"
        # An earlier recorder may have died between storing and erasing.
        self._must_erase = self._erases_always or self._erase_due.exists()
        self._sync = sync
        self._store = store
        self._interpreter = interpreter
        self._retention: Retention = config.retention
        self._stop = stop
        self._clock = clock
        self._stored_positions = store.positions()
        self._reader = JournalReader(directory, self._stored_positions, monotonic=clock.monotonic)
        self._fold = Fold(self._reader.read, dict(self._stored_positions))
        if self._erases_always:
            self._reader.quarantine.max_file_bytes = 0  # nothing in there was redacted
        self._rewriting = sync.rewriting if sync is not None else Lock()
        self._eraser = JournalEraser(directory, self._fold.is_open, self._rewriting)
        self._settler = Settler(ledger, store, self._reader, self._fold, monotonic=clock.monotonic, boot=boot)
        self._counted_before = store.status()
        self._headroom = Headroom(directory.parent / "run" / "headroom")
        self._buried: set[str] = set()
        self._oldest_end_ms: int | None = None
        self._worst_lag_ms = 0
        self._due = _Due()

    def run(self) -> None:
        """Work until stopped, then until everything that is in the journal is stored."""
        try:
            self._forget_gone()
            while not self._stop.is_set():
                due = self._clock.monotonic() + PERIOD_S
                self.step()
                if not self._reader.has_more and not self._has_work:
                    self._stop.wait(max(0.0, due - self._clock.monotonic()))
            while self.step() > (_CAUGHT_UP if self._reader.has_live_writers else 0):
                pass
            self._finish()
        except _GaveUp:
            log.warning("stopped before the store could be written, the journal keeps the rest")

    @property
    def _has_work(self) -> bool:
        """Say whether there is something to do that does not come from the journal."""
        return any(each is not None and each.is_busy for each in (self._jobs, self._backfill))

    def step(self) -> int:
        """Take one batch and do what is due; return how many frames were new."""
        frames = self._reader.poll(POLL_BYTES)
        failpoint("recorder.after_poll")
        self._store_all(self._fold.take(frames))
        for writer in self._reader.writers:
            if writer not in self._buried and self._reader.is_drained(writer):
                self._bury(writer)
        self._settler.catch_up()
        failpoint("recorder.after_settle")
        self._forget_finished()
        self._tidy(is_idle=not frames)
        return len(frames)

    def close(self) -> None:
        """Close journal, ledger connection and store."""
        self._reader.close()
        self._settler.close()
        self._store.close()

    def open_begins(self) -> list[Begin]:
        """Return the requests that are running."""
        return self._fold.open_begins()

    def _bury(self, writer: str) -> None:
        """Record what a dead writer left open."""
        self._store_all(self._fold.interrupt(writer))
        self._buried.add(writer)
        # A reservation without an exchange can be seen only by comparing the lists.
        self._settler.is_behind = True

    def _store_all(self, folded: Iterable[Folded | Unreadable]) -> None:
        """Store exchanges in batches of bounded size, all else and the position in the journal with the last of them."""
        batch: list[Exchange] = []
        said: list[Feedback] = []
        counted: list[Tally] = []
        size = 0
        for each in folded:
            if isinstance(each, Exchange):
                batch.append(each)
                failpoint("recorder.mid_batch")
                size += len(each.request.head) + len(each.response.head)
            elif isinstance(each, Feedback):
                said.append(self._kept(each, counted))
            elif isinstance(each, Lost):
                counted.append(_note_lost(each))
            else:
                counted.append(self._lose(each.reason, each.frame.segment.file_name, each.frame.payload))
            if size > _BATCH_BYTES:
                self._store_batch(batch, [], {}, [])
                batch, size = [], 0
        self._store_batch(batch, said, self._positions(), counted)

    def _kept(self, said: Feedback, counted: list[Tally]) -> Feedback:
        """Return what may be stored of feedback."""
        if said.comment is not None:
            # Its segment grows slowly, and nobody knows yet whether the request asked not to be stored.
            self._want_erasing()
        kept, tallies = self._interpreter.feedback(said)
        counted += tallies
        return kept

    def _store_batch(
        self,
        exchanges: Sequence[Exchange],
        said: Sequence[Feedback],
        positions: dict[str, JournalPosition],
        counted: list[Tally],
    ) -> None:
        records = []
        for exchange, record in zip(exchanges, self._interpreted(exchanges), strict=True):
            self._note_end(exchange)
            if exchange.begin.no_store or (record is not None and record.has_echo):
                self._want_erasing()
            if record is None:
                counted.append(self._lose("record", exchange.begin.id, _bytes_of(exchange)))
            else:
                records.append(record)
        self._write(records, said, positions, counted)

    def _interpreted(self, exchanges: Sequence[Exchange]) -> Sequence[Record | None]:
        try:
            return self._patiently(self._interpreter.records, exchanges)
        except _GaveUp:
            raise
        except Exception:
            # The border at which one bad exchange must not take the others along.
            log.exception("a batch cannot be interpreted, its exchanges are interpreted one by one")
        return [self._interpreted_alone(exchange) for exchange in exchanges]

    def _interpreted_alone(self, exchange: Exchange) -> Record | None:
        for interpretation in (self._interpreter.record, self._interpreter.facts):
            try:
                return self._patiently(interpretation, exchange)
            except _GaveUp:
                raise
            except Exception:
                log.exception("exchange %s cannot be interpreted", exchange.begin.id)
        return None

    def _patiently(self, interpretation: Callable[[T], R], exchanges: T) -> R:
        """Interpret, as soon as the store can be asked. Raises _GaveUp when told to stop meanwhile."""
        while True:
            try:
                return interpretation(exchanges)
            except StoreDamaged:
                raise
            except StoreError as error:
                log.warning("the store cannot be read, the journal keeps everything: %s", error)
            if self._stop.is_set():
                raise _GaveUp
            self._stop.wait(_FIRST_PAUSE_S)

    def _write(
        self,
        records: Sequence[Record],
        said: Sequence[Feedback],
        positions: dict[str, JournalPosition],
        tallies: Sequence[Tally],
    ) -> None:
        """Store a batch, however long it takes. Raises _GaveUp when told to stop meanwhile."""
        changed = {name: at for name, at in positions.items() if self._stored_positions.get(name) != at}
        if not records and not said and not tallies and not changed:
            return
        pause_s, deadline = _FIRST_PAUSE_S, None
        while True:
            try:
                self._write_once(records, said, changed, tallies)
                break
            except StoreDamaged:
                raise
            except StoreError as error:
                log.warning("the store cannot be written, the journal keeps everything: %s", error)
            self._store.check_identity()
            now = self._clock.monotonic()
            if self._stop.is_set():
                deadline = now + _LAST_TRY_S if deadline is None else deadline
            if deadline is not None and now >= deadline:
                raise _GaveUp
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._stored_positions.update(changed)
        self._interpreter.stored()
        self._note_lag()
        leases = {begin.lease[0] for record in records if (begin := record.exchange.begin).lease is not None}
        self._settler.settle(_settlements(records), leases)

    def _write_once(
        self,
        records: Sequence[Record],
        said: Sequence[Feedback],
        positions: dict[str, JournalPosition],
        tallies: Sequence[Tally],
    ) -> None:
        try:
            self._store.write(records, positions, tallies, said)
        except StoreError:
            raise
        except Exception:
            log.exception("a batch cannot be stored, its records are stored one by one")
        else:
            return
        lost = [tally for record in records if (tally := self._write_alone(record)) is not None]
        self._store.write([], positions, [*tallies, *lost], said)

    def _write_alone(self, record: Record) -> Tally | None:
        """Store one record, or its facts; return the count of a lost one when neither can be."""
        for is_whole in (True, False):
            try:
                self._store.write([record if is_whole else self._interpreter.facts(record.exchange)], {})
            except StoreError:
                raise
            except Exception:
                log.exception("exchange %s cannot be stored", record.exchange.begin.id)
            else:
                return None
        return self._lose("store", record.exchange.begin.id, _bytes_of(record.exchange))

    def _lose(self, reason: str, name: str, data: bytes) -> Tally:
        safe = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)[:120]
        self._reader.quarantine.save(f"{reason}.{safe}", data)
        return Tally(_LOST, (("reason", reason),), 1)

    def _positions(self) -> dict[str, JournalPosition]:
        needed = self._fold.oldest_needed()
        return {
            segment.file_name: JournalPosition(needed.get(segment, offset), self._seen(segment, offset))
            for segment, offset in self._reader.offsets().items()
        }

    def _seen(self, segment: Segment, offset: int) -> int:
        # What is read once more after a restart was seen before, also by a recorder that starts in the middle of that.
        earlier = self._stored_positions.get(segment.file_name)
        return offset if earlier is None else max(offset, earlier.seen)

    def _forget_finished(self) -> None:
        finished = self._reader.finished()
        needed = self._fold.oldest_needed() if finished else {}
        done = [segment for segment in finished if segment not in needed and self._may_forget(segment)]
        if not done:
            return
        try:
            self._store.check_identity()
            self._store.sync()
            failpoint("recorder.before_delete")
            with self._rewriting:  # or a copy could take the place of what was deleted, and all in it come again
                for segment in done:
                    self._reader.forget(segment)
            failpoint("recorder.after_delete")
            self._store.write([], dict.fromkeys((segment.file_name for segment in done), None))
        except (StoreDamaged, StoreReplaced):
            raise
        except StoreError as error:
            log.warning("finished segments stay for now: %s", error)
            return
        for segment in done:
            self._stored_positions.pop(segment.file_name, None)

    def _may_forget(self, segment: Segment) -> bool:
        # That a dead writer's journal was damaged decides about its reservations, so it is remembered until then.
        return not (self._settler.is_behind and self._reader.is_damaged(segment.writer))

    def _forget_gone(self) -> None:
        """Forget the positions in segments that were deleted just before an earlier recorder died."""
        self._reader.scan()
        present = {segment.file_name for segment in self._reader.offsets()}
        gone = [name for name in self._stored_positions if name not in present]
        try:
            self._store.write([], dict.fromkeys(gone, None))
        except StoreError as error:
            log.warning("the store cannot be tidied: %s", error)
        for name in gone:
            del self._stored_positions[name]

    def _note_end(self, exchange: Exchange) -> None:
        if exchange.end.outcome != "interrupted":
            ended = exchange.begin.started_at_ms + exchange.end.ended_us // 1000
            self._oldest_end_ms = min(ended, self._oldest_end_ms or ended)

    def _note_lag(self) -> None:
        if self._oldest_end_ms is not None:
            self._worst_lag_ms = max(self._worst_lag_ms, self._clock.wall_ms() - self._oldest_end_ms)
        self._oldest_end_ms = None

    def _tidy(self, *, is_idle: bool) -> None:
        now = self._clock.monotonic()
        try:
            if now >= self._due.status:
                self._due.status = now + _STATUS_EVERY_S
                self._store.check_identity()
                self._headroom.take()
                self._store.put_status(self._status())
            self._store.checkpoint()
            if is_idle and now >= self._due.checkpoint:
                self._due.checkpoint = now + _CHECKPOINT_EVERY_S
                self._store.checkpoint(at_pages=1)
            if self._jobs is not None and not self._stop.is_set() and self._jobs.step():
                self._settler.is_behind = True
            if self._backfill is not None and is_idle and not self._stop.is_set():
                self._backfill.step()
            if self._must_erase and now >= self._due.erase:
                self._due.erase = now + _ERASE_EVERY_S
                self.erase_journal()
                if not self._rereads():
                    self._must_erase = self._erases_always
                    self._erase_due.unlink(missing_ok=True)
            if self._deletions is not None and not self._stop.is_set():
                self._deletions.step(self, is_idle=is_idle)
            if now >= self._due.purge:
                self._due.purge = now + _PURGE_EVERY_S
                is_more = self.purge().is_more
                done = self._clock.monotonic()
                if is_more:
                    self._due.purge = done + _PURGE_REST * (done - now)
        except (StoreDamaged, StoreReplaced):
            raise
        except StoreError as error:
            log.warning("the store cannot be tidied: %s", error)

    def erase_journal(self) -> tuple[int, list[str]]:
        """Overwrite in the journal what is stored; return how many bytes that was, and which segments are damaged."""
        self._store.sync()
        try:
            count = self._eraser.erase(self._done_with())
        except OSError as error:
            raise StoreError(f"journal: {error.strerror}") from error
        return count, self._eraser.damaged()

    def _done_with(self) -> dict[str, int]:
        """Return how far each segment is both stored and read: what was not read again may be of an open exchange."""
        read = {segment.file_name: offset for segment, offset in self._reader.offsets().items()}
        return {name: min(at.seen, read.get(name, 0)) for name, at in self._stored_positions.items()}

    def _want_erasing(self) -> None:
        """Note that something must not stay in the journal, also for a recorder after this one."""
        if not self._must_erase:
            self._must_erase = True
            with contextlib.suppress(OSError):
                self._erase_due.touch(mode=0o600)

    def _rereads(self) -> bool:
        """Say whether this recorder has not come to where an earlier one was."""
        read = {segment.file_name: offset for segment, offset in self._reader.offsets().items()}
        return any(read.get(name, 0) < at.seen for name, at in self._stored_positions.items())

    def _status(self) -> dict[str, float]:
        now_ms = self._clock.wall_ms()
        damage = self._reader.damage
        lag_ms, self._worst_lag_ms = self._worst_lag_ms, 0
        return {
            "recorder_lag_seconds": lag_ms / 1000,
            "journal_bytes": float(self._reader.size_bytes()),
            "bad_frames": self._counted_before.get("bad_frames", 0) + damage.bad_frames,
            "torn_tails": self._counted_before.get("torn_tails", 0) + damage.torn_tails,
            "lost_bytes": self._counted_before.get("lost_bytes", 0) + damage.lost_bytes,
            "sync_failures": self._counted_before.get("sync_failures", 0) + (self._sync.failures if self._sync else 0),
            "unsafe_segments": self._sync.unsafe if self._sync else 0,
            "updated_at_ms": float(now_ms),
        }

    def purge(self) -> Purged:
        """Delete one portion of what is too old or too much."""
        now_ms = self._clock.wall_ms()
        purged = self._store.retention.purge(self._retention, now_ms)
        self._store.purge_bills(min(now_ms - int(self._retention.records * 1000), now_ms - _BILLS_MS))
        if self._store.give_up_waiting(now_ms - _WAIT_MS):
            self._settler.is_behind = True
        return purged

    def _finish(self) -> None:
        try:
            self._store.put_status(self._status())
            self._store.checkpoint(at_pages=1)
            if self._must_erase:
                self.erase_journal()
        except StoreError as error:
            log.warning("the store cannot be tidied: %s", error)


def _settlements(records: Iterable[Record]) -> Iterator[tuple[str, Settlement]]:
    """Yield what the ledger is told of exchanges, and of those whose cost was awaited and is known now."""
    for record in records:
        if record.settlement is not None and record.exchange.begin.lease is None:
            yield record.exchange.begin.id, record.settlement
        for awaited in record.resolves:
            nano_usd = record.cost.nano_usd
            yield awaited, Settlement(nano_usd, record.totals.input, record.totals.output, is_estimate=nano_usd is None)


def _note_lost(lost: Lost) -> Tally:
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in (lost.first_ms, lost.last_ms))
    log.error("%d records lost between %s and %s: the disk was full", lost.count, first, last)
    return Tally(_LOST, (("reason", "disk_full"),), lost.count)


def _bytes_of(exchange: Exchange) -> bytes:
    return exchange.request.head + b"\n" + exchange.response.head
