"""The writing half of the journal: one process, segment files of its own, one `write(2)` for each call.

Who has several frames to append makes them first (`begin_frame`, `chunk_frame`, `end_frame`) and appends them together.

Invariant: whatever a call returned from is in the kernel and survives `kill -9`. A short write is cut off again, so the
file never holds half a frame while the writer lives. Nothing here waits for a disk; `sync` does, and is called from a
thread by those who promised to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec

from proxy.boot import boot_id
from proxy.disk import sync_directory
from proxy.encryption import vault
from proxy.errors import EnvironmentUnusable, JournalUnavailable
from proxy.failpoints import failpoint
from proxy.journal.frames import HEADER_SIZE, FrameKind, Lost, frame, message
from proxy.journal.unsafe import Surroundings, mark_unsafe, survey, unsafe_marker
from proxy.locks import take_lock
from proxy.records import Begin, End, Feedback

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LITTLE_BYTES: Final = 4096
"""More than the first frame of a segment."""
SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Size at which a new segment starts: large enough to be rare, small enough to be deleted soon."""
_BEGIN: Final = int(FrameKind.BEGIN)
_END: Final = int(FrameKind.END)
"""As plain numbers: an enum is looked up anew for each frame."""
_ENCODER: Final = msgspec.msgpack.Encoder()


def writer_name(role: str, boot: str) -> str:
    """Return a name for a new writer: sortable by start time, never used twice, see `boot_of`."""
    return f"{time.time_ns() // 1_000_000:013d}-{role}-{boot}-{secrets.token_hex(4)}"


def boot_of(writer: str) -> str:
    """Return the life of the machine in which a writer lived; text that names none is a life of its own."""
    return "-".join(writer.split("-")[-2:-1])


