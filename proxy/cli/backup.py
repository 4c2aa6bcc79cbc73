"""`glassline backup FILE`: one tar with consistent copies of the databases, made while everything runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen, size
from proxy.data_dir import LOCK
from proxy.errors import EnvironmentUnusable

_PATIENCE_S: Final = 5.0
"""For the recorder of a running Glassline to store what is in the journal; it is usually 0.1 s behind."""


def run(arguments: argparse.Namespace) -> int:
    """Write the archive and say what is in it."""
    from proxy.archive import COMPANIONS, DATABASES, wait_until_stored, write_backup
    from proxy.locks import is_held
    from proxy.store.backups import remember_backup

    data_dir, target = load_data_dir(arguments), Path(arguments.file)
    sources = [data_dir / name for name in DATABASES if (data_dir / name).exists()]
    if not sources:
        raise EnvironmentUnusable(f"{data_dir}: no database to back up")
    missing = wait_until_stored(data_dir, _PATIENCE_S if is_held(data_dir / LOCK) else 0)
    if missing:
        print(f"{size(missing)} of the journal are not recorded yet and not in the backup", file=sys.stderr)
    others = [data_dir / name for name in COMPANIONS if (data_dir / name).exists()]
    try:
        sizes = write_backup(sources, others, target)
        remember_backup(data_dir, target)
    except OSError as error:
        raise EnvironmentUnusable(f"{error.filename or target}: {error.strerror}") from error
    for name, copied in sizes.items():
        Screen().line(f"{name}  {size(copied)}")
    Screen().line(f"{target}  {size(target.stat().st_size)}")
    return 0
