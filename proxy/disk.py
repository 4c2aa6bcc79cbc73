"""What has to be asked of a file system beyond reading and writing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from proxy.errors import EnvironmentUnusable

RESERVE_BYTES: Final = 16 * 1024 * 1024
LOW_BYTES: Final = 1_000_000_000
"""About an hour of a busy gateway with bodies."""
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.glusterfs", "ceph"})


def sync_directory(directory: Path) -> None:
    """Make new, renamed and deleted names in `directory` survive a loss of power; syncing a file does not.

    Raises OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another that takes its name; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_file_system(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise EnvironmentUnusable when `directory` is on a network file system: locks and syncs mean little there."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    kind = _file_system_of(str(directory.resolve()), lines)
    if kind in _NETWORK:
        raise EnvironmentUnusable(f"data directory {directory}: {kind} is a network file system, use a local disk")


def _file_system_of(path: str, lines: list[str]) -> str:
    """Return the type of the file system that holds `path`, see proc_pid_mountinfo(5)."""
    best, kind = "", ""
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = mount.split(" ")[4].replace("\\040", " ")
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):
            best, kind = point, source.split(" ")[0]
    return kind


def is_nearly_full(directory: Path) -> bool:
    """Say whether less than the reserve is free: 16 MB, or a twentieth of a small disk."""
    return free_bytes(directory) < reserve_bytes(directory)


def is_running_low(directory: Path) -> bool:
    """Say whether little is left before the disk counts as full: less than 1 GB, or a tenth of a small disk."""
    return free_bytes(directory) < _at_most_a_share(directory, LOW_BYTES, 10)


def free_bytes(directory: Path) -> int:
    """Return how much can still be written; a disk that cannot be asked is not called full."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return sys.maxsize
    return found.f_bavail * found.f_frsize


def reserve_bytes(directory: Path) -> int:
    """Return how much of the disk is kept free for what must be written when it is full."""
    return _at_most_a_share(directory, RESERVE_BYTES, 20)


def _at_most_a_share(directory: Path, size_bytes: int, share: int) -> int:
    """Return `size_bytes`, or one part in `share` of a disk that is small; 0 for one that cannot be asked."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return min(size_bytes, found.f_blocks * found.f_frsize // share)


class Headroom:
    """A file that only takes up room, to be given up when the disk is full and money has to be written down."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> bool:
        """Take up the room, if there is four times as much; say whether the file is there now."""
        if self._path.exists():
            return True
        size = reserve_bytes(self._path.parent)
        if free_bytes(self._path.parent) < 4 * size:
            return False
        try:
            file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, size)
            finally:
                os.close(file)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def give_up(self) -> bool:
        """Free the room; say whether there was any to free."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
