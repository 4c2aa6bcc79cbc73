"""`glassline restart`: make a running `serve` replace itself, and wait until the new one serves."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Final

from proxy.cli.settings import load_data_dir
from proxy.cli.table import Screen
from proxy.data_dir import LOCK
from proxy.errors import EnvironmentUnusable
from proxy.locks import is_held
from proxy.ports import Ports, ports_file
from proxy.signals import RESTART
from proxy.succession import refusal_file

_WITHIN_S: Final = 120.0
"""A rehearsal and a start take seconds; this is for a machine that is very busy."""


def run(arguments: argparse.Namespace) -> int:
    """Send SIGUSR2 and wait; 1 when the running one stays."""
    data_dir = load_data_dir(arguments)
    pid = _running(data_dir)
    ports, refusal = ports_file(data_dir), refusal_file(data_dir)
    refusal.unlink(missing_ok=True)
    before = ports.stat().st_ino
    try:
        os.kill(pid, RESTART)
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


def _running(data_dir: Path) -> int:
    ports = Ports.read(data_dir)
    # A serve that was killed leaves its file, and its pid may by now be anybody's, whom the signal would end.
    if ports is None or not _is_served(data_dir):
        raise EnvironmentUnusable(f"{data_dir}: no glassline serve runs here")
    return ports.pid


def _is_served(data_dir: Path) -> bool:
    try:
        return is_held(data_dir / LOCK)
    except OSError:
        return False
