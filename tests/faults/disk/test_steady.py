"""What is done to the databases under steady traffic, in small; `make chaos` measures it at full size, with its times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.faults.disk.backups import back_up
from tests.faults.disk.locked import hold_locks
from tests.faults.disk.purge import purge_store
from tests.faults.disk.steady import CONFIG
from tests.faults.disk.upgrades import upgrade_stores
from tests.harness.faultupstream import FaultUpstream

pytestmark = pytest.mark.timeout(180)


def test_locked_databases_delay_records_and_refuse_only_what_has_a_budget(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with FaultUpstream(tmp_path / "upstream") as upstream:
        seen = hold_locks(start_glassline(upstream.url, CONFIG), 40, calm_s=1, locked_s=2.5, ledger_s=2.5)
    assert (seen["failed"], seen["paid_while_locked"]) == (0, 0), seen
    assert seen["waiting"] >= 2.5 * 40 * 0.9, "the lock held nothing up"
    assert seen["refused"] >= 1
    assert seen["slowest_refusal_s"] < 8


def test_every_backup_under_traffic_holds_what_was_answered_before_and_ledger_and_records_fit_when_it_is_restored(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with FaultUpstream(tmp_path / "upstream") as upstream:
        glassline = start_glassline(upstream.url, CONFIG)
        seen = back_up(glassline, tmp_path / "backups", 40, calm_s=1, busy_s=2)
    assert (seen["failed"], seen["lacking"], seen["lost_by_restore"]) == (0, 0, 0), seen
    assert seen["intact"] == seen["backups"] >= 1
    assert seen["fits"], seen
    assert seen["spent_nano_usd"] > 0


def test_retention_that_is_lowered_empties_a_full_store_beside_traffic_and_no_file_remembers(
    start_glassline: StartGlassline, tmp_path: Path
) -> None:
    with FaultUpstream(tmp_path / "upstream") as upstream:
        glassline = start_glassline(upstream.url, CONFIG, start=False)
        seen = purge_store(glassline, 10_000, 20, calm_s=1)
    assert (seen["failed"], seen["is_some_left"], seen["found"]) == (0, False, {}), seen
    assert seen["found_before"]["records.db"] >= 10_000
    assert seen["grown_mb"] < 50
    assert seen["small_mb"] < seen["full_mb"] / 2


def test_a_store_of_an_earlier_version_is_brought_to_this_one_whole_through_a_kill_and_never_back(
    tmp_path: Path,
) -> None:
    [seen] = upgrade_stores(tmp_path, [1], 5_000, seed=1)
    assert seen["is_right"], seen
    assert seen["downgrade_is_refused"]
