"""The admin process alone: prints its port once it answers. Run by tests in a process of its own."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from proxy.admin import run
from proxy.config import load_config
from proxy.stats import StatsBoard


def main() -> None:
    """Serve the data directory and the configuration that the command line names."""
    data_dir, config_file = Path(sys.argv[1]), Path(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0))
    board = StatsBoard(2)
    board.writer(0, "gateway-0", 4242).write(in_flight=3, connections=5, loop_lag_ms=1.5)
    port = listener.getsockname()[1]
    run(load_config(config_file), data_dir, [listener], board, lambda: print(port, flush=True))


if __name__ == "__main__":
    main()
