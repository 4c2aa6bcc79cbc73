"""`run/ports.json`: where a Glassline of this data directory listens. It stands there for as long as one is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from proxy.files import write_whole


class Ports(msgspec.Struct, frozen=True):
    """What the file says."""

    data: int
    admin: int
    pid: int
    """Of the supervisor."""
    start_s: float | None = None
    """From the start of its process until it was ready; None: it took over from another, or nobody knows."""

    def announce(self, data_dir: Path) -> None:
        """Say so: a new file each time, even for the same ports. Raises OSError."""
        write_whole(ports_file(data_dir), msgspec.json.encode(self))

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Return what was said; None: nothing, or nothing that can be understood. It may be of one that was killed."""
        try:
            return msgspec.json.decode(ports_file(data_dir).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError):
            return None


def withdraw_ports(data_dir: Path) -> None:
    """Take back what was said. Raises OSError."""
    ports_file(data_dir).unlink(missing_ok=True)


def ports_file(data_dir: Path) -> Path:
    """Return where it stands."""
    return data_dir / "run" / "ports.json"
