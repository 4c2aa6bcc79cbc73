"""Bits that rot: whatever flips, a start ends soon, shows nothing wrong and says what it found."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from proxy.errors import StoreDamaged
from proxy.ledger.ledger import Ledger
from proxy.store import SqliteStore
from proxy.store.damage import set_aside
from tests.conftest import StartGlassline
from tests.faults.disk.outage import book
from tests.faults.disk.rot import bit_rot
from tests.harness.client import exchange, post
from tests.harness.process import wait_until
from tests.harness.upstream import ScriptedUpstream

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
FLIPS = 500 if os.environ.get("GLASSLINE_LONG") else 30


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_flips_a_start_ends_and_shows_nothing_wrong(seed: int) -> None:
    found = bit_rot(FLIPS, seed)
    assert found["flips"] == FLIPS
    assert found["unharmed"] < FLIPS


def spoil(path: Path, start: int = 100, end: int = 60_000) -> None:
    content = bytearray(path.read_bytes())
    content[start:end] = os.urandom(min(end, len(content)) - start)
    path.write_bytes(content)


def test_a_damaged_store_is_set_aside_and_the_verdict_is_red(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        exchange(glassline.port, post("/v1/chat/completions", BODY))
        glassline.wait_for_rows(1)
        glassline.stop()
        spoil(glassline.data_dir / "records.db")
        started = time.monotonic()
        glassline.start()
        assert time.monotonic() - started < 30
        [aside] = glassline.data_dir.glob("records.db.corrupt-*")
        assert aside.stat().st_mode & 0o777 == 0o600
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).status == 200
        assert len(glassline.wait_for_rows(1)) == 1
        request = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        shown = wait_until(lambda: exchange(glassline.admin_port, request).body, "the verdict")
    assert b'"failing"' in shown
    assert b"store_damaged" in shown
    assert "it was set aside as records.db.corrupt-" in glassline.stderr


def test_a_damaged_ledger_is_refused_and_left_as_it_is(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        glassline.stop()
        ledger = glassline.data_dir / "ledger.db"
        spoil(ledger)
        before = ledger.read_bytes()
        with pytest.raises(AssertionError, match="ended with 78"):
            glassline.start()
    assert ledger.read_bytes() == before
    assert "glassline restore" in glassline.stderr


def test_a_row_that_breaks_a_rule_of_the_ledger_is_damage(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.db", book()).close()
    ledger = Ledger(tmp_path / "ledger.db", book())
    ledger._connection.execute("PRAGMA ignore_check_constraints = ON")
    columns = "budget, scope, window_start_ms, is_hard, limit_nano_usd, granted_nano_usd, spent_nano_usd"
    ledger._connection.execute(f"INSERT INTO accounts ({columns}) VALUES ('b', '', 0, 1, 10, 10, 999)")  # noqa: S608
    ledger.close()
    with pytest.raises(StoreDamaged, match="restore it"):
        Ledger(tmp_path / "ledger.db", book())


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.write_bytes(os.urandom(50_000))
    before = path.read_bytes()
    with pytest.raises(StoreDamaged):
        SqliteStore(path)
    with pytest.raises(StoreDamaged, match="no database, or is encrypted"):
        set_aside(path)
    assert path.read_bytes() == before
