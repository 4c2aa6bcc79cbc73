"""The admin port: status, metrics, records, costs, budgets and keys, for people and for programs.

It reads what the recorder and the ledger wrote, and writes app.db alone. The traffic never waits for it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.stats import StatsReader

__all__ = ["run"]


def run(
    config: Config, data_dir: Path, sockets: list[socket.socket], stats: StatsReader, ready: Callable[[], None]
) -> None:
    """Serve the admin port on `sockets` until SIGTERM; call `ready` once it answers."""
    # Late, so that the command line can use this package's pure parts without loading a web server.
    from proxy.admin.server import run as serve

    serve(config, data_dir, sockets, stats, ready)
