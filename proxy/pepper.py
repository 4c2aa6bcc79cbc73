"""The pepper: 32 random bytes that turn keys into digests nobody can guess from a stolen database.

Whoever needs it first creates it: a gateway, admin or the command line. The file appears whole or not at all, so two
processes that start together agree on one value. Losing it invalidates every key that was created at run time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from proxy.errors import EnvironmentUnusable

PEPPER_BYTES: Final = 32
"""The block that HMAC-SHA256 mixes in whole; longer would be hashed down to this."""


def load_pepper(data_dir: Path) -> bytes:
    """Return the pepper of `data_dir`, creating it when it is not there. Raises EnvironmentUnusable."""
    path = data_dir / "pepper"
    try:
        if not path.exists():
            _create(path)
        pepper = path.read_bytes()
    except OSError as error:
        raise EnvironmentUnusable(f"{path}: {error.strerror}") from error
    if len(pepper) != PEPPER_BYTES:
        raise EnvironmentUnusable(
            f"{path}: holds {len(pepper)} bytes instead of {PEPPER_BYTES}: restore it from a backup"
        )
    return pepper


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".pepper-{secrets.token_hex(8)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, secrets.token_bytes(PEPPER_BYTES))
        os.fsync(file)
    finally:
        os.close(file)
    # link, unlike rename, never replaces: the first process wins and the others read what it wrote.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
