"""`glassline encryption new-key FILE`, and what `glassline migrate --encrypt` and `--decrypt` do.

The change is made file by file while nothing runs: a whole new file beside the old one, looked through, then put in its
place. `encryption.json` says meanwhile that the directory is neither one nor the other, so `serve` refuses it and the
same command goes on where a crash ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import apsw

from proxy import failpoints
from proxy.cli.settings import load_settings
from proxy.cli.table import Screen
from proxy.databases import open_database, vacuum_into
from proxy.disk import sync_directory
from proxy.encryption import (
    KEY_BYTES,
    MARKER,
    Vault,
    create_marker,
    is_plain_database,
    is_sealed,
    open_vault,
    read_key,
    read_marker,
    require_marker_unneeded,
    set_state,
    unlock,
)
from proxy.errors import EnvironmentUnusable, StoreError
from proxy.failpoints import failpoint
from proxy.files import write_whole
from proxy.gates.keys import SNAPSHOT_PURPOSE
from proxy.journal.quarantine import PURPOSE as QUARANTINE_PURPOSE
from proxy.locks import take_lock
from proxy.pepper import PURPOSE as PEPPER_PURPOSE
from proxy.recorder.jobs import FOLDER as JOBS
from proxy.store.backups import MANIFEST

DATABASES: Final = ("ledger.db", "records.db", "app.db")
LOCKS: Final = ("lock", "recorder.lock", "run/app.lock", "ledger.lock")
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


def run(arguments: argparse.Namespace) -> int:
    """Make a key."""
    path = Path(arguments.file)
    try:
        write_whole(path, secrets.token_hex(KEY_BYTES).encode() + b"\n", replaces=False)
    except FileExistsError:
        raise EnvironmentUnusable(f"{path}: is there already, and is never replaced") from None
    except OSError as error:
        raise EnvironmentUnusable(f"{path}: {error.strerror}") from error
    Screen().line(f"{path}: a new key; without it nothing can be read: keep a copy elsewhere")
    return 0


def change(arguments: argparse.Namespace, *, encrypts: bool) -> int:
    """Encrypt or decrypt the data directory. Raises ConfigError, EnvironmentUnusable, StoreError."""
    failpoints.arm(os.environ)
    config = load_settings(arguments)
    key_file, data_dir, screen = config.encryption.key_file, config.data_dir, Screen()
    if key_file is None:
        raise EnvironmentUnusable("`encryption.key_file` is not set: it names the key")
    if not data_dir.is_dir():
        raise EnvironmentUnusable(f"{data_dir}: no data directory yet: `glassline serve` makes it")
    with _alone(data_dir):
        if (keys := _begin(data_dir, key_file, encrypts=encrypts)) is None:
            screen.line(f"{data_dir}: {'encrypted' if encrypts else 'not encrypted'} already")
            return 0
        _require_folded(data_dir)
        for path in _change_all(data_dir, keys, encrypts=encrypts):
            screen.line(f"{path}: {'encrypted' if encrypts else 'decrypted'}")
        _finish(data_dir, key_file, encrypts=encrypts)
        for backup in sorted((*data_dir.glob("*.tar"), *data_dir.glob("backups/**/*.tar"))):
            screen.line(f"{backup}: an older backup, stays as it was made")
    return 0


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    with ExitStack() as held:
        for name in LOCKS:
            path = data_dir / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            lock = take_lock(path)
            if lock is None:
                raise EnvironmentUnusable(f"{data_dir}: is in use: stop Glassline first")
            held.callback(os.close, lock)
        yield


def _begin(data_dir: Path, key_file: Path, *, encrypts: bool) -> Vault | None:
    """Return the keys to change the directory with; None: it is as it should be."""
    state, other = ("encrypting", "decrypting") if encrypts else ("decrypting", "encrypting")
    marker, secret = read_marker(data_dir), read_key(key_file)
    if marker is None:
        if not encrypts:
            return None
        require_marker_unneeded(data_dir)
        marker = create_marker(data_dir, secret, "encrypting")
    keys = open_vault(data_dir, secret, marker)
    if marker["state"] == other:
        raise EnvironmentUnusable(f"{data_dir}: {other} was begun: finish that first")
    if encrypts and marker["state"] == "whole":
        return None
    if marker["state"] != state:
        set_state(data_dir, marker, "decrypting")
    return keys


def _require_folded(data_dir: Path) -> None:
    if left := next((data_dir / "journal").glob("*.journal"), None):
        raise EnvironmentUnusable(
            f"{left}: holds records that are not in the database yet: start Glassline as the directory was before,"
            " and stop it, then try again"
        )


def _change_all(data_dir: Path, keys: Vault, *, encrypts: bool) -> Iterator[Path]:
    for name in DATABASES:
        path = data_dir / name
        if path.exists() and path.stat().st_size and is_plain_database(path) == encrypts:
            failpoint("encryption.before_database")
            _change_database(path, keys, encrypts=encrypts)
            yield path
    for path, purpose in _single_files(data_dir):
        content = path.read_bytes()
        if is_sealed(content) != encrypts:
            write_whole(path, keys.seal(content, purpose) if encrypts else keys.unseal(content, purpose))
            yield path


def _single_files(data_dir: Path) -> list[tuple[Path, str]]:
    found = [
        (data_dir / "pepper", PEPPER_PURPOSE),
        (data_dir / "run" / "keys.json", SNAPSHOT_PURPOSE),
        (data_dir / MANIFEST, MANIFEST),
        *((path, JOBS) for path in sorted((data_dir / JOBS).glob("*"))),
        *((path, QUARANTINE_PURPOSE) for path in sorted((data_dir / "journal" / "bad").glob("*"))),
    ]
    return [(path, purpose) for path, purpose in found if path.is_file()]


def _change_database(path: Path, keys: Vault, *, encrypts: bool) -> None:
    before, after = (None, keys.database_key) if encrypts else (keys.database_key, None)
    draft = path.with_name(f".{path.name}.changing")
    _remove(draft)
    with closing(open_database(path, "write", busy_ms=5000, key=before)) as database:
        vacuum_into(database, draft, keys if encrypts else None)
        tables = _table_sizes(database)
        database.pragma("journal_mode", "delete")  # the log is written back and deleted
    with closing(open_database(draft, "read", key=after)) as changed:
        if changed.pragma("integrity_check") != "ok" or _table_sizes(changed) != tables:
            raise StoreError(f"{path}: its copy is damaged, nothing was changed")
    failpoint("encryption.before_replace")
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_directory(path.parent)


def _table_sizes(database: apsw.Connection) -> list[tuple[str, int]]:
    names = [
        str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
    ]
    counts = (database.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in names)  # noqa: S608 (names of our own tables)
    return [(name, int(str(count))) for name, count in zip(names, counts, strict=True)]


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _finish(data_dir: Path, key_file: Path, *, encrypts: bool) -> None:
    if encrypts:
        set_state(data_dir, read_marker(data_dir) or {}, "whole")
        unlock(data_dir, key_file)
    else:
        (data_dir / MARKER).unlink()
        sync_directory(data_dir)
        unlock(data_dir, None)
