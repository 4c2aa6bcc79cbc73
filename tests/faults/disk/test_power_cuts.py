"""The machine loses power: no promise is broken, whatever of the unsynced writes the disk kept."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from proxy.recorder.durability import SegmentSync
from proxy.store import SqliteStore, StoreReader, query
from tests.faults.disk.outage import Durability, power_cuts
from tests.harness.powercut import Recording
from tests.recorder.builders import make_begin, make_record

IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))
PARTS = 5
CUTS = 1000 if IS_LONG else 50
"""For each part and durability: 500 in all, 10,000 in the long form."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("durability", ["standard", "strict"])
@pytest.mark.parametrize("seed", range(PARTS))
def test_a_power_cut_takes_nothing_that_was_promised(seed: int, durability: Durability) -> None:
    found = power_cuts(CUTS, seed, durability)
    assert found["cuts"] == CUTS
    assert found["promised"] > CUTS
    assert found["reserved"] > CUTS
    assert found["at_stake"] > 0


def test_segments_deleted_before_their_rows_are_on_the_disk_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteStore, "sync", lambda _: None)
    with pytest.raises(AssertionError, match="promised and not there"):
        power_cuts(500, 1, "standard")


def test_names_of_segments_that_are_never_synced_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.recorder.durability.sync_directory", lambda _: None)
    with pytest.raises(AssertionError, match=r"promised and not there|not paid for"):
        power_cuts(500, 2, "standard")


def test_a_journal_that_is_never_synced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SegmentSync, "sync", lambda _: 0)
    with pytest.raises(AssertionError, match="promised and not there"):
        power_cuts(500, 3, "standard")


def test_a_store_that_was_synced_is_all_there_even_when_its_log_is_new(tmp_path: Path) -> None:
    root = tmp_path / "before"
    root.mkdir()
    SqliteStore(root / "records.db").close()
    recording = Recording(root)
    # What was there before the recording began is on the disk for good.
    for path in root.iterdir():
        recording.appear(path.name)
        recording.note("write", path.name, data=path.read_bytes())
        recording.note("sync", path.name)
    recording.note("dirsync", ".")
    with recording.running():
        store = SqliteStore(root / "records.db")
        store.write([make_record(make_begin(id="kept"))], {})
        store.sync()
        cut = recording.now
        store.close()
    for seed in range(20):
        image = tmp_path / f"after-{seed}"
        recording.image(cut, random.Random(seed), image)
        with StoreReader(image / "records.db") as reader:
            assert reader.run(query.body("kept", "response")) is not None
