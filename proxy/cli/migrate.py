"""`glassline migrate`: bring the databases to this program's version, after a backup of what was there.

`serve` brings them there too when it starts, without a backup. The command is for those who want one, and to see
what happens.
"""

from __future__ import annotations

import argparse
import time
from importlib.resources import files
from pathlib import Path
from typing import Final

import apsw

from proxy.cli.backup import write_backup
from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.migrations import applied_numbers, migrate, migration_files

DATABASES: Final = {"ledger.db": "proxy.ledger", "records.db": "proxy.store", "app.db": "proxy.admin"}
"""Each with the package that holds its migrations."""


def run(arguments: argparse.Namespace) -> int:
    """Migrate every database that exists; one line for each."""
    data_dir = load_data_dir(arguments)
    present = {data_dir / name: package for name, package in DATABASES.items() if (data_dir / name).exists()}
    if not present:
        raise EnvironmentUnusable(f"{data_dir}: no database yet: `glassline serve` makes them")
    pending = {path: missing_numbers(path, package) for path, package in present.items()}
    screen = Screen()
    if any(pending.values()):
        target = data_dir / f"before-migration-{time.strftime('%Y%m%dT%H%M%S')}.tar"
        write_backup(list(present), [], target)
        screen.line(f"backup: {target}")
    for path, package in present.items():
        version = bring_up(path, package)
        applied = ", ".join(map(str, pending[path]))
        screen.line(f"{path.name}: version {version}" + (f", applied {applied}" if applied else ", nothing to do"))
    return 0


def missing_numbers(path: Path, package: str) -> list[int]:
    """Return the migrations that the database lacks. Raises StoreError when it is newer or damaged."""
    known = set(migration_files(files(package) / "migrations"))
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            applied = applied_numbers(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
    if applied - known:
        raise StoreError(
            f"{path}: version {max(applied)} was written by a newer Glassline, this one knows {max(known)}"
        )
    return sorted(known - applied)


def bring_up(path: Path, package: str) -> int:
    """Apply what is missing; return the version."""
    try:
        connection = apsw.Connection(str(path))
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        connection.set_busy_timeout(5000)
        return migrate(connection, files(package) / "migrations")
    finally:
        connection.close()
