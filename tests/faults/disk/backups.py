"""Backups one after the other under steady traffic, and the last of them restored."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.disk.steady import PAID, WARM_S, ask, missing, problems, sessions, whole_p99
from tests.harness import Glassline
from tests.harness.databases import reading
from tests.harness.pacer import Asked, Pacer, between
from tests.harness.process import ROOT, clean_environment, wait_until

EACH_NANO_USD: Final = 9 * 150 + 2 * 600
"""What a request costs: one that began between the copy of the ledger and that of the records is only in these."""
MOST_NANO_USD: Final = (len(ask(PAID)) + 50) * 600
"""More than is reserved for one, and spent when it is open in the copy of the ledger and not in that of the records."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One that was made."""

    path: Path
    began: float
    """On the monotonic clock, like the next."""
    ended: float


def back_up(glassline: Glassline, scratch: Path, per_second: float, calm_s: float, busy_s: float) -> dict[str, Any]:
    """Make backups for `busy_s` while requests with a budget come, look into each, and restore the last.

    Returns what requests and backups were like, and by how much ledger and records differ after the restore.
    """
    scratch.mkdir()
    with Pacer(glassline.port, ask(PAID), per_second) as pacer:
        time.sleep(WARM_S)
        calm = time.monotonic()
        time.sleep(calm_s)
        begun = time.monotonic()
        made = list(_backups(glassline.data_dir, scratch, begun + busy_s))
        ended = time.monotonic()
        asked = pacer.stop()
    wait_until(lambda: not missing(asked, sessions(glassline.data_dir / "records.db")), "all records", timeout_s=60)
    looks = [_look(each, asked) for each in made]
    last = made[-1]
    return {
        "requests": len(asked),
        "failed": len(problems(asked)),
        "first_problems": problems(asked)[:3],
        "backups": len(made),
        "intact": sum(look["is_intact"] for look in looks),
        "lacking": sum(look["lacking"] for look in looks),
        "slowest_backup_s": max(each.ended - each.began for each in made),
        "calm_p99_ms": whole_p99(between(asked, calm, begun)),
        "busy_p99_ms": whole_p99(between(asked, begun, ended)),
        **_restore(glassline, last, asked),
    }


def _backups(data_dir: Path, scratch: Path, until: float) -> Iterator[Backup]:
    number = 0
    while time.monotonic() < until:
        began, path = time.monotonic(), scratch / f"{number}.tar"
        _run("backup", data_dir, path)
        yield Backup(path, began, time.monotonic())
        number += 1


def _run(command: str, data_dir: Path, path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "proxy", command, "--data-dir", str(data_dir), str(path)],
        env=clean_environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


def _look(made: Backup, asked: list[Asked]) -> dict[str, int]:
    """Say whether a backup is intact, and how many it lacks of the answers that were whole before it began."""
    before = [each for each in asked if each.answered_at <= made.began]
    with tarfile.open(made.path) as tar:
        tar.extractall(made.path.with_suffix(""), filter="data")
    verdicts = set()
    for database in made.path.with_suffix("").glob("*.db"):
        with reading(database) as connection:
            verdicts.add(str(connection.pragma("integrity_check")))
    records = made.path.with_suffix("") / "records.db"
    return {"is_intact": int(verdicts == {"ok"}), "lacking": missing(before, sessions(records))}


def _restore(glassline: Glassline, made: Backup, asked: list[Asked]) -> dict[str, Any]:
    """Restore a backup into an empty journal, start on it and compare what was spent with what was recorded."""
    glassline.stop()
    for segment in (glassline.data_dir / "journal").glob("*.journal"):
        segment.unlink()  # as on another machine
    _run("restore", glassline.data_dir, made.path)
    glassline.start()
    ledger = glassline.data_dir / "ledger.db"
    wait_until(lambda: not _sum(ledger, "reserved_nano_usd", "accounts"), "the settlement", timeout_s=30)
    records = glassline.data_dir / "records.db"
    spent, recorded = _sum(ledger, "spent_nano_usd", "accounts"), _sum(records, "cost_nano_usd", "exchanges")
    restored = sessions(records)
    meanwhile = [each for each in asked if made.began <= each.answered_at and each.at <= made.ended]
    held = _sum(made.path.with_suffix("") / "ledger.db", "reserved_nano_usd", "accounts")
    return {
        "restored": len(restored),
        "lost_by_restore": missing((each for each in asked if each.answered_at <= made.began), restored),
        "spent_nano_usd": spent,
        "recorded_nano_usd": recorded,
        "held_nano_usd": held,
        "fits": -held <= recorded - spent <= len(meanwhile) * EACH_NANO_USD,
    }


def _sum(database: Path, column: str, table: str) -> int:
    with reading(database) as connection:
        return int(str(connection.execute(f"SELECT coalesce(sum({column}), 0) FROM {table}").get))  # noqa: S608 - ours
