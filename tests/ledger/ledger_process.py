"""A ledger in a process of its own: `python ledger_process.py DATABASE SOCKET`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from proxy.ledger.ledger import Ledger
from proxy.ledger.server import serve, stop_on_signals
from tests.ledger.scenes import price_book


def main() -> None:
    with stop_on_signals(signal.SIGTERM) as stop:
        ledger = Ledger(Path(sys.argv[1]), price_book())
        serve(Path(sys.argv[2]), ledger, stop=stop)
        ledger.close()


if __name__ == "__main__":
    main()
