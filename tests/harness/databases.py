"""Databases of a running Glassline, read from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """Open a database read-only; somebody who writes is waited for."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(5000)
        yield connection
    finally:
        connection.close()
