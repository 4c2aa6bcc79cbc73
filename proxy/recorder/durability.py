"""Durability: the thread that forces the journal to the disk, so that no writer has to wait for it.

What a writer appended survives its death at once; what this thread has synced survives a loss of power. A segment whose
sync failed is never synced again: it is marked, its writer begins another one, and it is written anew, see
`proxy.journal.unsafe`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.disk import sync_directory
from proxy.failpoints import failpoint
from proxy.journal.reader import Segment, is_lock_free
from proxy.journal.unsafe import mark_unsafe, remove_copies, survey, unsafe_marker, write_anew

log = logging.getLogger(__name__)

INTERVAL_S: Final = 0.05
"""The window of a power loss: half of the 100 ms that we promise. Vector's is 500 ms."""
RESCUE_EVERY_S: Final = 0.5
"""Between two attempts to write unsafe segments anew."""


class SegmentSync:
    """Syncs every segment that has grown, every `INTERVAL_S`."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        """Syncs that the disk refused."""
        remove_copies(directory)
        self._directory = directory
        self._monotonic = monotonic
        self._synced: dict[str, int] = {}
        self._has_new_names = False
        self._unsafe: set[str] = set(survey(directory).unsafe)
        self._rescue_at = 0.0
        self.rewriting = threading.Lock()
        """Held while a segment is copied: what is overwritten in it meanwhile would stay in the copy."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segment-sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Sync once more and end."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.sync()

    @property
    def unsafe(self) -> int:
        """How many segments could not be synced and are not written anew yet."""
        return len(self._unsafe)

    def sync(self) -> int:
        """Sync what has grown; return how many segments that were. Raises OSError when names cannot be synced."""
        sizes = self._sizes()
        grown = [name for name, size in sizes.items() if size != self._synced.get(name, 0) and name not in self._unsafe]
        self._has_new_names = self._has_new_names or bool(sizes.keys() - self._synced.keys())
        for name in grown:
            try:
                _sync(self._directory / name)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._distrust(name, error)
        self._synced = sizes
        if self._has_new_names:
            sync_directory(self._directory)
            self._has_new_names = False
        return len(grown)

    def rescue(self) -> None:
        """Write unsafe segments anew, as soon as nobody appends to them."""
        for name in sorted(self._unsafe | survey(self._directory).unsafe):
            self._unsafe.add(name)
            if self._is_closed(name):
                self._write_anew(name)

    def _write_anew(self, name: str) -> None:
        try:
            with self.rewriting:
                write_anew(self._directory / name)
        except FileNotFoundError:
            pass  # everything in it is in the store, and it was deleted
        except OSError as error:
            self.failures += 1
            log.error("%s cannot be written anew, so a loss of power may take it: %s", name, error.strerror)
            return
        else:
            log.warning("%s was written anew after a sync that failed", name)
        unsafe_marker(self._directory / name).unlink(missing_ok=True)
        self._unsafe.discard(name)

    def _distrust(self, name: str, error: OSError) -> None:
        self.failures += 1
        self._unsafe.add(name)
        mark_unsafe(self._directory / name)
        log.error("%s cannot be synced: %s; nothing more is appended to it", name, error.strerror)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self.sync()
                if self._monotonic() >= self._rescue_at:
                    self._rescue_at = self._monotonic() + RESCUE_EVERY_S
                    self.rescue()
            except OSError as error:
                self.failures += 1
                log.error("the journal cannot be synced: %s", error.strerror)

    def _is_closed(self, name: str) -> bool:
        """Say whether nobody will append to a segment: its writer is dead or has begun another one."""
        segment = Segment.from_file_name(name)
        if segment is None or (self._directory / segment.successor.file_name).exists():
            return True
        return is_lock_free(self._directory, segment.writer)

    def _sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            for entry in entries:
                if Segment.from_file_name(entry.name) is not None:
                    with contextlib.suppress(FileNotFoundError):
                        sizes[entry.name] = entry.stat().st_size
        return sizes


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        failpoint("recorder.sync")
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
