from __future__ import annotations

import tarfile
from importlib.resources import files
from pathlib import Path

import apsw
import pytest

from proxy.cli import main
from proxy.migrations import migration_files
from tests.store.versions import at_version, dump, newest_of

Capture = pytest.CaptureFixture[str]


def test_a_database_of_this_version_is_left_alone(recorded: Path, capsys: Capture) -> None:
    assert main(["migrate", "--data-dir", str(recorded)]) == 0
    newest = max(migration_files(files("proxy.store") / "migrations"))
    assert capsys.readouterr().out.splitlines() == [f"records.db: version {newest}, nothing to do"]
    assert not list(recorded.glob("*.tar"))


def test_what_is_missing_is_applied_after_a_backup(tmp_path: Path, capsys: Capture) -> None:
    old = at_version(tmp_path / "app.db", 1)
    assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("backup: ")
    newest = newest_of("app.db")
    assert lines[1] == f"app.db: version {newest}, applied " + ", ".join(map(str, range(2, newest + 1)))
    [backup] = (tmp_path / "backups").glob("before-app1-*.tar")
    with tarfile.open(backup) as tar:
        kept = tar.extractfile("app.db")
        assert kept is not None
        (tmp_path / "kept.db").write_bytes(kept.read())
    assert dump(tmp_path / "kept.db") == old


def test_a_newer_database_is_refused_untouched(recorded: Path, capsys: Capture) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
    database.close()
    before = (recorded / "records.db").read_bytes()
    assert main(["migrate", "--data-dir", str(recorded)]) == 78
    assert "newer Glassline" in capsys.readouterr().err
    assert (recorded / "records.db").read_bytes() == before
    assert not list(recorded.rglob("*.tar"))
    assert main(["migrate", "--data-dir", str(recorded / "nowhere")]) == 78
