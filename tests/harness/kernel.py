"""What the kernel knows of a server's connections on this machine, see proc(5)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LOCAL, _REMOTE, _STATE, _QUEUES = 1, 2, 3, 4
_ESTABLISHED: Final = "01"


def established(port: int) -> int:
    """Count the connections to `port` that its server holds open."""
    return len(_connections(port, _LOCAL))


def unread_bytes(port: int) -> int:
    """Return how many bytes were sent to `port` that its server has not read."""
    not_arrived = sum(int(fields[_QUEUES].partition(":")[0], 16) for fields in _connections(port, _REMOTE))
    arrived = sum(int(fields[_QUEUES].partition(":")[2], 16) for fields in _connections(port, _LOCAL))
    return not_arrived + arrived


def _connections(port: int, end: int) -> list[list[str]]:
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [fields for fields in lines if fields[end] == f"0100007F:{port:04X}" and fields[_STATE] == _ESTABLISHED]
