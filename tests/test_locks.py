"""Lock files, between processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.locks import is_held, take_lock

HOLDER = "import sys; from pathlib import Path; from proxy.locks import take_lock; print(take_lock(Path(sys.argv[1]))); sys.stdout.flush(); input()"


def test_a_lock_has_one_holder_until_that_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip().isdecimal(), "it holds the lock"
        open_before = len(list(Path("/proc/self/fd").iterdir()))
        assert take_lock(path) is None
        assert is_held(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == open_before, "a lock that is not had costs no descriptor"
        holder.kill()
        holder.wait(timeout=20)
    assert not is_held(path)
    lock = take_lock(path)
    assert lock is not None
    assert is_held(path)
    os.close(lock)
    assert not is_held(path)


def test_a_lock_that_nobody_ever_took_is_free_and_stays_unmade(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


def test_a_lock_in_a_place_that_is_no_directory_is_an_error_and_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory"):
        take_lock(tmp_path / "file" / "lock")
    with pytest.raises(OSError, match="directory"):
        is_held(tmp_path / "file" / "lock")
