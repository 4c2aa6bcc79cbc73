"""Quarantine: what could not be read, kept for a person to look at.

Bounded in every direction, because damage may repeat without end; nothing here is ever read back by the program.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 1024 * 1024
"""Enough to recognise what was there."""
MAX_FILES: Final = 64
"""Together at most 64 MB, the size of one segment."""


class Quarantine:
    """A directory that takes at most `MAX_FILES` files of at most `MAX_FILE_BYTES`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, name: str, data: bytes) -> bool:
        """Keep the first bytes of `data`; return False when the place is full or the disk refuses."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            path = self._directory / name
            if path.exists() or sum(1 for _ in self._directory.iterdir()) >= MAX_FILES:
                return False
            path.touch(mode=0o600)
            path.write_bytes(data[:MAX_FILE_BYTES])
            return True
        return False
