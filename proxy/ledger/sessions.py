"""Reservations of sessions: long connections on which many responses are asked for, perhaps of several models.

A session says again and again what it has consumed and what it may consume next, in all; the reservation grows to that
and never shrinks before it is settled. What is under way is held to its end, since a provider notices late that it was
cut off. Where the budgets accept that risk, for all of it or for what says no limit of its own, it is held bit by bit,
if every token can be seen and the cap is not near.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import apsw
import msgspec

from pricing import Cost, Usage
from proxy.errors import StoreError
from proxy.ledger.accounts import AccountRow, Accounts
from proxy.ledger.demand import MAX_AMOUNT, MAX_TOKENS, Priced, bounded_cost, is_near
from proxy.reservations import Cover, Granted, Refused


class Rated(Protocol):
    """Where prices are looked up; `pricing.PriceBook` is one."""

    def rates(
        self, model: str, *, provider: str | None, at: datetime, tier: str | None = None, free: bool = False
    ) -> Priced | None:
        """Return upper bounds of a model's prices; None: it has no price."""

    def cost(
        self, usage: Usage, *, models: Sequence[str], provider: str | None, at: datetime, tier: str | None = None
    ) -> Cost:
        """Price a usage."""


def least_cost(message: Cover, rates: Sequence[Priced]) -> int:
    """Return what must be held: all that hides, all that has a limit where budgets want that, and what was asked for."""
    return max((_cost(message, each, whole=each.hides_reasoning) for each in rates), default=0)


def whole_cost(message: Cover, rates: Sequence[Priced]) -> int:
    """Return what everything under way can cost to its end."""
    return max((_cost(message, each, whole=True) for each in rates), default=0)


def _cost(message: Cover, rates: Priced, *, whole: bool) -> int:
    output = message.output_tokens
    if whole or message.holds_limited:
        output += message.unseen_tokens
    if whole:
        output += message.unlimited * rates.max_output_tokens
    return bounded_cost(rates, _count(message.input_tokens), _count(output), _count(message.tool_calls))


def _count(number: int) -> int:
    return max(0, min(number, MAX_TOKENS))


class Sessions:
    """The sessions in a ledger's database."""

    def __init__(self, connection: apsw.Connection, accounts: Accounts, book: Rated) -> None:
        self._connection = connection
        self._accounts = accounts
        self._book = book

    def cover(self, message: Cover, now_ms: int) -> Granted | Refused:
        """Hold what a session needs, or refuse and change nothing."""
        found = [self._rates(message, model, tier, now_ms) for model, tier in message.models]
        rates = [each for each in found if each is not None]
        is_unpriced = len(rates) < len(found) and not message.is_free
        if is_unpriced and message.deny_unpriced:
            unknown = next(model for (model, _), each in zip(message.models, found, strict=True) if each is None)
            return Refused(message.ticket, "unpriced", unknown or "")
        held, standing = self._held(message.exchange)
        if held is None:  # settled or given back, while this message was on its way
            return Refused(message.ticket, "budget", "")
        rows = self._rows(message, standing, now_ms)
        if not rows:
            return Granted(message.ticket, 0, None, None)
        known = min(sum(self._known(message, *each, now_ms, rates) for each in message.known), MAX_AMOUNT + 1)
        whole = max(known + whole_cost(message, rates), held)
        least = max(known + least_cost(message, rates), held) if message.is_sliced else whole
        # What has no price reserves nothing, but must not pass a budget that is used up.
        shortest = self._short(rows, standing, held, least, at_least=int(is_unpriced))
        if shortest is not None:
            return self._accounts.refused(message.ticket, shortest, least)
        has_room = self._short(rows, standing, held, whole, at_least=0) is None
        rooms = [row.room_nano_usd for row in rows if row.is_hard]
        holds_whole = whole == least or (has_room and is_near(whole - held, min(rooms, default=None)))
        nano_usd = min(whole if holds_whole else least, MAX_AMOUNT)
        self._hold(message.exchange, rows, standing, held, nano_usd, now_ms)
        covered = None if holds_whole else message.output_tokens
        after = [self._accounts.by_id(row.id) for row in rows]
        return Granted(
            message.ticket, nano_usd, covered, min((row.room_nano_usd for row in after if row.is_hard), default=None)
        )

    def _rates(self, message: Cover, model: str | None, tier: str | None, now_ms: int) -> Priced | None:
        if model is None or message.is_free:
            return None
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        return self._book.rates(model, provider=message.provider, at=at, tier=tier)

    def _known(
        self,
        message: Cover,
        model: str | None,
        tier: str | None,
        buckets: Sequence[tuple[str, int]],
        now_ms: int,
        rates: Sequence[Priced],
    ) -> int:
        """Return what was consumed for certain, in sum: as it will be settled, or at the dearest prices."""
        if message.is_free:
            return 0
        counts = {name: max(count, 0) for name, count in buckets if name in (*Usage.INPUT, *Usage.OUTPUT)}
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        usage = msgspec.convert(counts, Usage)
        models = (model,) if model is not None else ()
        cost = self._book.cost(usage, models=models, provider=message.provider, at=at, tier=tier)
        if cost.nano_usd is not None:
            return cost.nano_usd
        return max((bounded_cost(each, usage.input_tokens or 0, usage.output_tokens or 0) for each in rates), default=0)

    def _held(self, exchange: str) -> tuple[int | None, frozenset[int]]:
        """Return what is held for a session, and in which accounts; None: it has no reservation."""
        found = self._connection.execute("SELECT nano_usd FROM reservations WHERE exchange = ?", (exchange,)).fetchone()
        accounts = self._connection.execute("SELECT account FROM reservation_lines WHERE exchange = ?", (exchange,))
        return (None if found is None else int(found[0])), frozenset(int(account) for (account,) in accounts)

    def _rows(self, message: Cover, standing: frozenset[int], now_ms: int) -> list[AccountRow]:
        named = {row.id: row for row in (self._accounts.open(line, now_ms) for line in message.lines)}
        return [*named.values(), *(self._accounts.current(id_, now_ms) for id_ in standing if id_ not in named)]

    def _short(
        self, rows: Sequence[AccountRow], standing: frozenset[int], held: int, nano_usd: int, *, at_least: int
    ) -> AccountRow | None:
        """Return the tightest account that has no room for so much in all; None: all have."""
        tight = [
            row
            for row in rows
            if row.is_hard and max(nano_usd - (held if row.id in standing else 0), at_least) > row.room_nano_usd
        ]
        return min(tight, key=lambda row: row.room_nano_usd, default=None)

    def _hold(
        self,
        exchange: str,
        rows: Sequence[AccountRow],
        standing: frozenset[int],
        held: int,
        nano_usd: int,
        now_ms: int,
    ) -> None:
        self._connection.execute("UPDATE reservations SET nano_usd = ? WHERE exchange = ?", (nano_usd, exchange))
        for row in rows:
            more = nano_usd - held if row.id in standing else nano_usd
            if more and not self._accounts.hold(row.id, more):
                raise StoreError("an account changed within a transaction")
            if row.id not in standing:
                end_ms = self._accounts.bucket_of(row, now_ms)
                self._connection.execute("INSERT INTO reservation_lines VALUES (?, ?, ?)", (exchange, row.id, end_ms))
