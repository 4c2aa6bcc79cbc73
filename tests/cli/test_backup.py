from __future__ import annotations

import os
import signal
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from proxy.archive import copy_database
from proxy.cli import main
from proxy.errors import StoreError
from tests.conftest import StartGlassline
from tests.harness.client import exchange, post
from tests.harness.upstream import ScriptedUpstream


def make_database(path: Path) -> apsw.Connection:
    database = apsw.Connection(str(path))
    database.pragma("journal_mode", "wal")
    database.execute("CREATE TABLE accounts (side TEXT PRIMARY KEY, amount INTEGER)")
    database.execute("INSERT INTO accounts VALUES ('left', 500), ('right', 500)")
    database.execute("CREATE TABLE ballast (bytes BLOB)")
    database.executemany("INSERT INTO ballast VALUES (randomblob(4000))", [()] * 3000)
    return database


def test_a_backup_under_writes_is_one_instant_and_ends(tmp_path: Path) -> None:
    writer = make_database(tmp_path / "ledger.db")
    stop, moved = threading.Event(), 0

    def keep_moving() -> None:
        nonlocal moved
        while not stop.is_set():
            writer.execute("BEGIN; UPDATE accounts SET amount = amount - 1 WHERE side = 'left'")
            writer.execute("UPDATE accounts SET amount = amount + 1 WHERE side = 'right'; COMMIT")
            moved += 1

    thread = threading.Thread(target=keep_moving)
    thread.start()
    try:
        for copy in range(3):
            copy_database(tmp_path / "ledger.db", tmp_path / f"copy-{copy}.db")
    finally:
        stop.set()
        thread.join()
        writer.close()
    assert moved > 10
    for copy in range(3):
        database = apsw.Connection(str(tmp_path / f"copy-{copy}.db"))
        assert database.execute("SELECT sum(amount), count(*) FROM accounts").fetchone() == (1000, 2)
        assert database.execute("SELECT count(*) FROM ballast").fetchone() == (3000,)
        database.close()


def test_the_archive_holds_the_ledger_first_and_only_its_owner_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    for name in ("records.db", "ledger.db", "app.db"):
        make_database(data_dir / name).close()
    (data_dir / "pepper").write_bytes(b"p" * 32)
    target = tmp_path / "backup.tar"
    assert main(["backup", "--data-dir", str(data_dir), str(target)]) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["ledger.db", "records.db", "app.db", "pepper"]
        records = tar.extractfile("records.db")
        assert records is not None
        (tmp_path / "restored.db").write_bytes(records.read())
    restored = apsw.Connection(str(tmp_path / "restored.db"))
    assert restored.execute("SELECT sum(amount) FROM accounts").fetchone() == (1000,)
    restored.close()
    assert "ledger.db  12." in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data", "restored.db"]


def test_a_damaged_database_is_reported_and_no_archive_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "records.db").write_bytes(b"this is no database" * 1000)
    assert main(["backup", "--data-dir", str(data_dir), str(tmp_path / "backup.tar")]) == 1
    assert "records.db" in capsys.readouterr().err
    assert not (tmp_path / "backup.tar").exists()
    with pytest.raises(StoreError):
        copy_database(data_dir / "records.db", tmp_path / "copy.db")


def test_nothing_to_back_up_is_an_unusable_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "--data-dir", str(tmp_path / "nowhere"), str(tmp_path / "b.tar")]) == 78
    assert capsys.readouterr().err.count("\n") == 1


def test_what_was_answered_before_a_backup_is_in_it_or_missed_aloud(
    start_glassline: StartGlassline, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        [recorder] = glassline.pids_of("recorder")
        command = ["backup", "--data-dir", str(glassline.data_dir), str(tmp_path / "backup.tar")]

        def back_up(session: str, pause_s: float) -> tuple[bool, str]:
            """Ask while the recorder is stopped, let it go on after a while, and say whether the copy has the row."""
            os.kill(recorder, signal.SIGSTOP)
            going_on = threading.Timer(pause_s, os.kill, (recorder, signal.SIGCONT))
            try:
                request = post("/v1/chat/completions", b"{}", headers=(f"x-glassline-session: {session}",))
                assert exchange(glassline.port, request).status == 200
                going_on.start()
                assert main(command) == 0
            finally:
                going_on.join()
            with tarfile.open(tmp_path / "backup.tar") as tar:
                tar.extract("records.db", tmp_path, filter="data")
            with closing(apsw.Connection(str(tmp_path / "records.db"))) as copy:
                rows = copy.execute("SELECT 1 FROM requests WHERE session = ?", (session,)).fetchall()
            return bool(rows), capsys.readouterr().err

        assert back_up("waited-for", 1.0) == (True, "")
        has_row, said = back_up("too-late", 7.0)
        assert not has_row
        assert "of the journal are not recorded yet" in said
