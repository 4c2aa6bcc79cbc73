"""The ledger as others see it: read-only connections, for pages and commands. They never disturb the writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from proxy.clock import SYSTEM, Clock
from proxy.databases import open_database
from proxy.errors import StoreError
from proxy.ledger.accounts import AccountRow, account_row

_CURRENT: Final = """
SELECT a.id, a.budget, a.scope, a.window_start_ms, a.window_end_ms, a.rolling_ms, a.is_hard, a.limit_nano_usd,
    a.spent_nano_usd - coalesce(
        (SELECT sum(b.spent_nano_usd) FROM buckets b WHERE b.account = a.id AND b.end_ms <= :now - a.rolling_ms), 0),
    a.reserved_nano_usd, a.overrun_nano_usd
FROM accounts a
WHERE (a.window_end_ms IS NULL OR a.window_end_ms > :now)
    AND a.window_start_ms = (
        SELECT max(n.window_start_ms) FROM accounts n WHERE n.budget = a.budget AND n.scope = a.scope)
ORDER BY a.budget, a.scope
"""
_HISTORY: Final = """
SELECT id, budget, scope, window_start_ms, window_end_ms, rolling_ms, is_hard, limit_nano_usd,
    spent_nano_usd, reserved_nano_usd, overrun_nano_usd
FROM accounts WHERE budget = ? ORDER BY window_start_ms, scope
"""


def read_accounts(path: Path, clock: Clock = SYSTEM) -> list[AccountRow]:
    """Return the newest window of each budget and scope that has not ended. No database: no accounts.

    Raises StoreError when the database cannot be read.
    """
    with _reader(path) as connection:
        found = connection.execute(_CURRENT, {"now": clock.wall_ms()}) if connection else ()
        return [account_row(row) for row in found]


def read_history(path: Path, budget: str) -> list[AccountRow]:
    """Return every window of one budget, oldest first, as its row stands."""
    with _reader(path) as connection:
        return [account_row(row) for row in connection.execute(_HISTORY, (budget,))] if connection else []


@contextmanager
def _reader(path: Path) -> Iterator[apsw.Connection | None]:
    if not path.exists():
        yield None
        return
    try:
        connection = open_database(path, "read")
        try:
            yield connection
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreError(f"{path.name}: {error}") from error
