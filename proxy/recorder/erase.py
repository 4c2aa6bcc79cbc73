"""Erase: what was folded is overwritten in the journal, before its segment is deleted.

A segment is deleted when its writer is through with it, and a quiet gateway takes days to fill one. Until then it holds
every body as it passed. Where that must not be, the payloads of exchanges that are stored are overwritten with zeros:
a frame stays a frame, of the same length, so that whoever reads the segment again steps over it. Exchanges that are
still open are left alone, whatever lies around them.

Invariant: nothing is overwritten that is not durable in the store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final
from zlib import crc32

from proxy.failpoints import failpoint
from proxy.journal.frames import CRC, HEADER_SIZE, MAGIC, MAX_PAYLOAD, PREFIX, VERSION, FrameKind
from proxy.journal.unsafe import mark_unsafe

_KEPT: Final = frozenset((FrameKind.OPEN, FrameKind.CLOSE, FrameKind.ERASED))
"""Frames that hold nothing of anybody."""
_ZEROS: Final = bytes(64 * 1024)


@dataclass(slots=True)
class _Progress:
    """How far a segment was dealt with."""

    offset: int = 0
    waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Frames of open exchanges: offset and payload length, by exchange."""
    is_damaged: bool = False
    """There is a place in it that is no frame: what lies behind it stays until the segment is deleted."""


class JournalEraser:
    """Overwrites what is stored in the segments of one directory."""

    def __init__(self, directory: Path, is_open: Callable[[str, int], bool], rewriting: Lock) -> None:
        """`is_open` says of a writer's exchange whether it has begun and not ended.

        `rewriting` is held by whoever replaces a segment by a copy.
        """
        self._directory = directory
        self._is_open = is_open
        self._rewriting = rewriting
        self._progress: dict[str, _Progress] = {}

    def erase(self, stored: Mapping[str, int]) -> int:
        """Overwrite what is stored, by file name and the offset up to which that is so; return how many bytes that was.

        What was committed must be durable before. Raises OSError.
        """
        for name in self._progress.keys() - stored.keys():
            del self._progress[name]
        count = 0
        for name, end in stored.items():
            with self._rewriting:
                count += self._erase(name, end)
        return count

    def damaged(self) -> list[str]:
        """Return the segments of which something could not be overwritten."""
        return sorted(name for name, progress in self._progress.items() if progress.is_damaged)

    def _erase(self, name: str, end: int) -> int:
        progress = self._progress.setdefault(name, _Progress())
        try:
            file = os.open(self._directory / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            writer = name.rsplit(".", 2)[0]
            over = [exchange for exchange in progress.waiting if not self._is_open(writer, exchange)]
            count = 0
            for exchange in over:
                count += _overwrite(file, exchange, progress.waiting[exchange])
                del progress.waiting[exchange]
            count += self._go_on(file, writer, progress, end)
            if count:
                self._sync(file, name)
            return count
        finally:
            os.close(file)

    def _sync(self, file: int, name: str) -> None:
        try:
            failpoint("erase.sync")
            os.fdatasync(file)
        except OSError:
            # The disk may still hold what was here, and no later sync would say so: the segment is to be written anew.
            mark_unsafe(self._directory / name)
            raise

    def _go_on(self, file: int, writer: str, progress: _Progress, end: int) -> int:
        count = 0
        while not progress.is_damaged and progress.offset + HEADER_SIZE <= end:
            head = os.pread(file, HEADER_SIZE, progress.offset)
            if len(head) < HEADER_SIZE:
                break
            magic, kind, _, length, exchange = PREFIX.unpack_from(head)
            if magic != MAGIC or length > MAX_PAYLOAD or progress.offset + HEADER_SIZE + length > end:
                progress.is_damaged = True
                break
            if kind not in _KEPT:
                if self._is_open(writer, exchange):
                    progress.waiting.setdefault(exchange, []).append((progress.offset, length))
                else:
                    count += _overwrite(file, exchange, [(progress.offset, length)])
            progress.offset += HEADER_SIZE + length
        return count


def _overwrite(file: int, exchange: int, frames: Iterable[tuple[int, int]]) -> int:
    count = 0
    for offset, length in frames:
        # The header last: a process that dies in between leaves a frame that is overwritten again, not one that is over.
        for start in range(0, length, len(_ZEROS)):
            _write_at(file, _ZEROS[: min(length - start, len(_ZEROS))], offset + HEADER_SIZE + start)
        prefix = PREFIX.pack(MAGIC, FrameKind.ERASED, VERSION, length, exchange)
        _write_at(file, prefix + CRC.pack(_checksum(prefix, length)), offset)
        count += length
    return count


def _write_at(file: int, data: bytes, offset: int) -> None:
    failpoint("erase.write")
    if os.pwrite(file, data, offset) != len(data):
        raise OSError(errno.EIO, "the disk took only part of it")


def _checksum(prefix: bytes, zeros: int) -> int:
    checksum = crc32(prefix)
    while zeros > 0:
        checksum = crc32(_ZEROS[: min(zeros, len(_ZEROS))], checksum)
        zeros -= len(_ZEROS)
    return checksum
