"""Whether enough files may be open is looked at when Glassline starts; what can be raised is raised."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from tests.conftest import StartGlassline
from tests.faults.edge.payloads import get
from tests.harness import Glassline
from tests.harness.client import exchange
from tests.harness.process import ROOT
from tests.harness.upstream import ScriptedUpstream

_START = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
sys.argv = ["glassline", *sys.argv[1:]]
runpy.run_module("proxy", run_name="__main__")
"""


def open_files(pid: int) -> int:
    """Return how many files a process may have open."""
    [line] = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")
    ]
    return int(line.split()[3])


def test_a_gateway_may_open_what_its_limit_of_connections_needs(
    start_glassline: StartGlassline, echo: ScriptedUpstream
) -> None:
    glassline = start_glassline(echo.url, {"limits": {"connections": 2000}})
    [gateway] = glassline.pids_of("gateway")
    assert open_files(gateway) >= 5000
    assert "open files" not in glassline.stderr


def test_too_few_open_files_are_said_at_the_start_and_by_doctor(tmp_path: Path) -> None:
    (tmp_path / "starter.py").write_text(_START.format(soft=256, hard=2048))
    config = tmp_path / "config.yaml"
    config.write_text("limits: {connections: 2000}\nlisten: {port: 0}\nadmin: {port: 0}\n")
    said = subprocess.run(
        [sys.executable, tmp_path / "starter.py", "doctor", "-c", config, "--data-dir", tmp_path / "data"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2048 allowed, 5000 would carry limits.connections" in said.stdout


def test_a_start_with_too_few_open_files_warns_and_serves(
    echo: ScriptedUpstream, start_glassline: StartGlassline
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    glassline: Glassline = start_glassline(echo.url, {"limits": {"connections": hard}})
    assert f"{hard} open files are allowed" in glassline.stderr
    assert exchange(glassline.port, get(b"Connection: close", target=b"/healthz")).status == 200
