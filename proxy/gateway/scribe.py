"""The scribe: writes exchanges to the journal, and decides what happens when the disk takes no more.

Records *press* when the disk refuses a write, when the journal has grown to `record.journal_max_gb`, when the disk is
nearly full or has failed a sync. What began before goes on: its frames wait in memory (`spill`) and are appended in
order when there is room again. What is new goes by `record.when_full`: it is refused (`block`), recorded without
long bodies (`metadata_only`), or served without a record (`drop`). What is not recorded is counted, and the count is the
first thing that the journal gets when there is room. Under a budget nothing goes unrecorded: it is refused.

Frames that come in one turn of the event loop go to the journal by one write at its end (`soon`), and what must not
happen before they are there waits for it: a small write costs three times its share of a long one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import msgspec

from proxy.clock import SYSTEM
from proxy.disk import is_nearly_full
from proxy.errors import JournalUnavailable
from proxy.gateway.spill import Spill
from proxy.journal import FrameKind, JournalWriter, Lost
from proxy.records import End

WhenFull = Literal["block", "metadata_only", "drop"]
DROPPED: Final = 0
"""Stands for the number of an exchange that is served without a record."""
_BATCH_BYTES: Final = 256 * 1024
"""Frames that would come to more are written apart."""
LOOK_EVERY_S: Final = 1.0
"""Between two looks at the journal's directory; recovery takes no longer."""
_SHORT_BYTES: Final = 16 * 1024
"""Bodies up to here are kept in memory when they cannot be written: without them model and usage are unknown."""
_SHORT_TAIL: Final = 4096
"""Enough of the end of a longer one for the usage in it."""


