"""`glassline top`: how things are, live in the terminal, from the records and the ledger themselves.

What stands on the screen is read anew every two seconds. On anything but a terminal it is written once.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Final

from proxy.admin.accounts import as_configured, configured_budgets
from proxy.admin.client import ask_status
from proxy.cli.glance import WINDOW_MS, Glance, State, lines
from proxy.cli.records import now_ms
from proxy.cli.settings import open_settings
from proxy.cli.table import Screen
from proxy.cli.terminal import Terminal
from proxy.config import Config
from proxy.errors import StoreError
from proxy.ledger.reading import read_accounts
from proxy.store import StoreReader
from proxy.store import query as ask
from proxy.store.query import RequestRow
from proxy.store.recent import Seen, seen

PERIOD_S: Final = 2.0
NEWEST: Final = 40
"""Requests that are listed one by one, where there is room."""
_PATIENCE_S: Final = 1.0
"""For the running Glassline to say how it is."""
_QUIT: Final = ("q", "Q", "\x1b", "\x03", "\x04")
_KEYS: Final = "q quits"


def run(arguments: argparse.Namespace) -> int:
    """Show it until `q` is pressed, or once."""
    config, screen = open_settings(arguments), Screen()
    if arguments.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        columns = shutil.get_terminal_size((120, 50)).columns
        for line in lines(look(config), screen, columns, sys.maxsize):
            screen.line(line)
        return 0
    try:
        with Terminal() as terminal:
            _follow(terminal, config, screen)
    except KeyboardInterrupt:
        pass
    return 0


def _follow(terminal: Terminal, config: Config, screen: Screen) -> None:
    key = ""
    while key not in _QUIT:
        glance = look(config)
        columns, rows = terminal.size
        shown = lines(glance, screen, columns, rows - 1)
        terminal.show([*shown, *[""] * (rows - 1 - len(shown)), screen.paint(_KEYS, "dim")])
        key = terminal.wait(PERIOD_S)


def look(config: Config) -> Glance:
    """Read what there is. Raises StoreError when a database cannot be read."""
    now = now_ms()
    budgets = as_configured(read_accounts(config.data_dir / "ledger.db"), configured_budgets(config), now)
    return Glance(now, _state(config), *_requests(config, now), budgets)


def _requests(config: Config, now: int) -> tuple[list[Seen], list[RequestRow]]:
    path = config.data_dir / "records.db"
    if not path.exists():
        return [], []
    with StoreReader(path) as store:
        return store.run(seen(now - WINDOW_MS)), store.run(ask.requests(limit=NEWEST))


def _state(config: Config) -> State | None:
    try:
        status = ask_status(config.data_dir, timeout_s=_PATIENCE_S)
    except StoreError as error:
        return State("failing", (str(error),), 0, 0)
    if status is None:
        return None
    alive = [process for process in status["processes"] if process["is_alive"]]
    return State(
        status["verdict"],
        tuple(reason["text"] for reason in status["reasons"]),
        sum(process["in_flight"] for process in alive),
        sum(process["connections"] for process in alive),
    )
