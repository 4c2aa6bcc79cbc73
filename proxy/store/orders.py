"""Orders: deletions that are asked for, as files in `jobs/`, and the reports about them.

Whoever asks leaves `<id>.deletion`; the recorder does the work, leaves `<id>.deleted` and removes the order. An order
names a person, so it is a file that vanishes and never a row of a database; a report names nobody.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from proxy.encryption import read_file, sealed
from proxy.errors import GlasslineError
from proxy.files import write_whole
from proxy.store.deletion import Selection

log = logging.getLogger(__name__)
FOLDER: Final = "jobs"
"""Name of the folder, and what its files are encrypted for."""
_ASKED: Final = ".deletion"
_DONE: Final = ".deleted"
_ID: Final = re.compile(r"[0-9a-f-]{36}")
_KEEP_S: Final = 3600.0
"""A report that nobody came for is removed."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a deletion."""

    emptied: int = 0
    """Requests of which only the numbers are left; by retention: requests whose bodies went."""
    deleted: int = 0
    """Requests whose rows are gone."""
    journal_bytes: int = 0
    """Overwritten in the journal: everything that was stored already, whoever it was from."""
    quarantined_files: int = 0
    """Damaged pieces of the journal that were deleted, because nobody can tell whose they were."""
    backups: dict[str, int] = {}
    """Requests taken out of each backup, by its path."""
    not_reached: list[str] = []
    """In words, where something may be left."""


class Order(NamedTuple):
    """A deletion that is asked for; one that names nobody asks for what retention demands."""

    id: str
    selection: Selection


class Orders:
    """The orders of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def ask(self, id_: str, selection: Selection) -> None:
        """Leave an order. Raises OSError."""
        content = sealed(msgspec.json.encode(selection), FOLDER)
        write_whole(self._path(id_, _ASKED), content)

    def open_orders(self) -> Iterator[Order]:
        """Yield the orders that are not done; what is none is removed."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob(f"*{_ASKED}")):
            try:
                yield Order(path.stem, msgspec.json.decode(read_file(path, FOLDER), type=Selection))
            except (msgspec.MsgspecError, OSError, GlasslineError) as error:
                log.warning("%s asks for no deletion: %s", path.name, type(error).__name__)
                path.unlink(missing_ok=True)

    def finish(self, id_: str, report: Report) -> None:
        """Leave the report and remove the order. Raises OSError."""
        write_whole(self._path(id_, _DONE), sealed(msgspec.json.encode(report), FOLDER))
        self._path(id_, _ASKED).unlink(missing_ok=True)
        self._forget_old()

    def is_open(self, id_: str) -> bool:
        """Say whether an order is not done."""
        return _ID.fullmatch(id_) is not None and self._path(id_, _ASKED).exists()

    def report(self, id_: str) -> Report | None:
        """Return the report about an order; None: not yet, or no more."""
        if not _ID.fullmatch(id_):
            return None
        try:
            return msgspec.json.decode(read_file(self._path(id_, _DONE), FOLDER), type=Report)
        except FileNotFoundError:
            return None

    def withdraw(self, id_: str) -> None:
        """Remove an order and its report."""
        for suffix in (_ASKED, _DONE):
            self._path(id_, suffix).unlink(missing_ok=True)

    def _path(self, id_: str, suffix: str) -> Path:
        return self._folder / f"{id_}{suffix}"

    def _forget_old(self) -> None:
        for path in self._folder.glob(f"*{_DONE}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _KEEP_S:
                    path.unlink()