class JournalWriter:
    """Append exchanges to `directory`; hold the lock that says this writer lives."""

    def __init__(
        self, directory: Path, role: str, *, segment_bytes: int = SEGMENT_BYTES, boot: str | None = None
    ) -> None:
        """Begin to write; `boot` names the life of the machine, None: the present one. Raises EnvironmentUnusable."""
        self.name = writer_name(role, boot or boot_id())
        self.written_bytes = 0
        self.keeps_rotated = False
        """A segment that is full stays open until `prepare_sync`, so that its last bytes can be forced to the disk."""
        self.directory = self._directory = directory
        self._segment_bytes = segment_bytes
        self._segment_number = 0
        self._exchange = 0
        self._file = -1
        self._offset = 0
        self._rotated: list[int] = []
        self._has_new_names = True
        self._is_spoilt = False
        """Nothing more may be appended to the segment at hand."""
        self._in_sync = range(0)
        self._unsafe: set[int] = set()
        keys = vault()
        self._cipher = keys.frames(self.name) if keys is not None else None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory / f"{self.name}.lock")
            self._open_segment()
        except (OSError, JournalUnavailable) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise EnvironmentUnusable(f"{directory}: the journal cannot be written: {reason}") from error

    def begin(self, begin: Begin, body: bytes = b"") -> int:
        """Append the first half of an exchange with the body bytes known so far; return the exchange's number."""
        return self.begin_encoded(_ENCODER.encode(begin), body)

    def begin_encoded(self, header: bytes, body: bytes = b"") -> int:
        """Do the same with a `Begin` that is encoded already, see `records.BeginTemplate`."""
        number, frame = self.begin_frame(header, body)
        self.append(frame)
        return number

    def begin_frame(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        """Return the number of a new exchange and the frame of its BEGIN, for `append`."""
        self._exchange += 1
        return self._exchange, message(_BEGIN, self._exchange, header, body, self._cipher)

    def chunk_frame(self, kind: FrameKind, exchange: int, data: bytes) -> bytes:
        """Return the frame of more body bytes, for `append`."""
        return frame(kind, exchange, data, self._cipher)

    def end_frame(self, exchange: int, end: End, body: bytes) -> bytes:
        """Return the frame of an END, for `append`."""
        return message(_END, exchange, _ENCODER.encode(end), body, self._cipher)

    def chunk(self, kind: FrameKind, exchange: int, data: bytes) -> None:
        """Append more bytes of a request or response body."""
        self.append(self.chunk_frame(kind, exchange, data))

    def end(self, exchange: int, end: End, body: bytes = b"") -> None:
        """Append the second half of an exchange with the last bytes of the response body."""
        self.append(self.end_frame(exchange, end, body))

    def whole(self, begin: Begin, end: End, request: bytes = b"", response: bytes = b"") -> None:
        """Append an exchange that is over when it begins, such as a refusal."""
        self.whole_encoded(_ENCODER.encode(begin), end, request, response)

    def whole_encoded(self, header: bytes, end: End, request: bytes = b"", response: bytes = b"") -> None:
        """Do the same with a `Begin` that is encoded already."""
        self._exchange += 1
        first = message(_BEGIN, self._exchange, header, request, self._cipher)
        second = message(_END, self._exchange, _ENCODER.encode(end), response, self._cipher)
        self.append(first + second)

    def lost(self, lost: Lost) -> None:
        """Append that records were lost, so that they are counted where the others are."""
        self.append(frame(FrameKind.LOST, 0, _ENCODER.encode(lost), self._cipher))

    def feedback(self, feedback: Feedback) -> None:
        """Append what somebody says of an answer."""
        self.append(frame(FrameKind.FEEDBACK, 0, _ENCODER.encode(feedback), self._cipher))

    def prepare_sync(self) -> Callable[[], None]:
        """Return what forces all that was appended so far to the disk: it blocks, and raises OSError.

        It works on descriptors of its own, so a thread may call it while this writer goes on. Raises OSError.
        """
        self._unsafe = {number for number in self._unsafe if self._marker(number).exists()}
        if self._unsafe:
            raise OSError(errno.EIO, "earlier segments are not on the disk yet")
        files = [*self._rotated, os.dup(self._file)]
        self._in_sync = range(self._segment_number - len(files), self._segment_number)
        self._rotated = []
        directory = self._directory if self._has_new_names else None
        self._has_new_names = False
        return lambda: _sync_and_close(files, directory)

    def distrust(self, numbers: Iterable[int] | None = None) -> None:
        """Never append to these segments again, nor sync them: what a sync that failed left of them nobody can say.

        None: those that `prepare_sync` was last about. Their marks ask the recorder to write them anew, see `unsafe`.
        """
        for number in self._in_sync if numbers is None else numbers:
            self._unsafe.add(number)
            mark_unsafe(self._directory / self._file_name(number))
            self._is_spoilt = self._is_spoilt or number == self._segment_number - 1
        if self._is_spoilt:
            # At once, and not with the next exchange: the recorder cannot write anew what may still grow.
            with contextlib.suppress(JournalUnavailable):
                self._open_segment()

    def rotate(self) -> None:
        """Begin another segment if there is anything in this one, so that it can be deleted when it is folded."""
        if self._offset > _LITTLE_BYTES:
            with contextlib.suppress(JournalUnavailable):
                self._open_segment()

    def look_around(self) -> Surroundings:
        """Say how much the directory holds; stop trusting what was appended here when it is marked. Once a second."""
        surroundings = survey(self._directory)
        own = self._file_name(self._segment_number - 1)
        if own in surroundings.unsafe:
            self.distrust([self._segment_number - 1])
        return surroundings

    def close(self) -> None:
        """Say that this writer stopped in good order, and release the lock."""
        if self._file < 0:
            return
        with contextlib.suppress(JournalUnavailable):
            self.append(frame(FrameKind.CLOSE, 0, b"", self._cipher))
        self._close_rotated()
        os.close(self._file)
        os.close(self._lock)
        self._file = self._lock = -1

    def append(self, data: bytes) -> None:
        """Append whole frames, all or none."""
        size = len(data)
        if self._write(data) != size:
            self._cut_off()
            raise JournalUnavailable("journal: the disk took only part of a frame")
        self._count(size)

    def append_all(self, frames: list[bytes]) -> int:
        """Append frames by one write; return how many: what is whole of a short write stays, it may have been read."""
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        written = self._write(data)
        if written == len(data):
            self._count(written)
            return len(frames)
        *ends, _ = accumulate(map(len, frames))
        count = bisect_right(ends, written)
        self._count(ends[count - 1] if count else 0)
        self._cut_off()
        return count

    def _write(self, data: bytes) -> int:
        """Return how many bytes the disk took; all of `data` goes into one segment."""
        size = len(data)
        if (self._is_spoilt or self._offset + size > self._segment_bytes) and self._offset > HEADER_SIZE:
            self._open_segment()
        try:
            failpoint("journal.write")
            return os.write(self._file, data)
        except OSError as error:
            # After anything but a lack of space nobody knows what the file holds behind the last good frame.
            self._is_spoilt = self._is_spoilt or error.errno not in _NO_SPACE
            raise JournalUnavailable(f"journal: {error.strerror}") from error

    def _count(self, size: int) -> None:
        self._offset += size
        self.written_bytes += size

    def _close_rotated(self) -> None:
        while self._rotated:
            os.close(self._rotated.pop())

    def _cut_off(self) -> None:
        try:
            os.ftruncate(self._file, self._offset)
        except OSError:
            self._is_spoilt = True

    def _file_name(self, number: int) -> str:
        return f"{self.name}.{number:08d}.journal"

    def _marker(self, number: int) -> Path:
        return unsafe_marker(self._directory / self._file_name(number))

    def _open_segment(self) -> None:
        path = self._directory / self._file_name(self._segment_number)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            failpoint("journal.open")
            file = os.open(path, flags, 0o600)
        except OSError as error:
            raise JournalUnavailable(f"journal: {path.name}: {error.strerror}") from error
        if self._file >= 0:
            self._rotated.append(self._file)
        if not self.keeps_rotated:
            self._close_rotated()
        self._file, self._offset = file, 0
        self._has_new_names = True
        self._is_spoilt = False
        self._segment_number += 1
        header = _ENCODER.encode({"writer": self.name, "pid": os.getpid(), "format": 1})
        self.append(message(FrameKind.OPEN, 0, header, b"", self._cipher))


def _lock(path: Path) -> int:
    lock = take_lock(path)
    if lock is None:
        raise JournalUnavailable("another process writes it")
    return lock


def _sync_and_close(files: list[int], directory: Path | None) -> None:
    try:
        for file in files:
            failpoint("journal.sync")
            os.fdatasync(file)
        if directory is not None:
            sync_directory(directory)
    finally:
        for file in files:
            os.close(file)
