"""Archives: one tar with consistent copies of the databases, made while everything runs.

The ledger is copied first. A copy of the records that is younger than that of the ledger holds every exchange the
ledger has settled, so a restored pair can be reconciled; the other way round money could be missing from the books.
The journal is not copied: what stands in it when a backup begins is in the records before they are copied.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from proxy.databases import open_copy, open_database
from proxy.disk import sync_directory
from proxy.errors import StoreError

DATABASES: Final = ("ledger.db", "records.db", "app.db")
COMPANIONS: Final = ("pepper", "encryption.json")
"""Without which the databases are of less use: keys' digests need the pepper, encryption its salt."""
PAGES_PER_STEP: Final = 1000
"""So that Ctrl-C is heard while a large database is copied."""
_LOOK_EVERY_S: Final = 0.02


def wait_until_stored(data_dir: Path, within_s: float) -> int:
    """Wait until the records hold what stands in the journal now; return how many bytes of it they still lack."""
    written = {path.name: path.stat().st_size for path in _segments(data_dir)}
    deadline = time.monotonic() + within_s
    while missing := _missing(data_dir, written):
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_EVERY_S)
    return missing


def _missing(data_dir: Path, written: Mapping[str, int]) -> int:
    still_there = {path.name for path in _segments(data_dir)} & written.keys()
    if not still_there:
        return 0
    try:
        with closing(open_database(data_dir / "records.db", "read", busy_ms=5000)) as records:
            seen = dict(records.execute("SELECT segment, seen FROM journal_segments"))
    except apsw.Error as error:
        raise StoreError(f"records.db: {error}") from error
    return sum(max(0, written[name] - seen.get(name, 0)) for name in still_there)


def _segments(data_dir: Path) -> list[Path]:
    return list((data_dir / "journal").glob("*.journal"))


def write_backup(databases: list[Path], others: list[Path], target: Path) -> dict[str, int]:
    """Copy the databases in this order and the other files into a tar at `target`; return the sizes by name.

    The archive appears whole or not at all, and only its owner can read it.
    """
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix=".glassline-backup-", dir=target.resolve().parent) as scratch:
        archive = Path(scratch) / "backup.tar"
        descriptor = os.open(archive, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
            for source in databases:
                copy = Path(scratch) / source.name
                copy_database(source, copy)
                tar.add(copy, arcname=source.name)
                sizes[source.name] = copy.stat().st_size
                copy.unlink()
            for source in others:
                tar.add(source, arcname=source.name)
                sizes[source.name] = source.stat().st_size
            tar.close()
            stream.flush()
            os.fsync(stream.fileno())
        archive.replace(target)
        sync_directory(target.resolve().parent)
    return sizes


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that others may be writing, as it stands in one instant; the copy is checked."""
    try:
        with closing(open_database(source, "read", busy_ms=5000)) as origin, closing(open_copy(target, origin)) as copy:
            # The open read transaction holds one snapshot. Without it every commit of a writer would start the copy
            # from the beginning (sqlite.org/backup.html), and under traffic it would never end.
            origin.execute("BEGIN; SELECT 1 FROM sqlite_master").fetchall()
            with copy.backup("main", origin, "main") as backup:
                while not backup.done:
                    backup.step(PAGES_PER_STEP)
            copy.pragma("journal_mode", "delete")
            verdict = copy.pragma("quick_check")
    except apsw.Error as error:
        raise StoreError(f"{source}: {error}") from error
    if verdict != "ok":
        raise StoreError(f"{source}: the copy is damaged: {verdict}")
