from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.data_dir import LOCK, make_data_dir, take_data_dir
from proxy.errors import EnvironmentUnusable
from proxy.locks import take_lock
from tests.conftest import StartGlassline
from tests.harness.client import exchange, post
from tests.harness.upstream import ScriptedUpstream

BODY = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_its_owners_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "data"
    before = os.umask(0)
    try:
        make_data_dir(data_dir)
        assert os.umask(0) == 0o077
    finally:
        os.umask(before)
    assert {path.name: mode(path) for path in (data_dir, *data_dir.iterdir())} == {
        "data": 0o700,
        "run": 0o700,
        "journal": 0o700,
    }


@pytest.mark.parametrize("given", [0o755, 0o750, 0o775])
def test_a_directory_that_others_can_read_is_closed(tmp_path: Path, given: int) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(given)
    make_data_dir(data_dir)
    assert mode(data_dir) == 0o700


@pytest.mark.parametrize("name", ["", "run", "journal"])
@pytest.mark.parametrize("given", [0o777, 0o702, 0o1777])
def test_a_directory_that_everybody_can_write_is_refused(tmp_path: Path, name: str, given: int) -> None:
    folder = tmp_path / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(given)
    with pytest.raises(EnvironmentUnusable, match="others can write"):
        make_data_dir(tmp_path / "data")


@pytest.mark.parametrize("name", ["", "run", "journal"])
def test_a_symbolic_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "data" / name if name else tmp_path / "data"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentUnusable, match="symbolic link"):
        make_data_dir(tmp_path / "data")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", 12345, 12345)
    with pytest.raises(EnvironmentUnusable, match="belongs to user 12345"):
        make_data_dir(tmp_path / "data")


def test_what_a_killed_one_holds_a_moment_longer_is_waited_for_and_what_a_running_one_holds_is_refused(
    tmp_path: Path,
) -> None:
    make_data_dir(tmp_path / "data")
    held = take_lock(tmp_path / "data" / LOCK)
    assert held is not None
    threading.Timer(0.3, os.close, [held]).start()
    taken = take_data_dir(tmp_path / "data")
    with pytest.raises(EnvironmentUnusable, match="another Glassline uses it"):
        take_data_dir(tmp_path / "data")
    os.close(taken)


def test_serve_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--admin-port", "0", "--data-dir"]
    done = subprocess.run([*command, str(tmp_path / "data")], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1].endswith(f"chmod 700 {tmp_path / 'data'}")
    assert "Traceback" not in done.stderr


def test_every_file_of_a_running_installation_is_its_owners_alone(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url)
        assert exchange(glassline.port, post("/v1/chat/completions", BODY)).status == 200
        glassline.wait_for_rows(1)
        for path in (glassline.data_dir, *glassline.data_dir.rglob("*")):
            assert mode(path) & 0o077 == 0, f"{path}: {mode(path):o}"
