"""A deletion in a backup that is killed half-way: whoever goes on finishes it, and nothing is left in any byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from proxy.databases import open_database
from proxy.store import SqliteStore
from proxy.store.backups import erase_backup
from proxy.store.deletion import Names, Selection
from tests.recorder.builders import START_MS, make_begin, make_end, make_record

ALICE = Selection(user="CANARY")
NAMES = Names(("CANARY",))
ERASE = """
import os, sys
from pathlib import Path
from proxy import failpoints
from proxy.store.backups import erase_backup
from proxy.store.deletion import Names, Selection
failpoints.arm(os.environ)
erase_backup(Path(sys.argv[1]), Selection(user="CANARY"), Names(("CANARY",)))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of records, in which rows were moved between pages."""
    store = SqliteStore(tmp_path / "records.db")
    for number in range(1500):
        whose = "CANARY" if number % 3 else f"user{number}"
        text = b'{"n":%d,"said":"%b"}' % (number, whose.encode())
        fields = {"id": f"{number * 7919 % 1501:09d}", "started_at_ms": START_MS + number, "user": whose}
        begin = make_begin(**fields, session=f"{number * 7919 % 1501:04d}{whose}")
        store.write([make_record(begin, make_end(text, text), request=text, response=text)], {})
    store.checkpoint(at_pages=1)
    store.close()
    return (tmp_path / "records.db").rename(tmp_path / "records.db.before")


def kill_at(point: str, path: Path) -> None:
    environment = os.environ | {"GLASSLINE_FAILPOINTS": f"{point}:kill"}
    done = subprocess.run([sys.executable, "-c", ERASE, path], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def holds(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = open_database(path, "read")
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


def test_who_goes_on_after_a_kill_overwrites_what_the_commit_left(copy: Path) -> None:
    kill_at("deletion.before_vacuum", copy)
    assert rows(copy, "SELECT count(*) FROM exchanges WHERE user = 'CANARY'") == [(0,)]
    assert holds(copy.parent), "nothing was left to overwrite: the test shows nothing"
    assert erase_backup(copy, ALICE, NAMES) == 0
    assert holds(copy.parent) == []
    assert rows(copy, "SELECT name FROM sqlite_schema WHERE name = 'unswept'") == []
    assert rows(copy, "SELECT count(*) FROM exchanges WHERE user LIKE 'user%'") == [(500,)]


def test_a_deletion_about_somebody_else_finishes_it_as_well(copy: Path) -> None:
    kill_at("deletion.before_vacuum", copy)
    erase_backup(copy, Selection(user="nobody"), Names(("nobody",)))
    assert holds(copy.parent) == []


def test_an_archive_is_as_it_was_after_a_kill_and_nothing_lies_beside_it_when_it_is_done(copy: Path) -> None:
    folder = copy.parent / "backups"
    folder.mkdir()
    archive = folder / "monday.tar"
    with tarfile.open(archive, "w") as target:
        target.add(copy, arcname="records.db")
    copy.unlink()
    before = archive.read_bytes()
    kill_at("deletion.before_vacuum", archive)
    assert archive.read_bytes() == before
    assert len(list(folder.iterdir())) == 2
    assert erase_backup(archive, ALICE, NAMES) == 1000
    assert [path.name for path in folder.iterdir()] == ["monday.tar"]
    assert holds(folder) == []
