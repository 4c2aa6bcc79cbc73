"""Leases in a ledger's database: money set aside for a gateway, which admits requests under it by itself.

A lease is a reservation whose requests are not listed here. The journal has them: each `Begin` says what it took from
which lease, so the recorder tells in one message what the requests that it has settled had of a lease and what they
cost, counted from its beginning. Whatever died meanwhile, that can be told again.

A lease is a small part of what the account has left, and there is none near the cap. What is held by leases that are
not used up shall block nobody: see `proxy.ledger.server`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from proxy.errors import StoreError
from proxy.ledger.accounts import AccountRow, Accounts
from proxy.ledger.demand import LEAST_REQUESTS, MAX_AMOUNT, Priced
from proxy.reservations import MILLION, Draw, Lease, Return, Tariff

SHARE: Final = 32
"""A lease grows by no more than this part of what the tightest budget has left. Ours: eight gateways that all just asked
leave three quarters of it to others. Where `SHARE * LEAST_REQUESTS` do not fit there is none."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A lease in the table of reservations."""

    held: int
    drawn: int
    spent: int
    is_returned: bool

    @property
    def granted(self) -> int:
        return self.held + self.drawn


def tariff_of(rates: Sequence[Priced]) -> Tariff:
    """Return the upper bound of several prices, each of which grows in proportion to the tokens."""
    return Tariff(
        max(each.upper_bound(MILLION, 0) - each.upper_bound(0, 0) for each in rates),
        max(each.upper_bound(0, MILLION) - each.upper_bound(0, 0) for each in rates),
        max(each.upper_bound(0, 0) for each in rates),
        max(each.max_output_tokens for each in rates),
        any(each.hides_reasoning for each in rates),
    )


def growth(each: int, count: int, rows: Sequence[AccountRow]) -> int:
    """Return by how much a lease may grow for `count` requests of `each` nano-USD; 0: the cap is near."""
    room = min((row.room_nano_usd for row in rows if row.is_hard), default=MAX_AMOUNT)
    nano_usd = min(each * count, room // SHARE, MAX_AMOUNT)
    return nano_usd if each > 0 and nano_usd >= LEAST_REQUESTS * each else 0


class Leases:
    """The leases in one database."""

    def __init__(self, connection: apsw.Connection, accounts: Accounts) -> None:
        self._connection = connection
        self._accounts = accounts

    def grow(self, message: Lease, nano_usd: int, rows: Sequence[AccountRow], now_ms: int) -> bool:
        """Set `nano_usd` more aside in every account; say whether it was done: a lease keeps its accounts, and has one life."""
        standing = self._find(message.lease)
        if standing is None and message.granted_nano_usd:
            return False  # it was settled as a whole
        if standing is None:
            self._insert(message, rows, now_ms)
        elif standing.is_returned or {row.id for row in rows} != set(self._lines(message.lease)):
            return False
        for row in rows:
            if not self._accounts.hold(row.id, nano_usd):
                raise StoreError("an account changed within a transaction")
        self._connection.execute(
            "UPDATE reservations SET nano_usd = nano_usd + ? WHERE exchange = ?", (nano_usd, message.lease)
        )
        return True

    def give_back(self, message: Return) -> None:
        """Give back what admitted requests have not taken."""
        standing = self._find(message.lease)
        if standing is None:
            return
        unused = max(0, min(standing.held, standing.granted - message.used_nano_usd))
        for account in self._lines(message.lease):
            self._accounts.give_back(account, unused)
        self._connection.execute(
            "UPDATE reservations SET nano_usd = nano_usd - ?, is_returned = 1 WHERE exchange = ?",
            (unused, message.lease),
        )
        self._end(message.lease)

    def draw(self, message: Draw, now_ms: int) -> bool:
        """Settle what was not settled before; say whether the lease is open still."""
        standing = self._find(message.lease)
        if standing is None:
            return False
        drawn = max(0, message.drawn_nano_usd - standing.drawn)
        spent = max(0, message.spent_nano_usd - standing.spent)
        held = min(drawn, standing.held)
        for account in self._lines(message.lease):
            self._accounts.spend(account, spent, held, self.bucket_of(account, now_ms))
        self._connection.execute(
            "UPDATE reservations SET nano_usd = nano_usd - ?, drawn_nano_usd = drawn_nano_usd + ?,"
            " spent_nano_usd = spent_nano_usd + ? WHERE exchange = ?",
            (held, drawn, spent, message.lease),
        )
        return not self._end(message.lease)

    def bucket_of(self, account: int, now_ms: int) -> int | None:
        """Return the newest bucket: requests came at any time since the lease began, and none may be forgotten early."""
        return self._accounts.bucket_of(self._accounts.by_id(account), now_ms)

    def of_budget(self, budget: str, scope: str | None = None) -> set[str]:
        """Return the leases that hold money of a budget, in any window; `scope` None: in any scope."""
        sql = (
            "SELECT r.exchange FROM reservations r INDEXED BY leases CROSS JOIN reservation_lines l"
            " ON l.exchange = r.exchange JOIN accounts a ON a.id = l.account"
            " WHERE r.is_lease = 1 AND a.budget = ?1 AND a.scope = coalesce(?2, a.scope)"
        )
        return {str(lease) for (lease,) in self._connection.execute(sql, (budget, scope))}

    def unreturned(self) -> list[str]:
        """Return the leases that nobody has returned."""
        sql = "SELECT exchange FROM reservations INDEXED BY leases WHERE is_lease = 1 AND NOT is_returned"
        return [str(lease) for (lease,) in self._connection.execute(sql)]

    def _insert(self, message: Lease, rows: Sequence[AccountRow], now_ms: int) -> None:
        like = message.like
        self._connection.execute(
            "INSERT INTO reservations (exchange, owner, created_ms, nano_usd, model, provider, tier, input_tokens,"
            " output_limit, is_lease) VALUES (?, ?, ?, 0, ?, ?, ?, 0, 0, 1)",
            (message.lease, like.owner, now_ms, like.model, like.provider, like.tier),
        )
        for row in rows:
            end_ms = self._accounts.bucket_of(row, now_ms)
            self._connection.execute("INSERT INTO reservation_lines VALUES (?, ?, ?)", (message.lease, row.id, end_ms))

    def _find(self, lease: str) -> _Row | None:
        found = self._connection.execute(
            "SELECT nano_usd, drawn_nano_usd, spent_nano_usd, is_returned FROM reservations"
            " WHERE exchange = ? AND is_lease",
            (lease,),
        ).fetchone()
        return None if found is None else _Row(found[0], found[1], found[2], bool(found[3]))

    def _lines(self, lease: str) -> list[int]:
        sql = "SELECT account FROM reservation_lines WHERE exchange = ?"
        return [int(account) for (account,) in self._connection.execute(sql, (lease,))]

    def _end(self, lease: str) -> bool:
        """Forget a lease that holds nothing and will not; say whether it was one."""
        over = "(SELECT exchange FROM reservations WHERE exchange = ?1 AND is_returned AND nano_usd = 0)"
        self._connection.execute(f"DELETE FROM reservation_lines WHERE exchange IN {over}", (lease,))  # noqa: S608
        self._connection.execute(
            "DELETE FROM reservations WHERE exchange = ?1 AND is_returned AND nano_usd = 0", (lease,)
        )
        return self._connection.changes() == 1
