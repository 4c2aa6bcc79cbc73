"""A UNIX socket at a path of any length, which only its owner can open."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy.errors import EnvironmentUnusable

SOCKET_NAME: Final = "admin.sock"
"""In `run/` of the data directory: where the command line finds the admin process."""
MAX_ADDRESS_BYTES: Final = 100
"""Linux takes 107, macOS 103; data directories are often deeper than that."""


def listen_unix(path: Path) -> socket.socket:
    """Return a listening socket at `path`, replacing what a dead process left there. Raises EnvironmentUnusable.

    The caller must know that no living process listens there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            # Made for nobody and opened to the owner only when it is complete: there is no instant at which
            # another user could connect.
            before = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(before)
        listener.listen(64)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise EnvironmentUnusable(f"{path}: {error.strerror or error}") from error
    return listener


@contextlib.contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """Yield an address of `path` that fits into a socket address; it holds while the context is open."""
    whole = str(path.absolute())
    if len(os.fsencode(whole)) <= MAX_ADDRESS_BYTES:
        yield whole
        return
    if not Path("/proc/self/fd").is_dir():
        raise EnvironmentUnusable(f"{path}: the path is too long for a UNIX socket: choose a shorter data directory")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
