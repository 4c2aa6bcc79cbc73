"""The one way to open an SQLite file: private, keyed when the data directory is encrypted, refusing what does not fit.

One copy of SQLite serves the whole process, readers of the event loop included. That matters: POSIX drops a process's
locks on a file when any descriptor of that file is closed, and two copies would not know of each other's locks. For the
same reason nothing here opens a database file by other means while it may be in use.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import apsw

from proxy.encryption import Vault, vault
from proxy.errors import StoreError
from proxy.secrets import Secret

if TYPE_CHECKING:
    import aiosqlite

Access = Literal["read", "write"]
CIPHER: Final = "chacha20"
"""SQLite3 Multiple Ciphers' name for ChaCha20-Poly1305 with a random nonce for each page."""
_CURRENT: Final = Secret(b"the key in use")


def open_database(path: Path, access: Access, *, busy_ms: int = 1000, key: Secret | None = _CURRENT) -> apsw.Connection:
    """Open the database at `path`; to write is to create it, too. Raises StoreError.

    `busy_ms`: how long a statement waits for another process's lock. `key`: None opens a database that is not
    encrypted; without it, the key that this process works with is used, or none.
    """
    secret = _current_key() if key is _CURRENT else key
    try:
        if access == "write":
            _create_private(path)
        flags = apsw.SQLITE_OPEN_READONLY if access == "read" else apsw.SQLITE_OPEN_READWRITE
        # An absolute path is never taken for an address; VACUUM INTO needs one.
        connection = apsw.Connection(str(path.absolute()), flags=flags | apsw.SQLITE_OPEN_URI)
    except (apsw.Error, OSError) as error:
        raise StoreError(f"{path.name}: {_reason(error)}") from error
    try:
        connection.set_busy_timeout(busy_ms)
        _unlock(connection, path, secret)
        connection.pragma("temp_store", 2)  # what a large sort spills must not lie on the disk in clear
    except apsw.Error as error:
        connection.close()
        raise StoreError(f"{path.name}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


async def open_database_async(path: Path, access: Access, *, busy_ms: int = 1000) -> aiosqlite.Connection:
    """Open the database in a thread of its own, which runs its statements. Raises StoreError.

    What aiosqlite calls of a connection, those of apsw have, too: `execute`, `fetchall`, `set_progress_handler`,
    `interrupt`, `close`. Its errors are those of apsw.
    """
    import aiosqlite  # two of the five processes ask like this

    def connect() -> sqlite3.Connection:
        return cast("sqlite3.Connection", open_database(path, access, busy_ms=busy_ms))

    return await aiosqlite.Connection(connect, iter_chunk_size=64)


def open_copy(path: Path, origin: apsw.Connection) -> apsw.Connection:
    """Create the database at `path`, into which `origin` can be copied page by page. Raises StoreError."""
    copy = open_database(path, "write")
    copy.pragma("page_size", origin.pragma("page_size"))  # pages that are encrypted cannot change their size
    return copy


def vacuum_into(connection: apsw.Connection, target: Path, keys: Vault | None) -> None:
    """Write all of a database to a new file, encrypted with `keys` or plain; one instant, whole. Raises StoreError."""
    failure = _vacuum_into(connection, target, keys)
    if failure:
        raise StoreError(f"{target.name}: cannot be written: {failure}")


def _vacuum_into(connection: apsw.Connection, target: Path, keys: Vault | None) -> str:
    """Return what went wrong; empty: nothing. No error leaves: its text and its frames hold the key."""
    key = f"cipher={CIPHER}&hexkey={_hex_key(keys.database_key)}" if keys is not None else "key="
    try:
        connection.execute("VACUUM INTO ?", (f"{target.resolve().as_uri()}?{key}",))
    except apsw.Error as error:
        return type(error).__name__
    return ""


def _current_key() -> Secret | None:
    keys = vault()
    return keys.database_key if keys is not None else None


def _create_private(path: Path) -> None:
    """Let the file exist, readable by the owner alone, before SQLite does: its other files copy that."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _unlock(connection: apsw.Connection, path: Path, secret: Secret | None) -> None:
    if secret is None:
        return
    failure = ""
    try:
        connection.pragma("cipher", CIPHER)
        connection.pragma("hexkey", _hex_key(secret))
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    except apsw.NotADBError:
        failure = "is not encrypted, is damaged, or was encrypted with another key"
    except apsw.Error as error:
        failure = str(error)
    if failure:  # outside of the handler: the error that ends here has the key in its frames
        raise StoreError(f"{path.name}: {failure}")


def _hex_key(secret: Secret) -> str:
    """Return the key as SQLite's cipher takes it: `raw:`, so that it is not stretched again at every opening."""
    return (b"raw:" + secret.reveal().hex().encode()).hex()


def _reason(error: apsw.Error | OSError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
