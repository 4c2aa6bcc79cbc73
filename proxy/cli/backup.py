"""`glassline backup FILE`: one tar with consistent copies of the databases, made while everything runs.

The ledger is copied first. A copy of the records that is younger than that of the ledger holds every exchange the
ledger has settled, so a restored pair can be reconciled; the other way round money could be missing from the books.
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen, size
from proxy.errors import EnvironmentUnusable, StoreError

DATABASES: Final = ("ledger.db", "records.db", "app.db")
PAGES_PER_STEP: Final = 1000
"""So that Ctrl-C is heard while a large database is copied."""


def run(arguments: argparse.Namespace) -> int:
    """Write the archive and say what is in it."""
    data_dir, target = load_data_dir(arguments), Path(arguments.file)
    sources = [data_dir / name for name in DATABASES if (data_dir / name).exists()]
    if not sources:
        raise EnvironmentUnusable(f"{data_dir}: no database to back up")
    try:
        sizes = write_backup(sources, _others(data_dir), target)
    except OSError as error:
        raise EnvironmentUnusable(f"{error.filename or target}: {error.strerror}") from error
    for name, copied in sizes.items():
        Screen().line(f"{name}  {size(copied)}")
    Screen().line(f"{target}  {size(target.stat().st_size)}")
    return 0


def _others(data_dir: Path) -> list[Path]:
    """Return the files without which the databases are of less use: the keys' digests need the pepper."""
    return [path for path in (data_dir / "pepper",) if path.exists()]


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
    return sizes


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that others may be writing, as it stands in one instant; the copy is checked."""
    import apsw

    try:
        origin = apsw.Connection(
            f"{source.resolve().as_uri()}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        origin.set_busy_timeout(5000)
        copy = apsw.Connection(str(target))
        try:
            # The open read transaction holds one snapshot. Without it every commit of a writer would start the copy
            # from the beginning (sqlite.org/backup.html), and under traffic it would never end.
            origin.execute("BEGIN; SELECT 1 FROM sqlite_master").fetchall()
            with copy.backup("main", origin, "main") as backup:
                while not backup.done:
                    backup.step(PAGES_PER_STEP)
            copy.pragma("journal_mode", "delete")
            verdict = copy.pragma("quick_check")
        finally:
            copy.close()
            origin.close()
    except apsw.Error as error:
        raise StoreError(f"{source}: {error}") from error
    if verdict != "ok":
        raise StoreError(f"{source}: the copy is damaged: {verdict}")
