from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import apsw
import pytest

from proxy.cli import main
from proxy.migrations import migration_files

Capture = pytest.CaptureFixture[str]


def test_a_database_of_this_version_is_left_alone(recorded: Path, capsys: Capture) -> None:
    assert main(["migrate", "--data-dir", str(recorded)]) == 0
    newest = max(migration_files(files("proxy.store") / "migrations"))
    assert capsys.readouterr().out.splitlines() == [f"records.db: version {newest}, nothing to do"]
    assert not list(recorded.glob("*.tar"))


def test_what_is_missing_is_applied_after_a_backup(tmp_path: Path, capsys: Capture) -> None:
    apsw.Connection(str(tmp_path / "app.db")).close()
    (tmp_path / "app.db").touch()
    assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("backup: ")
    assert lines[1] == "app.db: version 1, applied 1"
    assert len(list(tmp_path.glob("before-migration-*.tar"))) == 1


def test_a_newer_database_is_refused_untouched(recorded: Path, capsys: Capture) -> None:
    database = apsw.Connection(str(recorded / "records.db"))
    database.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
    database.close()
    assert main(["migrate", "--data-dir", str(recorded)]) == 1
    assert "newer Glassline" in capsys.readouterr().err
    assert not list(recorded.glob("*.tar"))
    assert main(["migrate", "--data-dir", str(recorded / "nowhere")]) == 78
