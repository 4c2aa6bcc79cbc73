"""What must be true before a database is opened to be written: this program knows its version, and has a copy of it.

Each process migrates its own database when it opens it. Before the first of them does, all are looked at without being
changed: one that is newer is refused, and if any is older, everything is copied to `backups/` first.
"""

from __future__ import annotations

import logging
import time
from importlib.resources import files
from pathlib import Path
from typing import Final

import apsw

from proxy.archive import COMPANIONS, DATABASES, write_backup
from proxy.databases import open_database
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.failpoints import failpoint
from proxy.migrations import applied_numbers, migration_files

log = logging.getLogger("glassline.upgrade")

FOLDER: Final = "backups"
MIGRATIONS: Final = {"ledger.db": "ledger", "records.db": "store", "app.db": "admin"}
"""Each database with the part of the program that writes it."""


def back_up_before_upgrade(data_dir: Path) -> Path | None:
    """Copy everything if any database is older than this program; return the copy. None: nothing is older.

    Raises EnvironmentUnusable when a database is newer, or the copy cannot be written.
    """
    present = [data_dir / name for name in DATABASES if (data_dir / name).exists()]
    versions = {path.name: _version(path) for path in present}
    if not any(0 < have < known for have, known in versions.values()):
        return None
    oldest = "-".join(f"{name.removesuffix('.db')}{have}" for name, (have, _) in versions.items())
    target = data_dir / FOLDER / f"before-{oldest}-{time.strftime('%Y%m%dT%H%M%S')}.tar"
    others = [data_dir / name for name in COMPANIONS if (data_dir / name).exists()]
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        failpoint("upgrade.before_backup")
        write_backup(present, others, target)
        failpoint("upgrade.after_backup")
    except OSError as error:
        raise EnvironmentUnusable(f"{target}: {error.strerror}: no database is changed without a copy") from error
    log.warning("the databases are of an earlier version: a copy is in %s", target)
    return target


def missing_numbers(path: Path) -> list[int]:
    """Return the migrations that a database lacks. Raises StoreError when it is newer or damaged."""
    known = set(migration_files(files("proxy") / MIGRATIONS[path.name] / "migrations"))
    try:
        connection = open_database(path, "read", busy_ms=5000)
        try:
            applied = applied_numbers(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
    if applied - known:
        raise EnvironmentUnusable(
            f"{path}: version {max(applied)} was written by a newer Glassline, this one knows {max(known)}"
        )
    return sorted(known - applied)


def _version(path: Path) -> tuple[int, int]:
    """Return the version of a database and the one this program knows. One that is damaged is others' business."""
    known = max(migration_files(files("proxy") / MIGRATIONS[path.name] / "migrations"))
    try:
        missing = missing_numbers(path)
    except StoreError:
        return known, known
    return (min(missing) - 1 if missing else known), known
