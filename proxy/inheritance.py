"""What the children have in common: loaded once by their parent, before it forks them.

A module that several processes need is read, run and kept in memory once for all of them; what only one of them needs
it loads itself, beside the others. A child that is started anew finds it there as well: requests wait for a ledger.
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Final

from pricing.limits import load_limits
from pricing.table import load_table

COMMON: Final = (
    "httptools",
    "proxy.config.prices",
    "proxy.gates.keys",
    "proxy.journal",
    "proxy.ledger.accounts",
    "proxy.ledger.client",
    "proxy.providers",
    "proxy.store",
    "proxy.store.deletion",
    "proxy.store.filter",
    "proxy.store.orders",
    "proxy.websocket",
    "zstandard",
)
"""Of these and of all that they import, at least two kinds of children have use."""


def load_inheritance() -> None:
    """Load what the children have in common, and keep it from being copied."""
    for name in COMMON:
        import_module(name)
    load_table()
    load_limits()
    # A collection in a child writes to every object that it looks at, and so copies the page.
    gc.freeze()