class Scribe:
    """Writes what one gateway process has to record."""

    def __init__(self, journal: JournalWriter, loop: asyncio.AbstractEventLoop) -> None:
        self.failures = 0
        """Appends and syncs that the disk refused."""
        self._journal = journal
        self._loop = loop
        self._spill = Spill()
        self._when_full: WhenFull = "block"
        self._journal_bytes = 0
        self._is_short = False
        self._look_at = 0.0
        self._lost: Lost | None = None
        self._syncing: list[Callable[[bool], None]] = []
        self._sync_task: asyncio.Future[None] | None = None
        self._frames: list[bytes] = []
        self._written: list[Callable[[bool], None]] = []
        self._frame_bytes = 0

    def configure(self, when_full: WhenFull, journal_max_gb: float) -> None:
        """Use another policy for what is to come."""
        self._when_full = when_full
        self._journal_bytes = int(journal_max_gb * 1024**3)

    @property
    def presses(self) -> bool:
        """Say whether records cannot be kept as they should be."""
        return self._is_short or bool(self._spill.waiting)

    @property
    def is_ready(self) -> bool:
        """Say whether a new request would be served."""
        return not self.presses or self._when_full != "block"

    def capture_bytes(self, usual: int) -> int:
        """Return how much of a body is to be captured, when it is usually so much."""
        return min(usual, _SHORT_BYTES) if self._sheds else usual

    @property
    def _sheds(self) -> bool:
        return self.presses and self._when_full != "block"

    @property
    def is_busy(self) -> bool:
        """Say whether anything waits for the journal or the disk."""
        return self._sync_task is not None or bool(self._written) or bool(self._spill.waiting)

    @property
    def lost_records(self) -> int:
        """Ends of exchanges for which memory had no room."""
        return self._spill.lost_records

    @property
    def held_bytes(self) -> int:
        """Bytes that wait in memory."""
        return self._spill.size

    def begin_soon(self, header: bytes, body: bytes, written: Callable[[bool], None]) -> int | None:
        """Append BEGIN at the end of this turn, then call `written` with whether that was possible.

        Return the number of the exchange; None: nothing will come of it now, so `begin` must decide.
        """
        if self._is_short or self._spill.waiting:
            return None
        number, frame = self._journal.begin_frame(header, body)
        self._soon(frame, written)
        return number

    def end_soon(self, number: int, end: End, body: bytes, written: Callable[[bool], None]) -> None:
        """Append END with the last body bytes at the end of this turn, then call `written`; where not, use `keep_end`."""
        if number == DROPPED or self._spill.waiting:
            written(False)
        else:
            self._soon(self._journal.end_frame(number, end, body), written)

    def keep_soon(self, kind: FrameKind, number: int, data: bytes, written: Callable[[bool], None]) -> None:
        """Append body bytes at the end of this turn, then call `written`; where not, use `keep`."""
        if number == DROPPED or self._sheds or self._spill.waiting:
            written(False)
        else:
            self._soon(self._journal.chunk_frame(kind, number, data), written)

    def _soon(self, frame: bytes, written: Callable[[bool], None]) -> None:
        size = self._frame_bytes + len(frame)
        if size > _BATCH_BYTES:
            self.write()  # what is long goes alone, so that it is not copied once more
            size = len(frame)
        frames = self._frames
        if not frames:
            self._loop.call_soon(self.write)
        frames.append(frame)
        self._written.append(written)
        self._frame_bytes = size

    def write(self) -> None:
        """Append what came in this turn, and tell those who wait for it."""
        frames, written = self._frames, self._written
        if not frames:
            return
        self._frames, self._written, self._frame_bytes = [], [], 0
        try:
            count = self._journal.append_all(frames)
        except JournalUnavailable:
            count = 0
        self._tell(written[:count], is_good=True)
        self._tell(written[count:], is_good=False)

    def _tell(self, waiting: list[Callable[[bool], None]], *, is_good: bool) -> None:
        for call in waiting:
            try:
                call(is_good)
            except Exception as error:  # noqa: BLE001 - whatever went wrong for one, the others and the caller go on
                self._loop.call_exception_handler({"message": "an exchange failed", "exception": error})

    def begin(self, header: bytes, body: bytes, *, is_reserved: bool) -> int | None:
        """Append BEGIN and return the number of the exchange; None: it is to be recorded when it is over.

        Raises JournalUnavailable: it must not be served.
        """
        if not self._is_short and not self._spill.waiting:
            try:
                return self._journal.begin_encoded(header, body)
            except JournalUnavailable:
                self._fail()
                if self._when_full == "block":
                    raise
        if self._when_full == "block":
            raise JournalUnavailable("the disk is full or failing: records cannot be kept")
        return self._begin_pressed(header, _short(body), is_reserved=is_reserved)

    def _begin_pressed(self, header: bytes, body: bytes, *, is_reserved: bool) -> int | None:
        if is_reserved or self._when_full == "metadata_only":
            try:
                return self._journal.begin_encoded(header, body)
            except JournalUnavailable:
                self._fail()
                if is_reserved:
                    raise
        return DROPPED if self._when_full == "drop" else None

    def keep(self, kind: FrameKind, number: int, data: bytes) -> bool:
        """Append body bytes; what the disk refuses waits in memory. False: there is no room, so they are lost."""
        if number == DROPPED or self._sheds:
            return False
        append = partial(self._journal.chunk, kind, number, data)
        return self._append(append) or self._spill.add_body(len(data), append)

    def keep_end(self, number: int, end: End, body: bytes) -> None:
        """Append END with the last body bytes."""
        if number == DROPPED:
            self._drop()
            return
        append = partial(self._journal.end, number, end, body)
        if not self._append(append):
            self._spill.add_end(len(body) + len(end.times) + len(end.head) + 512, append)

    def keep_whole(self, begin: bytes, end: End, request: bytes, response: bytes) -> None:
        """Append an exchange that was not dispatched, or that could not be begun; `begin` is encoded."""
        if self.presses:
            tail = (end.response_tail or _too_long(response))[-_SHORT_TAIL:]
            end = msgspec.structs.replace(end, request_tail=b"", response_tail=tail)
            request, response = _short(request), _short(response)
        append = partial(self._journal.whole_encoded, begin, end, request, response)
        if self._append(append):
            return
        if self._when_full == "drop":
            self._drop()
        else:
            self._spill.add_end(len(begin) + len(request) + len(response) + len(end.response_tail) + 1024, append)

    def when_durable(self, deliver: Callable[[bool], None]) -> None:
        """Call `deliver` when all that was appended has reached the disk, with whether it has (`durability: strict`)."""
        self._syncing.append(deliver)
        if self._sync_task is None:
            self._start_sync()

    def tick(self, now: float) -> None:
        """Append what waits, look around; ten times a second."""
        if self._spill.waiting:
            self._spill.retry()
            if not self._spill.waiting:
                self._look_at = now
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._look_around()
        if self._lost is not None and not self.presses:
            self._tell_lost(self._lost)

    def abandon(self) -> int:
        """Let go of what the disk would not take before the end of this process; return how many records that cost."""
        self._spill.retry()
        return self._spill.abandon()

    def _look_around(self) -> None:
        seen = self._journal.look_around()
        is_long = seen.size_bytes > self._journal_bytes
        if is_long:
            self._journal.rotate()  # a segment at hand is not deleted, however long it is folded
        self._is_short = is_long or bool(seen.unsafe) or is_nearly_full(self._journal.directory)

    def _tell_lost(self, lost: Lost) -> None:
        try:
            self._journal.lost(lost)
        except JournalUnavailable:
            self._fail()
        else:
            self._lost = None

    def _append(self, append: Callable[[], None]) -> bool:
        self.write()
        if not self._spill.waiting:
            try:
                append()
            except JournalUnavailable:
                pass
            else:
                return True
        self._fail()
        return False

    def _fail(self) -> None:
        self.failures += 1
        self._is_short = True

    def _drop(self) -> None:
        now_ms = SYSTEM.wall_ms()
        before = self._lost or Lost(0, now_ms, now_ms)
        self._lost = Lost(before.count + 1, before.first_ms, now_ms)

    def _start_sync(self) -> None:
        waiting, self._syncing = self._syncing, []
        try:
            if self._spill.waiting:
                raise OSError("records wait for the disk")
            task = self._sync_task = self._loop.run_in_executor(None, self._journal.prepare_sync())
        except OSError:
            self._synced(waiting, is_durable=False)
            return
        task.add_done_callback(lambda done: self._sync_ended(waiting, is_durable=done.exception() is None))

    def _sync_ended(self, waiting: list[Callable[[bool], None]], *, is_durable: bool) -> None:
        if not is_durable:
            self._journal.distrust()
        self._synced(waiting, is_durable=is_durable)

    def _synced(self, waiting: list[Callable[[bool], None]], *, is_durable: bool) -> None:
        self._sync_task = None
        if not is_durable:
            self._fail()
        self._tell(waiting, is_good=is_durable)
        if self._syncing:
            self._start_sync()


def _short(body: bytes) -> bytes:
    return body if len(body) <= _SHORT_BYTES else b""


def _too_long(body: bytes) -> bytes:
    return b"" if len(body) <= _SHORT_BYTES else body
