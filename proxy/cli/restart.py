"""`glassline restart`: make a running `serve` replace itself, and wait until the new one serves."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Final

from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen
from proxy.errors import EnvironmentUnusable

_WITHIN_S: Final = 120.0
"""A rehearsal and a start take seconds; this is for a machine that is very busy."""


def run(arguments: argparse.Namespace) -> int:
    """Send SIGUSR2 and wait; 1 when the running one stays."""
    run_dir = load_data_dir(arguments) / "run"
    ports, refusal = run_dir / "ports.json", run_dir / "restart-refused"
    pid = _running(ports)
    refusal.unlink(missing_ok=True)
    before = ports.stat().st_ino
    try:
        os.kill(pid, signal.SIGUSR2)
    except (ProcessLookupError, PermissionError) as error:
        raise EnvironmentUnusable(f"process {pid}: {error.strerror}") from error
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        if refusal.exists():
            Screen().line(refusal.read_text(encoding="utf-8").strip())
            return 1
        if ports.exists() and ports.stat().st_ino != before:
            Screen().line("restarted")
            return 0
        time.sleep(0.05)
    Screen().line(f"not restarted after {_WITHIN_S:.0f} s: the log of serve says why")
    return 1


def _running(ports: Path) -> int:
    data_dir = ports.parent.parent
    try:
        pid = int(json.loads(ports.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentUnusable(f"{data_dir}: no glassline serve runs here") from error
    # A serve that was killed leaves its file, and its pid may by now be anybody's, whom the signal would end.
    if not _is_served(data_dir):
        raise EnvironmentUnusable(f"{data_dir}: no glassline serve runs here")
    return pid


def _is_served(data_dir: Path) -> bool:
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
