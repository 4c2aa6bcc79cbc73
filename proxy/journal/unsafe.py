"""Segments that the disk failed to sync, and how writer and recorder speak of them.

After an fsync that failed, the kernel may count the lost pages as written: a second fsync succeeds and proves nothing
(wiki.postgresql.org/wiki/Fsync_Errors). So such a segment is marked by an empty file beside it, nobody appends to it or
syncs it again, and the recorder writes it anew from what can still be read. The mark goes when the copy is on the disk.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.disk import sync_directory
from proxy.failpoints import failpoint

SUFFIX: Final = ".journal"
_MARK: Final = ".unsafe"
_COPY: Final = ".copy"
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a journal directory holds."""

    size_bytes: int
    """Of all segments."""
    unsafe: frozenset[str]
    """Names of the segments that are marked."""


def survey(directory: Path) -> Surroundings:
    """Look at a journal directory; what cannot be looked at counts as empty."""
    size, unsafe = 0, set[str]()
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
            elif entry.name.endswith(_MARK):
                unsafe.add(entry.name.removesuffix(_MARK))
    return Surroundings(size, frozenset(unsafe))


def unsafe_marker(segment: Path) -> Path:
    """Return the file that marks a segment as unsafe."""
    return segment.with_name(segment.name + _MARK)


def mark_unsafe(segment: Path) -> None:
    """Mark a segment; a disk that refuses even that has refused more than this."""
    with contextlib.suppress(OSError):
        unsafe_marker(segment).touch(mode=0o600)


def write_anew(segment: Path) -> None:
    """Put a segment's bytes into a file that the disk has not failed yet, in its place. Raises OSError."""
    copy = segment.with_name(segment.name + _COPY)
    target = os.open(copy, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        _copy(segment, target)
        failpoint("journal.write_anew")
        os.fdatasync(target)
        copy.replace(segment)
        sync_directory(segment.parent)
    finally:
        os.close(target)
        copy.unlink(missing_ok=True)


def remove_copies(directory: Path) -> None:
    """Delete copies that were not finished: nobody would ever look at them, and they hold what may have to be erased."""
    for path in directory.glob(f"*{SUFFIX}{_COPY}"):
        path.unlink(missing_ok=True)


def _copy(segment: Path, target: int) -> None:
    source = os.open(segment, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := memoryview(os.read(source, _PIECE_BYTES)):
            while piece:
                piece = piece[os.write(target, piece) :]
    finally:
        os.close(source)
