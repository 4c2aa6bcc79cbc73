"""Bills in the database: which exchange paid what a provider bills once, and whose cost is still awaited.

Written in the transaction that stores the exchange that pays, so that whoever asks later sees both or neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw
import msgspec

from proxy.store.faults import our_errors
from proxy.store.record import Record


class BillReader:
    """What any connection can say about bills."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def payers(self, biller: str, ids: Sequence[str]) -> dict[str, str]:
        """Return those of the biller's ids that are paid, with the exchange that paid them."""
        # One is what most ask for, and asking for it so costs a quarter.
        is_one = len(ids) == 1
        choice = "id = ?" if is_one else "id IN (SELECT value FROM json_each(?))"
        with our_errors():
            rows = self._connection.execute(
                f"SELECT id, exchange FROM bills WHERE biller = ? AND {choice}",  # noqa: S608 (constants)
                (biller, ids[0] if is_one else _json(ids)),
            )
            return {str(id_): str(exchange) for id_, exchange in rows}

    def awaiting(self) -> dict[tuple[str, str], str]:
        """Return the exchanges whose cost is awaited, by biller and the id under which it will be seen."""
        with our_errors():
            rows = self._connection.execute(
                "SELECT coalesce(provider, upstream), pending_id, id FROM exchanges WHERE pending_id IS NOT NULL"
            )
            return {(str(biller), str(id_)): str(exchange) for biller, id_, exchange in rows}

    def awaited(self, exchanges: Sequence[str]) -> set[str]:
        """Return those of the exchanges whose cost is awaited, so that they cannot be settled yet."""
        with our_errors():
            rows = self._connection.execute(
                "SELECT id FROM exchanges WHERE pending_id IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
                (_json(exchanges),),
            )
            return {str(id_) for (id_,) in rows}


class BillWriter(BillReader):
    """The bills of the one writer; its caller holds the transaction."""

    def pay(self, paid: Iterable[tuple[str, str, str, int]]) -> None:
        """Note biller, id, paying exchange and when that started; who paid first stays."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO bills (biller, id, exchange, paid_at) VALUES (?, ?, ?, ?)", paid
        )

    def settle(self, records: Sequence[Record]) -> None:
        """Note what records pay, and say of what was awaited that it is known now and where it stands."""
        self.pay(
            (record.exchange.begin.biller, id_, record.exchange.begin.id, record.exchange.begin.started_at_ms)
            for record in records
            for id_ in record.bills
        )
        for record in records:
            self.resolve(record.resolves, record.exchange.begin.id, record.cost.nano_usd)

    def resolve(self, awaited: Sequence[str], payer: str, nano_usd: int | None) -> None:
        """Say of exchanges whose cost was awaited that it stands with `payer`."""
        self._connection.executemany(
            "UPDATE exchanges SET pending_id = NULL, cost_nano_usd = 0, cost_source = 'table',"
            " cost_reason = 'billed with ' || ?1, settled_nano_usd = ?2, settled_estimate = ?3"
            " WHERE id = ?4 AND pending_id IS NOT NULL",
            [(payer, nano_usd, int(nano_usd is None), exchange) for exchange in awaited],
        )

    def give_up_waiting(self, before_ms: int) -> int:
        """Await no cost any more of what started before; return of how many. Their whole reservations are spent."""
        self._connection.execute(
            "UPDATE exchanges SET pending_id = NULL, is_unpriced = 1, cost_reason = 'billed later, never seen'"
            # The plus keeps SQLite from the index by time, through which it would read all that was ever recorded.
            " WHERE pending_id IS NOT NULL AND +started_at < ?",
            (before_ms,),
        )
        return self._connection.changes()

    def purge(self, before_ms: int) -> None:
        """Forget what was paid before."""
        self._connection.execute("DELETE FROM bills WHERE paid_at < ?", (before_ms,))


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
