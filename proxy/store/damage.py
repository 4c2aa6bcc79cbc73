"""A database that is damaged, or is not the one that was opened: told apart, and set aside.

Records can be made anew from the journal from where it still reaches; a recorder that stands still helps nobody. So a
damaged records.db is set aside for a person, and a new one is begun. A file that is no database of ours at all may be
encrypted with a key that is missing in the configuration: it is refused and left alone.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

import apsw

from proxy.disk import sync_directory
from proxy.errors import StoreDamaged

log = logging.getLogger(__name__)

_MAGIC: Final = b"SQLite format 3\0"
_ALIKE: Final = 12
"""Bytes of sixteen: an encrypted file begins with random ones."""
_PARTS: Final = ("", "-wal", "-shm")


def is_damage(error: BaseException | None) -> bool:
    """Say whether SQLite found the file itself in disorder."""
    return isinstance(error, apsw.CorruptError | apsw.NotADBError)


def set_aside(path: Path) -> Path:
    """Rename a damaged database and its log; return its new name.

    Raises StoreDamaged when the file does not look as if it had ever been a readable database.
    """
    if path.exists() and not _was_ours(path):
        raise StoreDamaged(
            f"{path.name} is no database, or is encrypted and the configuration names no key;"
            " move it away to begin with a new one"
        )
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 1_000_000:06d}")
    for part in _PARTS:
        source = path.with_name(path.name + part)
        if source.exists():
            source.replace(aside.with_name(aside.name + part))
    sync_directory(path.parent)
    log.error("%s is damaged: it was set aside as %s, a new one is begun", path.name, aside.name)
    return aside


def _was_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    return sum(found == expected for found, expected in zip(start, _MAGIC, strict=False)) >= _ALIKE
