"""The seed: a data directory as a busy shop leaves it after a month, for the dashboard to show.

A million requests: the last 24 hours recorded in earnest, with bodies; before that the same
days again without bodies, growing, with weekends, an incident and new versions. The same arguments make the same rows.
A seed is made once and kept under `.cache`; whoever uses one works on a copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.config import parse_config
from proxy.databases import open_database
from proxy.store import SqliteStore
from tests.dashboard.seed.accounts import configuration, write_ledger, write_people
from tests.dashboard.seed.day import write_day
from tests.dashboard.seed.feedback import write_feedback
from tests.dashboard.seed.history import write_history
from tests.harness.process import ROOT

END: Final = datetime(2026, 11, 19, 14, 28, 7, tzinfo=UTC)
"""The moment at which the seed ends: a Thursday afternoon."""
MILLION: Final = 1_000_000
_DAY_OF_A_MILLION: Final = 46_000
"""Requests of the last day when there are a million in all."""
_MADE_BY: Final = (
    *("proxy/store/migrations", "proxy/ledger/migrations", "proxy/admin/migrations", "proxy/journal", "proxy/recorder"),
    *(f"proxy/store/{name}.py" for name in ("sqlite", "row", "rollups", "histogram", "zones", "payloads", "pieces")),
    *("proxy/store/packing.py", "proxy/store/heads.py", "proxy/store/words.py", "proxy/store/text.py"),
    *("proxy/records.py", "proxy/wire", "pricing", "tests/dashboard/seed"),
)
"""What decides what is in a seed: files, and directories with all that is in them."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A data directory that was made, and the configuration that belongs to it."""

    directory: Path

    @property
    def config(self) -> dict[str, Any]:
        """Keys and budgets."""
        made: dict[str, Any] = yaml.safe_load((self.directory / "config.yaml").read_text())
        return made

    def copy_to(self, data_dir: Path) -> None:
        """Copy the databases, sharing what the file system can share."""
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.directory / "data", data_dir, ignore=shutil.ignore_patterns("*.lock", "journal"))


def seeded(rows: int = MILLION, *, is_hostile: bool = False, cache: Path = ROOT / ".cache" / "seeds") -> Seed:
    """Return the seed with so many requests; made now if nobody did before.

    `is_hostile`: the newest ones are attacks, and what is hard to show.
    """
    cache.mkdir(parents=True, exist_ok=True)
    name = f"{rows}-hostile" if is_hostile else f"{rows}"
    directory = cache / f"{name}-{_fingerprint()}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            for older in cache.glob(name + "-" + "[0-9a-f]" * 16):
                shutil.rmtree(older)
            unfinished = cache / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            build(unfinished, rows, is_hostile=is_hostile)
            unfinished.rename(directory)
    return Seed(directory)


def build(directory: Path, rows: int = MILLION, end: datetime = END, *, is_hostile: bool = False) -> None:
    """Make a seed: about a twentieth part of `rows` in its last day, the rest its history."""
    data_dir, end_ms = directory / "data", round(end.timestamp() * 1000)
    data_dir.mkdir(parents=True, mode=0o700)
    recorded = min(_DAY_OF_A_MILLION, _DAY_OF_A_MILLION * rows // MILLION)
    first_seq = rows + 1
    SqliteStore(data_dir / "records.db").close()
    connection = open_database(data_dir / "records.db", "write")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('exchanges', ?)", (first_seq - 1,))
    connection.close()
    found = write_day(data_dir, end_ms, recorded / _DAY_OF_A_MILLION, is_hostile=is_hostile)
    write_history(data_dir / "records.db", first_seq, rows - found, end_ms)
    write_feedback(data_dir / "records.db", end_ms)
    config = configuration(data_dir, end_ms)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    write_ledger(data_dir, parse_config(yaml.safe_dump(config)), end_ms)
    write_people(data_dir, end_ms)
    connection = open_database(data_dir / "records.db", "write")
    connection.wal_checkpoint(mode=3)
    connection.close()


def _fingerprint() -> str:
    """Return a digest of all that decides what is in a seed."""
    digest = hashlib.sha256()
    for place in _MADE_BY:
        for file in [ROOT / place, *sorted((ROOT / place).rglob("*"))]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
