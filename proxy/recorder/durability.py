"""Durability: the thread that forces the journal to the disk, so that no writer has to wait for it.

What a writer appended survives its death at once; what this thread has synced survives a loss of power.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

from proxy.journal.reader import Segment

INTERVAL_S: Final = 0.05
"""The window of a power loss: half of the 100 ms that we promise. Vector's is 500 ms."""


class SegmentSync:
    """Syncs every segment that has grown, every `INTERVAL_S`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._synced: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segment-sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Sync once more and end."""
        self._stop.set()
        self._thread.join()
        self.sync()

    def sync(self) -> int:
        """Sync what has grown; return how many segments that were."""
        sizes = self._sizes()
        grown = [name for name, size in sizes.items() if size != self._synced.get(name, 0)]
        for name in grown:
            with contextlib.suppress(FileNotFoundError):
                _sync(self._directory / name)
        self._synced = sizes
        return len(grown)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            # A disk that refuses is reported by whoever needs the data; the next round tries again.
            with contextlib.suppress(OSError):
                self.sync()

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
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
