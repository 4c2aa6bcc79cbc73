from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy.disk import check_file_system, file_identity, free_bytes, is_nearly_full, sync_directory
from proxy.errors import EnvironmentUnusable
from tests.harness.process import ROOT, clean_environment

LOCAL = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"
SHARED = "40 22 0:50 / {place} rw,relatime shared:9 - {kind} server:/export rw"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs"])
def test_a_directory_on_a_network_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("\n".join([LOCAL, SHARED.format(place=tmp_path / "far", kind=kind)]))
    (tmp_path / "far" / "data").mkdir(parents=True)
    with pytest.raises(EnvironmentUnusable, match=f"{kind} is a network file system"):
        check_file_system(tmp_path / "far" / "data", mounts)
    check_file_system(tmp_path, mounts)
    check_file_system(tmp_path, tmp_path / "nowhere")


def test_this_machine_is_understood(tmp_path: Path) -> None:
    check_file_system(tmp_path)
    assert free_bytes(tmp_path) > 0
    assert not is_nearly_full(tmp_path / "nowhere")
    sync_directory(tmp_path)


def test_a_file_that_takes_anothers_name_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert file_identity(path) is None
    path.touch()
    before = file_identity(path)
    (tmp_path / "b").touch()
    (tmp_path / "b").rename(path)
    assert file_identity(path) not in (None, before)


def serve(data_dir: Path) -> tuple[int, str, float]:
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--admin-port", "0", "--data-dir", str(data_dir)]
    if os.geteuid() == 0:
        # Root may write everywhere; without its privileges it is like anybody.
        command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *command]
    started = time.monotonic()
    done = subprocess.run(
        command, env=clean_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr, time.monotonic() - started


@pytest.mark.parametrize("what", ["directory", "records.db", "ledger.db", "journal"])
def test_what_cannot_be_written_ends_the_start_with_one_line(tmp_path: Path, what: str) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    for folder in ("run", "journal"):
        (data_dir / folder).mkdir(mode=0o700)
    if what.endswith(".db"):
        (data_dir / what).touch(mode=0o400)
    locked = data_dir if what == "directory" else data_dir / what
    locked.chmod(0o500 if locked.is_dir() else 0o400)
    try:
        code, told, took_s = serve(data_dir)
    finally:
        locked.chmod(0o700)
    assert code == 78, told
    lines = [line for line in told.strip().splitlines() if "rror" in line or "data" in line]
    assert len(lines) == 1, told
    assert took_s < 20  # one second on an idle machine
