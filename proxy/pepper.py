"""The pepper: 32 random bytes that turn keys into digests nobody can guess from a stolen database.

Whoever needs it first creates it: a gateway, admin or the command line. The file appears whole or not at all, so two
processes that start together agree on one value. Losing it invalidates every key that was created at run time.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Final

from proxy.encryption import read_file, sealed
from proxy.errors import EnvironmentUnusable
from proxy.files import write_whole
from proxy.secrets import Secret

PEPPER_BYTES: Final = 32
"""The block that HMAC-SHA256 mixes in whole; longer would be hashed down to this."""
PURPOSE: Final = "pepper"


def load_pepper(data_dir: Path) -> Secret:
    """Return the pepper of `data_dir`, creating it when it is not there. Raises EnvironmentUnusable."""
    path = data_dir / "pepper"
    try:
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                write_whole(path, sealed(secrets.token_bytes(PEPPER_BYTES), PURPOSE), replaces=False)
        pepper = read_file(path, PURPOSE)
    except OSError as error:
        raise EnvironmentUnusable(f"{path}: {error.strerror}") from error
    if len(pepper) != PEPPER_BYTES:
        raise EnvironmentUnusable(
            f"{path}: holds {len(pepper)} bytes instead of {PEPPER_BYTES}: restore it from a backup"
        )
    return Secret(pepper)
