"""The ledger as a process of its own, started by the supervisor."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from proxy.config import Config
from proxy.config.prices import price_book
from proxy.failpoints import failpoint
from proxy.ledger.ledger import Ledger
from proxy.ledger.server import serve, stop_on_signals


def run(
    config: Config, data_dir: Path, *, ready: Callable[[], None], succeed: Callable[[], None] = lambda: None
) -> None:
    """Be the ledger process. Returns after SIGTERM; raises EnvironmentUnusable or StoreError when it cannot begin.

    `succeed` ends the predecessor. Requests wait from then on, so it is called when all is prepared.
    """
    book = price_book(config.pricing)
    succeed()
    failpoint("ledger.after_succession")
    with stop_on_signals(signal.SIGTERM) as stop:
        ledger = Ledger(data_dir / "ledger.db", book)
        try:
            ready()
            serve(data_dir / "run" / "ledger.sock", ledger, stop=stop)
        finally:
            ledger.close()
