"""Quarantine: what could not be read, kept for a person to look at.

Bounded in every direction, because damage may repeat without end; nothing here is ever read back by the program.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from proxy.encryption import sealed

MAX_FILE_BYTES: Final = 1024 * 1024
"""Enough to recognise what was there."""
PURPOSE: Final = "quarantine"
"""What its files are encrypted for: some of what cannot be used was decrypted already."""
MAX_FILES: Final = 64
"""Together at most 64 MB, the size of one segment."""


class Quarantine:
    """A directory that takes at most `MAX_FILES` files of at most `MAX_FILE_BYTES`."""

    def __init__(self, directory: Path) -> None:
        self.max_file_bytes = MAX_FILE_BYTES
        """0: only that something was there is kept, as its name."""
        self._directory = directory

    def save(self, name: str, data: bytes) -> bool:
        """Keep the first bytes of `data`; return False when the place is full or the disk refuses."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            path = self._directory / name
            if path.exists() or sum(1 for _ in self._directory.iterdir()) >= MAX_FILES:
                return False
            path.touch(mode=0o600)
            path.write_bytes(sealed(data[: self.max_file_bytes], PURPOSE))
            return True
        return False
