"""Backups that Glassline made: where they are, and how something is taken out of them again.

What the program wrote into the data directory is found there. A backup that was written elsewhere is remembered by its
path in `backups.json`, so that a deletion can reach it or say that it could not.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import msgspec

from proxy.databases import open_database
from proxy.encryption import read_file, sealed
from proxy.errors import GlasslineError, StoreError
from proxy.files import write_whole
from proxy.store.deletion import Names, Selection, erase_copy, spilling_into

MANIFEST: Final = "backups.json"
"""Name of the file, and what it is encrypted for."""
_RECORDS: Final = "records.db"
_MOST: Final = 1000
"""Paths that are remembered."""


def remember_backup(data_dir: Path, path: Path) -> None:
    """Note that a backup was written to `path`."""
    known = [*(each for each in _remembered(data_dir) if each != path.resolve()), path.resolve()]
    content = msgspec.json.encode([os.fspath(each) for each in known[-_MOST:]])
    write_whole(data_dir / MANIFEST, sealed(content, MANIFEST))


def known_backups(data_dir: Path) -> list[Path]:
    """Return the backups and copies of the records that this program made, whether they are still there or not."""
    found = {*_remembered(data_dir), *_copies_below(data_dir)}
    return sorted(found)


def erase_backup(path: Path, selection: Selection, names: Names) -> int:
    """Take a selection out of a backup; return how many requests it was about.

    Raises StoreError or OSError: the backup is as it was.
    """
    if not tarfile.is_tarfile(path):
        return _erase_database(path, selection, names)
    prefix = f".glassline-prune-{path.name}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left)  # of a process that died: a copy of everything
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as scratch:
        copy = Path(scratch) / _RECORDS
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive.getmembers()}
            if _RECORDS not in members:
                return 0
            _extract(archive, members[_RECORDS], copy)
            count = _erase_database(copy, selection, names)
            if count:
                _replace(path, archive, Path(scratch), copy)
    return count


def _replace(path: Path, archive: tarfile.TarFile, scratch: Path, copy: Path) -> None:
    """Write the archive anew with another copy of the records in it, whole or not at all."""
    draft = scratch / "backup.tar"
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w") as target:
            for member in archive.getmembers():
                if member.name == _RECORDS:
                    target.add(copy, arcname=_RECORDS)
                elif member.isfile():
                    target.addfile(member, archive.extractfile(member))
                else:
                    target.addfile(member)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise StoreError(f"{member.name}: is no file")
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with source, os.fdopen(descriptor, "wb") as stream:
        while piece := source.read(1 << 20):
            stream.write(piece)


def _erase_database(path: Path, selection: Selection, names: Names) -> int:
    try:
        connection = open_database(path, "write", busy_ms=1000)
    except apsw.Error as error:
        raise StoreError(f"{path.name}: {error}") from error
    try:
        with spilling_into(os.fspath(path.parent)):
            return erase_copy(connection, selection, names)
    finally:
        connection.close()


def _remembered(data_dir: Path) -> list[Path]:
    with contextlib.suppress(OSError, GlasslineError, msgspec.MsgspecError):
        return [Path(text) for text in msgspec.json.decode(read_file(data_dir / MANIFEST, MANIFEST), type=list[str])]
    return []


def _copies_below(data_dir: Path) -> Iterator[Path]:
    """Yield archives, and copies of the records under another name or in another folder than the one in use."""
    for path in data_dir.rglob("*"):
        is_copy = path.name.startswith(_RECORDS) and not path.name.endswith(("-wal", "-shm", "-journal"))
        if path.is_file() and (path.suffix == ".tar" or (is_copy and path != data_dir / _RECORDS)):
            yield path.resolve()
