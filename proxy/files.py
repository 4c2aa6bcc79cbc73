"""Small files that appear whole or not at all, private, and still there after a power cut."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from proxy.disk import sync_directory


def write_whole(path: Path, content: bytes, *, replaces: bool = True) -> None:
    """Put `content` at `path`, readable by the owner alone; readers see the old file or the new one.

    Without `replaces`, the first of several writers wins and the others get FileExistsError. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replaces:
            draft.replace(path)
        else:
            os.link(draft, path)  # unlike rename, never replaces
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)
