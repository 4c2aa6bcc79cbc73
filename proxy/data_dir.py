"""The data directory: whose it is, and that nobody else can put anything into it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from proxy.disk import Headroom, check_file_system, is_nearly_full
from proxy.errors import EnvironmentUnusable
from proxy.locks import take_lock

LOCK: Final = "lock"
"""Whoever serves a data directory, or puts another in its place, holds it."""
FOLDERS: Final = ("run", "journal")
_DYING_S: Final = 2.0
"""How long a Glassline that was killed may go on holding it: what it has under way at the disk comes to its end first."""


def take_data_dir(path: Path) -> int:
    """Make the directory and take its lock, for as long as the descriptor is open. Raises EnvironmentUnusable."""
    make_data_dir(path)
    check_file_system(path)
    patience = time.monotonic() + _DYING_S
    try:
        while (lock := take_lock(path / LOCK)) is None and time.monotonic() < patience:
            time.sleep(0.02)
    except OSError as error:
        raise EnvironmentUnusable(f"data directory {path}: {error.strerror}") from error
    if lock is None:
        raise EnvironmentUnusable(f"data directory {path}: another Glassline uses it")
    headroom = Headroom(path / "run" / "headroom")
    if is_nearly_full(path):
        headroom.give_up()  # Databases cannot be opened without room for their logs; the recorder takes it again.
    else:
        headroom.take()
    return lock


def make_data_dir(path: Path) -> None:
    """Make the directory and its folders, open to their owner alone. Raises EnvironmentUnusable.

    A symbolic link is refused, since whoever can turn it decides where prompts go; so is a directory that others can
    write, since they may have put links into it.
    """
    os.umask(0o077)
    for folder in (path, *(path / name for name in FOLDERS)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            _require_own(folder, status)
            if status.st_mode & 0o077:
                folder.chmod(0o700)
        except OSError as error:
            raise EnvironmentUnusable(f"data directory {folder}: {error.strerror}") from error


def _require_own(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise EnvironmentUnusable(f"data directory {path}: is a symbolic link: name the directory itself")
    if status.st_mode & stat.S_IWOTH:
        raise EnvironmentUnusable(f"data directory {path}: others can write to it: chmod 700 {path}")
    if status.st_uid != os.geteuid():
        raise EnvironmentUnusable(
            f"data directory {path}: belongs to user {status.st_uid}, Glassline runs as user {os.geteuid()}"
        )
