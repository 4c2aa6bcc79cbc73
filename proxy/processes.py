"""What the system tells of running processes: only Linux does."""

from __future__ import annotations

import re
from pathlib import Path


def family_of(supervisor: int) -> list[tuple[str, int]]:
    """Return name and process id of each process of a Glassline, the supervisor first."""
    return [("supervisor", supervisor), *((_name_of(pid), pid) for pid in _children_of(supervisor))]


def resident_bytes(pid: int) -> int | None:
    """Return a process's share of the memory in use; pages that forked processes share are counted once in all."""
    for file, name in (("smaps_rollup", "Pss"), ("status", "VmRSS")):
        try:
            match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
        except OSError:
            continue
        if match:
            return int(match[1]) * 1024
    return None


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _name_of(pid: int) -> str:
    """Return what a process of ours calls itself; its number, where that is not told."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("gl-")
    except OSError:
        return str(pid)
