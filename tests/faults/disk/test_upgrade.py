"""From any earlier version to this one, through kills, and never back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import apsw
import pytest

from proxy import failpoints
from proxy.cli import main
from proxy.errors import EnvironmentUnusable
from proxy.upgrade import back_up_before_upgrade
from tests.conftest import StartGlassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import clean_environment, wait_until
from tests.harness.upstream import CHAT, Connection, ScriptedUpstream, with_length
from tests.store.versions import DATABASES, at_version, dump, newest_of

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
KEY = "sk-limited-0123456789abcdef"
VERSIONS = [(name, version) for name in DATABASES for version in range(1, newest_of(name) + 1)]
STEPS = [
    "upgrade.before_backup:kill",
    "upgrade.after_backup:kill",
    *(f"migrations.{point}:kill:{nth}" for point in ("before_commit", "after_commit") for nth in (1, 2, 3)),
]
Capture = pytest.CaptureFixture[str]


def one(path: Path, sql: str) -> object:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).get
    finally:
        connection.close()


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_every_version_is_brought_to_this_one_after_a_copy(tmp_path: Path, name: str, version: int) -> None:
    path = tmp_path / name
    before = at_version(path, version)
    assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    assert one(path, "SELECT max(number) FROM migrations") == newest_of(name)
    assert one(path, "PRAGMA integrity_check") == "ok"
    if name == "ledger.db":
        assert one(path, "SELECT spent_nano_usd FROM accounts") == 700
    if name == "records.db":
        assert one(path, "SELECT value FROM counters") == 42
    copies = list((tmp_path / "backups").glob("*.tar")) if version < newest_of(name) else []
    for copy in copies:
        with tarfile.open(copy) as tar:
            tar.extract(name, tmp_path / "copied", filter="data")
        assert dump(tmp_path / "copied" / name) == before
        assert copy.stat().st_mode & 0o777 == 0o600
    assert len(copies) == (version < newest_of(name))


@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_is_killed_goes_on_where_it_was(tmp_path: Path, step: str) -> None:
    for name in DATABASES:
        at_version(tmp_path / name, 1)
    command = [sys.executable, "-c", _MIGRATE, str(tmp_path)]
    environment = clean_environment() | {failpoints.VARIABLE: step}
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[3], check=False, timeout=60)
    assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    for name in DATABASES:
        assert one(tmp_path / name, "SELECT max(number) FROM migrations") == newest_of(name)
        assert one(tmp_path / name, "PRAGMA integrity_check") == "ok"
    assert one(tmp_path / "ledger.db", "SELECT spent_nano_usd FROM accounts") == 700
    assert one(tmp_path / "records.db", "SELECT value FROM counters") == 42
    assert list((tmp_path / "backups").glob("*.tar"))


_MIGRATE = """
import os, sys
from proxy import failpoints
from proxy.cli import main
failpoints.arm(os.environ)
main(["migrate", "--data-dir", sys.argv[1]])
"""


@pytest.mark.parametrize("name", DATABASES)
def test_a_newer_database_ends_the_start_and_is_not_touched(start_glassline: StartGlassline, name: str) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        glassline.stop()
        path = glassline.data_dir / name
        connection = apsw.Connection(str(path))
        connection.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_future.sql')")
        connection.pragma("journal_mode", "delete")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(AssertionError, match="ended with 78"):
            glassline.start()
    assert path.read_bytes() == before
    last = glassline.stderr.strip().splitlines()[-1]
    assert "newer Glassline" in last


def test_serve_makes_a_copy_before_it_changes_anything(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, start=False)
        glassline.data_dir.mkdir(mode=0o700)
        at_version(glassline.data_dir / "records.db", 1)
        glassline.start()
        assert len(list((glassline.data_dir / "backups").glob("before-records1-*.tar"))) == 1
        glassline.stop()
        glassline.start()
        assert len(list((glassline.data_dir / "backups").glob("*.tar"))) == 1


def test_without_room_for_a_copy_nothing_is_changed(tmp_path: Path) -> None:
    before = at_version(tmp_path / "records.db", 1)
    (tmp_path / "backups").write_text("in the way")
    with pytest.raises(EnvironmentUnusable, match="no database is changed without a copy"):
        back_up_before_upgrade(tmp_path)
    assert dump(tmp_path / "records.db") == before


def test_a_backup_under_traffic_can_be_restored_and_spends_what_was_open(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    key = {"name": "limited", "key": KEY, "budgets": [{"limit_usd": 10, "window": "total"}]}
    backup = tmp_path / "backup.tar"
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, {"keys": [key]})
        for _ in range(5):
            assert exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY)).status == 200
        acked = {str(row["id"]) for row in glassline.wait_for_rows(5)}
        data_dir = ["--data-dir", str(glassline.data_dir)]
        assert main(["backup", *data_dir, str(backup)]) == 0
        assert main(["restore", *data_dir, str(backup)]) == 78
        assert exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY)).status == 200
        glassline.wait_for_rows(6)
        glassline.stop()
        spent = one(glassline.data_dir / "ledger.db", "SELECT sum(spent_nano_usd) FROM accounts")
        assert main(["restore", *data_dir, str(backup)]) == 0
        [aside] = glassline.data_dir.glob("replaced-*")
        assert one(aside / "records.db", "SELECT count(*) FROM exchanges") == 6
        glassline.start()
        assert {str(row["id"]) for row in glassline.wait_for_rows(5)} == acked
        restored = one(glassline.data_dir / "ledger.db", "SELECT sum(spent_nano_usd) FROM accounts")
        assert isinstance(restored, int)
        assert isinstance(spent, int)
        assert 0 < restored <= spent
        assert exchange(glassline.port, post("/v1/chat/completions", BODY, key=KEY)).status == 200
        assert one(glassline.data_dir / "ledger.db", "PRAGMA integrity_check") == "ok"


def test_a_reservation_that_was_open_in_a_backup_is_spent_when_it_is_restored(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    key = {"name": "limited", "key": KEY, "budgets": [{"limit_usd": 10, "window": "total"}]}
    asked, may_answer = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        asked.set()
        assert may_answer.wait(60)
        connection.send(with_length(CHAT))

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"keys": [key]})
        data_dir = ["--data-dir", str(glassline.data_dir)]
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY, key=KEY))
            assert asked.wait(10)
            held = one(glassline.data_dir / "ledger.db", "SELECT sum(reserved_nano_usd) FROM accounts")
            assert main(["backup", *data_dir, str(tmp_path / "backup.tar")]) == 0
            may_answer.set()
            assert client.read_all().body == CHAT
        glassline.wait_for_rows(1)
        glassline.stop()
        shutil.rmtree(glassline.data_dir / "journal")
        assert main(["restore", *data_dir, str(tmp_path / "backup.tar")]) == 0
        glassline.start()
        ledger = glassline.data_dir / "ledger.db"
        wait_until(lambda: one(ledger, "SELECT reserved_nano_usd = 0 FROM accounts"), "the settlement")
        assert one(ledger, "SELECT spent_nano_usd FROM accounts") == held


def test_a_damaged_backup_replaces_nothing(tmp_path: Path, capsys: Capture) -> None:
    data_dir, backup = tmp_path / "data", tmp_path / "backup"
    data_dir.mkdir()
    backup.mkdir()
    before = at_version(data_dir / "records.db", newest_of("records.db"))
    at_version(backup / "records.db", newest_of("records.db"))
    content = bytearray((backup / "records.db").read_bytes())
    content[5000:60_000] = os.urandom(55_000)
    (backup / "records.db").write_bytes(content[: len(content)])
    assert main(["restore", "--data-dir", str(data_dir), str(backup)]) == 1
    assert "records.db" in capsys.readouterr().err
    assert dump(data_dir / "records.db") == before
    assert not list(data_dir.glob("replaced-*"))
    for nothing in (tmp_path / "gone.tar", data_dir):
        code = main(["restore", "--data-dir", str(tmp_path / "other"), str(nothing)])
        assert code in ((78, 1) if nothing.suffix else (0,))


def test_a_second_instance_ends_at_once_and_the_first_does_not_notice(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        pids = glassline.pids()
        command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--admin-port", "0"]
        started = time.monotonic()
        second = subprocess.run(
            [*command, "--data-dir", str(glassline.data_dir)],
            env=clean_environment(), cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert second.returncode == 78
        assert time.monotonic() - started < 10  # a second on an idle machine
        assert len(second.stderr.strip().splitlines()) == 1
        assert glassline.pids() == pids
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).status == 200
