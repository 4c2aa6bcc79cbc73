"""A large store of an earlier version brought to this one: how long that takes, through a kill, and never back."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from proxy.store.row import EXCHANGE_COLUMNS, exchange_row
from tests.harness.process import ROOT, clean_environment
from tests.recorder.builders import make_begin, make_end, make_record
from tests.store.versions import at_version, newest_of

DATABASE: Final = "records.db"
EXIT_REFUSED: Final = 78
_RESPONSE: Final = b'{"said":"%b"}' % random.Random(1).randbytes(500).hex().encode()
_NUMBERS: Final = "WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < ?)"
_FIRST_MS: Final = 1_780_000_000_000


def upgrade_stores(directory: Path, versions: Sequence[int], rows: int, seed: int) -> list[dict[str, Any]]:
    """Bring a store of each version to this one, at once and through a kill, and try to go back; return what was seen.

    The moments of the kills are spread over the time that an upgrade takes.
    """
    chance, found = random.Random(seed), []
    for nth, version in enumerate(versions):
        place = directory / f"version-{version}"
        found.append(_upgrade(place, version, rows, (nth + chance.random()) / len(versions)))
        shutil.rmtree(place)
    return found


def fill(database: Path, rows: int) -> None:
    """Put so many requests with their bodies into a database of whatever version."""
    record = make_record(make_begin(session="old"), make_end(_RESPONSE), response=_RESPONSE)
    bodies = [
        (side, "[]", body.size, body.sha256, "raw", body.head, body.size, None, "")
        for side, body in enumerate((record.request, record.response))
    ]
    connection = apsw.Connection(str(database))
    try:
        connection.pragma("journal_mode", "off")
        connection.pragma("synchronous", 0)
        connection.pragma("cache_size", -400_000)
        known = _columns(connection, "exchanges")
        row = {name: value for name, value in zip(EXCHANGE_COLUMNS, exchange_row(record), strict=True) if name in known}
        row |= {"id": "", "started_at": 0, "user": ""}
        with connection:
            connection.execute(
                f"{_NUMBERS} INSERT INTO exchanges ({', '.join(row)}) SELECT {', '.join(map(_expression, row))} FROM numbers",  # noqa: S608 - ours
                (rows, *(value for name, value in row.items() if _expression(name) == "?")),
            )
            whole = "whole_bodies" if _columns(connection, "whole_bodies") else "bodies"
            for body in bodies:
                kept = body[: len(_columns(connection, whole)) - 1]
                connection.execute(
                    f"INSERT INTO {whole} SELECT seq, {', '.join('?' * len(kept))} FROM exchanges",  # noqa: S608 - ours
                    kept,
                )
        connection.pragma("journal_mode", "wal")
    finally:
        connection.close()


def _upgrade(place: Path, version: int, rows: int, moment: float) -> dict[str, Any]:
    once, killed = place / "once", place / "killed"
    once.mkdir(parents=True)
    at_version(once / DATABASE, version)
    fill(once / DATABASE, rows)
    shutil.copytree(once, killed)
    full_bytes = (once / DATABASE).stat().st_size
    seconds = _migrate(once)
    is_right = _is_right(once, version, rows)
    is_refused = _is_refused(once)
    shutil.rmtree(once)
    reached = _kill(killed, seconds * moment)
    resumed_s = _migrate(killed)
    return {
        "version": version,
        "rows": rows,
        "mb": full_bytes / 2**20,
        "seconds": seconds,
        "killed_after_s": seconds * moment,
        "killed_at_version": reached,
        "resumed_s": resumed_s,
        "is_right": is_right and _is_right(killed, version, rows),
        "downgrade_is_refused": is_refused,
    }


def _migrate(data_dir: Path) -> float:
    began = time.monotonic()
    done = _run(data_dir)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def _run(data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(data_dir), env=clean_environment(), cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )


def _command(data_dir: Path) -> list[str]:
    return [sys.executable, "-m", "proxy", "migrate", "--data-dir", str(data_dir)]


def _kill(data_dir: Path, after_s: float) -> int:
    """Begin an upgrade and kill it; return which version the database has then."""
    with subprocess.Popen(_command(data_dir), env=clean_environment(), cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        time.sleep(after_s)
        running.send_signal(signal.SIGKILL)
    assert running.returncode in (0, -signal.SIGKILL)
    return _number(data_dir / DATABASE, "SELECT max(number) FROM migrations")


def _is_right(data_dir: Path, version: int, rows: int) -> bool:
    """Say whether everything is there, in this version, and a copy of how it was."""
    database = data_dir / DATABASE
    newest = _number(database, "SELECT max(number) FROM migrations")
    found = _number(database, "SELECT count(*) FROM requests")
    return (
        (newest, found) == (newest_of(DATABASE), rows) and _is_intact(database) and _has_copy(data_dir, version, rows)
    )


def _has_copy(data_dir: Path, version: int, rows: int) -> bool:
    """Say whether there is a copy of the database as it was, all of it."""
    scratch = data_dir / "copied"
    for archive in (data_dir / "backups").glob("*.tar"):
        with tarfile.open(archive) as tar:
            tar.extract(DATABASE, scratch, filter="data")
        copy = scratch / DATABASE
        is_it = _number(copy, "SELECT max(number) FROM migrations") == version
        is_it = is_it and _number(copy, "SELECT count(*) FROM exchanges") == rows and _is_intact(copy)
        shutil.rmtree(scratch)
        if is_it:
            return True
    return False


def _is_refused(data_dir: Path) -> bool:
    """Say whether a database that a newer version wrote is refused and stays as it is, byte for byte."""
    database = data_dir / DATABASE
    connection = apsw.Connection(str(database))
    connection.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
    connection.pragma("journal_mode", "delete")
    connection.close()
    before = _digest(database)
    done = _run(data_dir)
    return done.returncode == EXIT_REFUSED and "newer Glassline" in done.stderr and _digest(database) == before


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_intact(database: Path) -> bool:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return bool(connection.pragma("integrity_check") == "ok")
    finally:
        connection.close()


def _number(database: Path, sql: str) -> int:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(str(connection.execute(sql).get))
    finally:
        connection.close()


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def _expression(column: str) -> str:
    """Return what fills a column of the request of that number."""
    own = {
        "id": "printf('old-%09d', value)",
        "started_at": f"{_FIRST_MS} + value",
        "user": "'user-' || (value % 5000)",
    }
    return own.get(column, "?")
