"""`glassline migrate`: bring the databases to this program's version, after a backup of what was there.

`serve` does the same when it starts. The command is for those who want to see what happens before.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Final

from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen
from proxy.databases import open_database
from proxy.errors import EnvironmentUnusable
from proxy.migrations import migrate
from proxy.upgrade import back_up_before_upgrade, missing_numbers

DATABASES: Final = {"ledger.db": "proxy.ledger", "records.db": "proxy.store", "app.db": "proxy.admin"}
"""Each with the package that holds its migrations."""


def run(arguments: argparse.Namespace) -> int:
    """Migrate every database that exists; one line for each."""
    if arguments.encrypt or arguments.decrypt:
        from proxy.cli.encryption import change

        return change(arguments, encrypts=arguments.encrypt)
    data_dir = load_data_dir(arguments)
    present = {data_dir / name: package for name, package in DATABASES.items() if (data_dir / name).exists()}
    if not present:
        raise EnvironmentUnusable(f"{data_dir}: no database yet: `glassline serve` makes them")
    pending = {path: missing_numbers(path) for path in present}
    screen = Screen()
    if (target := back_up_before_upgrade(data_dir)) is not None:
        screen.line(f"backup: {target}")
    for path, package in present.items():
        version = bring_up(path, package)
        applied = ", ".join(map(str, pending[path]))
        screen.line(f"{path.name}: version {version}" + (f", applied {applied}" if applied else ", nothing to do"))
    return 0


def bring_up(path: Path, package: str) -> int:
    """Apply what is missing; return the version."""
    connection = open_database(path, "write", busy_ms=5000)
    try:
        return migrate(connection, files(package) / "migrations")
    finally:
        connection.close()
