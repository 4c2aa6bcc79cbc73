"""`glassline restore FILE`: put the databases of a backup in the place of those that are there.

What is there is set aside, never deleted. Reservations that were open when the backup was made are spent, except where
its records say what they cost: nobody else can say any more whether those requests were billed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from proxy.cli.settings import key_file, load_data_dir
from proxy.cli.table import Screen, size
from proxy.data_dir import LOCK
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.locks import take_lock

_OWNER = "restored"
"""Of reservations that were open: no writer of this machine's life has that name."""


def run(arguments: argparse.Namespace) -> int:
    """Restore, and say what was restored and where the rest is."""
    data_dir, source = load_data_dir(arguments), Path(arguments.file)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(data_dir)
        try:
            aside, restored = _restore(source, data_dir, key_file(arguments))
        finally:
            os.close(lock)
    except OSError as error:
        raise EnvironmentUnusable(f"{error.filename or source}: {error.strerror or error}") from error
    for path in restored:
        Screen().line(f"{path.name}  {size(path.stat().st_size)}")
    if aside is not None:
        Screen().line(f"what was there is in {aside}")
    return 0


def _lock(data_dir: Path) -> int:
    """Take the lock of a running Glassline. Raises EnvironmentUnusable: one runs."""
    lock = take_lock(data_dir / LOCK)
    if lock is None:
        raise EnvironmentUnusable(f"{data_dir}: a Glassline runs here: stop it first")
    return lock


def _restore(source: Path, data_dir: Path, key: Path | None) -> tuple[Path | None, list[Path]]:
    from proxy.archive import COMPANIONS, DATABASES
    from proxy.disk import sync_directory
    from proxy.encryption import read_marker, unlock

    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data_dir) as scratch:
        found = _unpack(source, Path(scratch), (*DATABASES, *COMPANIONS))
        if read_marker(Path(scratch)) is not None:
            unlock(Path(scratch), key)  # the salt of a passphrase is that of the backup
        for path in found:
            if path.name in DATABASES:
                _check(path)
        aside = _set_aside(data_dir, [path.name for path in found])
        restored = [path.replace(data_dir / path.name) for path in found]
    sync_directory(data_dir)
    return aside, restored


def _unpack(source: Path, scratch: Path, names: tuple[str, ...]) -> list[Path]:
    """Copy what a backup holds of `names`, from a tar or a directory; everything else in it is left where it is."""
    found: list[Path] = []
    if source.is_dir():
        found = [Path(shutil.copy(source / name, scratch / name)) for name in names if (source / name).is_file()]
    else:
        try:
            with tarfile.open(source) as tar:
                for member in tar.getmembers():
                    if member.name in names and member.isfile():
                        tar.extract(member, scratch, filter="data")
                        found.append(scratch / member.name)
        except tarfile.TarError as error:
            raise StoreError(f"{source}: is no backup: {error}") from error
    if not any(path.suffix == ".db" for path in found):
        raise StoreError(f"{source}: holds no database")
    for path in found:
        path.chmod(0o600)
        _sync(path)
    return sorted(found)


def _check(path: Path) -> None:
    """Raise StoreError for a copy that is damaged or newer; make open reservations of the ledger's copy nobody's."""
    import apsw

    from proxy.databases import open_database
    from proxy.upgrade import missing_numbers

    missing_numbers(path)
    connection = open_database(path, "write")
    try:
        verdict = connection.pragma("integrity_check")
        if verdict == "ok" and path.name == "ledger.db":
            connection.execute("UPDATE reservations SET owner = ?", (_OWNER,))
    except apsw.Error as error:
        raise StoreError(f"{path.name}: {error}") from error
    finally:
        connection.close()
    if verdict != "ok":
        raise StoreError(f"{path.name}: the backup is damaged: {verdict}")


def _set_aside(data_dir: Path, names: list[str]) -> Path | None:
    """Move what will be replaced, with its logs, to a folder of its own; None: there was nothing."""
    present = [data_dir / f"{name}{part}" for name in names for part in ("", "-wal", "-shm")]
    present = [path for path in present if path.exists()]
    if not present:
        return None
    aside = data_dir / f"replaced-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
    aside.mkdir(mode=0o700)
    for path in present:
        path.replace(aside / path.name)
    return aside


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
