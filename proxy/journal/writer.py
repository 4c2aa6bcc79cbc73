"""The writing half of the journal: one process, segment files of its own, one `write(2)` for each call.

Invariant: whatever a call returned from is in the kernel and survives `kill -9`. A short write is cut off again, so the
file never holds half a frame while the writer lives. Nothing here waits for a disk; `sync` does, and is called from a
thread by those who promised to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from proxy.errors import JournalUnavailable
from proxy.journal.frames import HEADER_SIZE, FrameKind, frame, join_payload
from proxy.records import Begin, End

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Size at which a new segment starts: large enough to be rare, small enough to be deleted soon."""
_ENCODER: Final = msgspec.msgpack.Encoder()


def writer_name(role: str) -> str:
    """Return a name for a new writer: sortable by start time, never used twice."""
    return f"{time.time_ns() // 1_000_000:013d}-{role}-{secrets.token_hex(4)}"


class JournalWriter:
    """Append exchanges to `directory`; hold the lock that says this writer lives."""

    def __init__(self, directory: Path, role: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.name = writer_name(role)
        self.written_bytes = 0
        self.keeps_rotated = False
        """A segment that is full stays open until `prepare_sync`, so that its last bytes can be forced to the disk."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segment_number = 0
        self._exchange = 0
        self._file = -1
        self._offset = 0
        self._rotated: list[int] = []
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(directory / f"{self.name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._open_segment()

    def begin(self, begin: Begin, body: bytes = b"") -> int:
        """Append the first half of an exchange with the body bytes known so far; return the exchange's number."""
        return self.begin_encoded(_ENCODER.encode(begin), body)

    def begin_encoded(self, header: bytes, body: bytes = b"") -> int:
        """Do the same with a `Begin` that is encoded already, see `records.BeginTemplate`."""
        self._exchange += 1
        self._write(frame(FrameKind.BEGIN, self._exchange, join_payload(header, body)))
        return self._exchange

    def chunk(self, kind: FrameKind, exchange: int, data: bytes) -> None:
        """Append more bytes of a request or response body."""
        self._write(frame(kind, exchange, data))

    def end(self, exchange: int, end: End, body: bytes = b"") -> None:
        """Append the second half of an exchange with the last bytes of the response body."""
        self._write(frame(FrameKind.END, exchange, join_payload(_ENCODER.encode(end), body)))

    def whole(self, begin: Begin, end: End, request: bytes = b"", response: bytes = b"") -> None:
        """Append an exchange that is over when it begins, such as a refusal."""
        self.whole_encoded(_ENCODER.encode(begin), end, request, response)

    def whole_encoded(self, header: bytes, end: End, request: bytes = b"", response: bytes = b"") -> None:
        """Do the same with a `Begin` that is encoded already."""
        self._exchange += 1
        first = frame(FrameKind.BEGIN, self._exchange, join_payload(header, request))
        second = frame(FrameKind.END, self._exchange, join_payload(_ENCODER.encode(end), response))
        self._write(first + second)

    def prepare_sync(self) -> Callable[[], None]:
        """Return what forces all that was appended so far to the disk: it blocks, and raises OSError.

        It works on descriptors of its own, so a thread may call it while this writer goes on. Raises OSError.
        """
        files = [*self._rotated, os.dup(self._file)]
        self._rotated = []
        return lambda: _sync_and_close(files)

    def close(self) -> None:
        """Say that this writer stopped in good order, and release the lock."""
        if self._file < 0:
            return
        with contextlib.suppress(JournalUnavailable):
            self._write(frame(FrameKind.CLOSE, 0, b""))
        self._close_rotated()
        os.close(self._file)
        os.close(self._lock)
        self._file = self._lock = -1

    def _write(self, data: bytes) -> None:
        size = len(data)
        if self._offset + size > self._segment_bytes and self._offset > HEADER_SIZE:
            self._open_segment()
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise JournalUnavailable(f"journal: {error.strerror}") from error
        if written != size:
            self._cut_off()
            raise JournalUnavailable("journal: the disk took only part of a frame")
        self._offset += size
        self.written_bytes += size

    def _close_rotated(self) -> None:
        while self._rotated:
            os.close(self._rotated.pop())

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._offset)

    def _open_segment(self) -> None:
        path = self._directory / f"{self.name}.{self._segment_number:08d}.journal"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except OSError as error:
            raise JournalUnavailable(f"journal: {path.name}: {error.strerror}") from error
        if self._file >= 0:
            self._rotated.append(self._file)
        if not self.keeps_rotated:
            self._close_rotated()
        self._file, self._offset = file, 0
        self._segment_number += 1
        header = _ENCODER.encode({"writer": self.name, "pid": os.getpid(), "format": 1})
        self._write(frame(FrameKind.OPEN, 0, join_payload(header, b"")))


def _sync_and_close(files: list[int]) -> None:
    try:
        for file in files:
            os.fdatasync(file)
    finally:
        for file in files:
            os.close(file)
