"""What requests had of the ledger's leases, summed up in the transaction that stores them.

The sums count from the beginning of a lease, so the ledger can be told them any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import apsw
import msgspec

from proxy.store.record import Record

_MOST: Final = 9 * 10**18
"""nano-USD, below the 64 bits of SQLite's integers; the ledger holds no more either."""


class LeaseWriter:
    """The leases in one database. Nothing here opens or ends a transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, records: Iterable[Record]) -> None:
        """Count what new records had, and what they cost. What nobody knows the cost of cost all that it had."""
        sums: dict[str, tuple[int, int]] = {}
        for record in records:
            if record.exchange.begin.lease is None:
                continue
            lease, taken = record.exchange.begin.lease
            cost = record.settlement.nano_usd if record.settlement is not None else None
            drawn, spent = sums.get(lease, (0, 0))
            sums[lease] = drawn + taken, spent + (taken if cost is None else max(0, cost))
        if sums:
            self._connection.executemany(
                "INSERT INTO leases VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET"
                " drawn_nano_usd = min(?4, drawn_nano_usd + excluded.drawn_nano_usd),"
                " spent_nano_usd = min(?4, spent_nano_usd + excluded.spent_nano_usd)",
                [(lease, min(drawn, _MOST), min(spent, _MOST), _MOST) for lease, (drawn, spent) in sums.items()],
            )

    def drawn(self, leases: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return id and sums of those that are known."""
        rows = self._connection.execute(
            "SELECT lease, drawn_nano_usd, spent_nano_usd FROM leases WHERE lease IN (SELECT value FROM json_each(?))",
            (_json(leases),),
        )
        return [(str(lease), int(str(drawn)), int(str(spent))) for lease, drawn, spent in rows]

    def forget(self, leases: Sequence[str]) -> None:
        """Forget these."""
        self._connection.execute("DELETE FROM leases WHERE lease IN (SELECT value FROM json_each(?))", (_json(leases),))

    def forget_except(self, leases: Sequence[str]) -> None:
        """Forget all but these."""
        self._connection.execute(
            "DELETE FROM leases WHERE lease NOT IN (SELECT value FROM json_each(?))", (_json(leases),)
        )


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
