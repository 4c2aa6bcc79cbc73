"""The ledger: reserve, extend, settle, release, over every budget a request falls under.

`handle` takes whatever messages have arrived and carries them out in one transaction; its answers may be sent when it
returns, for then they are durable. Money only moves so: free → reserved → spent, or reserved → free. A reservation
names its accounts for good, so it is settled in the windows in which it was admitted, whenever that happens.

Invariant: an answer `Granted` is never given for money that is not there. What a provider bills beyond a reservation
is spent nevertheless, and counted as overrun where it passes the limit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

import apsw
import msgspec

from pricing import Cost, Usage
from proxy.clock import SYSTEM, Clock
from proxy.databases import open_database
from proxy.disk import Headroom, file_identity
from proxy.errors import LedgerUnavailable, StoreDamaged, StoreError
from proxy.failpoints import failpoint
from proxy.ledger.accounts import AccountRow, Accounts
from proxy.ledger.demand import MAX_AMOUNT, Demand, Priced, bounded_cost, demand, is_near, most_tokens, next_cover
from proxy.ledger.leases import Leases, growth, tariff_of
from proxy.ledger.limits import Limiter
from proxy.ledger.sessions import Sessions
from proxy.locks import take_lock
from proxy.migrations import migrate
from proxy.reservations import (
    Account,
    Answer,
    Balance,
    Balances,
    Cover,
    Done,
    Draw,
    Drawn,
    Extend,
    Finish,
    Granted,
    Lease,
    Leased,
    Open,
    Opened,
    OpenReservation,
    Refused,
    Release,
    Request,
    Reserve,
    Return,
    Settle,
)

MIGRATIONS: Final = files("proxy.ledger") / "migrations"
_PATIENCE_MS: Final = 1000
"""For the lock of another program. Gateways wait two seconds: they shall hear no, and find the ledger ready after it."""
_TARIFF_MS: Final = 2000
"""For so long a gateway may admit by the prices that came with a lease, so those of then count as well."""
_LOOK_EVERY_S: Final = 1.0
"""Between two looks at whether the file is still the one that was opened."""
_LOG: Final = logging.getLogger(__name__)


class Book(Protocol):
    """Where the ledger looks up prices; `pricing.PriceBook` is one."""

    def rates(
        self,
        model: str,
        *,
        provider: str | None,
        at: datetime,
        tier: str | None = None,
        speed: str | None = None,
        free: bool = False,
    ) -> Priced | None:
        """Return upper bounds of a model's prices; None: it has no price."""

    def cost(
        self, usage: Usage, *, models: Sequence[str], provider: str | None, at: datetime, tier: str | None = None
    ) -> Cost:
        """Price a usage."""


@dataclass(frozen=True, slots=True)
class _Reservation:
    """A row of the table of that name."""

    exchange: str
    nano_usd: int
    model: str | None
    provider: str | None
    tier: str | None
    created_ms: int
    input_tokens: int
    output_tokens: int | None
    output_limit: int
    is_lease: bool


class Ledger:
    """All budgets and limits of one installation. Holds the lock that makes it the only writer of its database."""

    def __init__(self, path: Path, book: Book, clock: Clock = SYSTEM) -> None:
        self.failed_messages = 0
        """Messages that could not be carried out and got no answer."""
        self.lends = True
        """Leases are granted; False while somebody waits for money that others hold."""
        self._book = book
        self._clock = clock
        self._limiter = Limiter()
        self._path = path
        self._headroom = Headroom(path.parent / "run" / "headroom")
        self._look_at = 0.0
        self._lock = _lock(path.with_suffix(".lock"))
        try:
            self._connection = _open_database(path)
            self._identity = file_identity(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._accounts = Accounts(self._connection)
        self._leases = Leases(self._connection, self._accounts)
        self._sessions = Sessions(self._connection, self._accounts, book)

    def handle(self, batch: Sequence[Request]) -> list[Answer | None]:
        """Carry out `batch` in order and durably; return an answer for each message, None where there is none.

        A message that fails gets None, is logged and counted, and leaves no trace. Raises LedgerUnavailable when the
        batch could not be committed: then nothing of it has happened.
        """
        self._check_identity()
        try:
            answers = self._commit(batch)
            return self._commit_guarded(batch) if answers is None else answers
        except (apsw.Error, LedgerUnavailable) as error:
            self._abandon(batch)
            if _is_full(error) and self._headroom.give_up():
                _LOG.error("the disk is full: room that was kept for the ledger is used now")
                return self.handle(batch)
            raise LedgerUnavailable(f"ledger: {error}") from error

    def _check_identity(self) -> None:
        """Refuse when the file is not the one that was opened: what is spent stands in that one."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        if file_identity(self._path) != self._identity:
            raise LedgerUnavailable(f"{self._path.name} was deleted or replaced: put it back and start again")
        self._look_at = now + _LOOK_EVERY_S

    def _commit(self, batch: Sequence[Request]) -> list[Answer | None] | None:
        """Carry out a batch in which nothing fails; None: something did, and nothing of the batch has happened."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            answers = [self._carry_out(message) for message in batch]
        except Exception:  # noqa: BLE001 - whatever it was comes again, and is told apart and logged there
            self._abandon(batch)
            return None
        self._end()
        return answers

    def _commit_guarded(self, batch: Sequence[Request]) -> list[Answer | None]:
        """Carry out a batch of which some messages fail; the others shall not suffer for it."""
        self._connection.execute("BEGIN IMMEDIATE")
        answers = [self._guarded(message) for message in batch]
        self._end()
        return answers

    def _end(self) -> None:
        failpoint("ledger.before_commit")
        self._connection.execute("COMMIT")
        failpoint("ledger.after_commit")

    def leases_of(self, budget: str, scope: str | None) -> set[str]:
        """Return the leases that hold money of a budget, or of one share of it."""
        return self._leases.of_budget(budget, scope)

    def lent(self) -> list[str]:
        """Return the leases that nobody has returned."""
        return self._leases.unreturned()

    def disconnect(self, exchanges: Iterable[str]) -> None:
        """Free the concurrency slots of a gateway that went away."""
        for exchange in exchanges:
            self._limiter.finish(exchange)

    def close(self) -> None:
        """Close the database and let the lock go."""
        if self._lock >= 0:
            self._connection.close()
            os.close(self._lock)
            self._lock = -1

    def _guarded(self, message: Request) -> Answer | None:
        self._connection.execute("SAVEPOINT message")
        try:
            answer = self._carry_out(message)
        except Exception as error:  # one bad message must not take the others of its batch along
            if not self._connection.in_transaction:  # SQLite has rolled everything back, as it does on a full disk
                raise LedgerUnavailable(str(error)) from error
            self._connection.execute("ROLLBACK TO message")
            self.failed_messages += 1
            _LOG.exception("a message of type %s could not be carried out", type(message).__name__)
            answer = None
        self._connection.execute("RELEASE message")
        return answer

    def _carry_out(self, message: Request) -> Answer | None:
        match message:
            case Reserve():
                return self._reserve(message)
            case Extend():
                return self._extend(message)
            case Cover():
                return self._sessions.cover(message, self._clock.wall_ms())
            case Settle():
                return self._settle(message)
            case Lease():
                return self._lease(message)
            case Draw():
                return Drawn(message.ticket, self._leases.draw(message, self._clock.wall_ms()))
            case Return():
                self._leases.give_back(message)
            case Release():
                self._release(message.exchange)
            case Finish():
                self._limiter.finish(message.exchange)
            case Balance():
                return self._balance(message)
            case Open():
                return self._open(message)
        return None

    def _abandon(self, batch: Sequence[Request]) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for message in batch:
            if isinstance(message, Reserve):
                self._limiter.release(message.exchange)

    def _reserve(self, request: Reserve) -> Granted | Refused:
        if (standing := self._find(request.exchange)) is not None:
            return self._granted(request.ticket, standing)
        if self._limiter.knows(request.exchange):
            return Granted(request.ticket, 0, None, None)
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        refused = self._limiter.refusal(request, now)
        if refused is not None:
            return refused
        need = demand(request, self._rates(request, now_ms), self._units_cost(request, now_ms))
        if not need.is_priced and request.deny_unpriced and not request.is_free:
            return Refused(request.ticket, "unpriced", request.model or "")
        rows = self._rows(request, now_ms)
        need = need.with_room(_tightest_room(rows))
        if (refused := self._short(request, need, rows)) is not None:
            return refused
        remaining = self._hold(request, need, rows, now_ms) if rows or request.is_session else None
        if request.rates:
            self._limiter.charge(request.exchange, request.rates, request.input_bytes, now)
        return Granted(request.ticket, min(need.nano_usd, MAX_AMOUNT) if rows else 0, need.output_tokens, remaining)

    def _lease(self, message: Lease) -> Leased:
        like, now_ms = message.like, self._clock.wall_ms()
        prices = [each for at in (now_ms, now_ms + _TARIFF_MS) if (each := self._rates(like, at)) is not None]
        if not prices or not self.lends:
            return Leased(message.ticket, 0, None, None)
        tariff = tariff_of(prices)
        rows = self._rows(like, now_ms)
        nano_usd = growth(demand(like, tariff).nano_usd, message.count, rows)
        if not nano_usd or not self._leases.grow(message, nano_usd, rows, now_ms):
            return Leased(message.ticket, 0, None, None)
        room = _tightest_room(rows)
        return Leased(message.ticket, nano_usd, None if room is None else room - nano_usd, tariff)

    def _rows(self, request: Reserve, now_ms: int) -> list[AccountRow]:
        """Return the accounts of a request, each once."""
        return list({row.id: row for row in (self._accounts.open(line, now_ms) for line in request.lines)}.values())

    def _rates(self, request: Reserve, now_ms: int) -> Priced | None:
        if request.model is None or request.is_free:
            return None
        return self._book.rates(
            request.model, provider=request.provider, at=_moment(now_ms), tier=request.tier, speed=request.speed
        )

    def _units_cost(self, request: Reserve, now_ms: int) -> int | None:
        """Return what the units of a request that are no tokens can cost; None: there are none, or no price."""
        known = {bucket: count for bucket, count in request.units if bucket in Usage.UNITS}
        if request.model is None or request.is_free or not known:
            return None
        usage = msgspec.convert(known, Usage)
        return self._book.cost(
            usage, models=(request.model,), provider=request.provider, at=_moment(now_ms), tier=request.tier
        ).nano_usd

    def _short(self, request: Reserve, need: Demand, rows: Sequence[AccountRow]) -> Refused | None:
        """Return the refusal of the tightest account that cannot hold `need`; None: all can."""
        # A request without a known price reserves nothing, but must not pass a budget that is used up.
        least = max(need.nano_usd, 0 if need.is_priced or request.is_free else 1)
        if not least:
            return None
        tight = [row for row in rows if _held(least, row) > row.room_nano_usd]
        if not tight:
            return None
        return self._accounts.refused(request.ticket, min(tight, key=lambda row: row.room_nano_usd), need.nano_usd)

    def _hold(self, request: Reserve, need: Demand, rows: Sequence[AccountRow], now_ms: int) -> int | None:
        nano_usd = min(need.nano_usd, MAX_AMOUNT) if rows else 0
        self._connection.execute(
            "INSERT INTO reservations (exchange, owner, created_ms, nano_usd, model, provider, tier, input_tokens,"
            " output_tokens, output_limit) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.exchange,
                request.owner,
                now_ms,
                nano_usd,
                request.model,
                request.provider,
                request.tier,
                need.input_tokens,
                need.output_tokens,
                need.output_limit,
            ),
        )
        for row in rows:
            self._hold_in(row.id, nano_usd)
            end_ms = self._accounts.bucket_of(row, now_ms)
            self._connection.execute(
                "INSERT INTO reservation_lines VALUES (?, ?, ?)", (request.exchange, row.id, end_ms)
            )
        return min((row.room_nano_usd - nano_usd for row in rows if row.is_hard), default=None)

    def _hold_in(self, account: int, nano_usd: int) -> None:
        if nano_usd and not self._accounts.hold(account, nano_usd):
            raise StoreError("an account changed within a transaction")

    def _extend(self, message: Extend) -> Granted | Refused:
        standing = self._find(message.exchange)
        if standing is None:
            return Refused(message.ticket, "budget", "")
        asked = max(0, min(message.output_tokens, standing.output_limit))
        if standing.output_tokens is None or asked <= standing.output_tokens:
            return self._granted(message.ticket, standing)
        rates = self._standing_rates(standing)
        if rates is None:  # the price was taken out of the configuration; what is reserved stays
            return self._granted(message.ticket, standing)
        return self._cover(message.ticket, standing, asked, rates)

    def _cover(self, ticket: int, standing: _Reservation, asked: int, rates: Priced) -> Granted | Refused:
        def more_for(tokens: int) -> int:
            return max(0, bounded_cost(rates, standing.input_tokens, tokens) - standing.nano_usd)

        now_ms = self._clock.wall_ms()
        rows = [self._accounts.current(account, now_ms) for account, _ in self._lines(standing.exchange)]
        tightest = min(rows, key=lambda row: row.room_nano_usd)
        room = min(tightest.room_nano_usd, MAX_AMOUNT - standing.nano_usd)
        limit = standing.output_limit
        aim = limit if is_near(more_for(limit), room) else next_cover(asked, standing.output_tokens or 0, limit)
        tokens = most_tokens(asked, aim, more_for, room)
        if tokens is None:
            return self._accounts.refused(ticket, tightest, more_for(asked))
        more = more_for(tokens)
        for row in rows:
            self._hold_in(row.id, more)
        covered = tokens if tokens < standing.output_limit else None
        self._connection.execute(
            "UPDATE reservations SET nano_usd = nano_usd + ?, output_tokens = ? WHERE exchange = ?",
            (more, covered, standing.exchange),
        )
        return Granted(ticket, standing.nano_usd + more, covered, self._remaining(standing.exchange))

    def _settle(self, message: Settle) -> Done:
        tokens = None if message.input_tokens is None else message.input_tokens + (message.output_tokens or 0)
        self._limiter.settle(message.exchange, tokens, self._clock.monotonic())
        standing = self._find(message.exchange)
        if standing is not None:
            nano_usd = standing.nano_usd if message.nano_usd is None else max(0, min(message.nano_usd, MAX_AMOUNT))
            for account, end_ms in self._lines(message.exchange):
                bucket = self._leases.bucket_of(account, self._clock.wall_ms()) if standing.is_lease else end_ms
                self._accounts.spend(account, nano_usd, standing.nano_usd, bucket)
            self._delete(message.exchange)
        return Done(message.ticket)

    def _release(self, exchange: str) -> None:
        self._limiter.release(exchange)
        standing = self._find(exchange)
        if standing is not None:
            for account, _ in self._lines(exchange):
                self._accounts.give_back(account, standing.nano_usd)
            self._delete(exchange)

    def _balance(self, message: Balance) -> Balances:
        rows = [self._accounts.look(line, self._clock.wall_ms()) for line in message.lines]
        return Balances(message.ticket, tuple(_account(row) for row in rows))

    def _open(self, message: Open) -> Opened:
        rows = self._connection.execute(
            "SELECT exchange, owner, nano_usd, created_ms, drawn_nano_usd FROM reservations"
            " WHERE ?1 IN ('', owner) ORDER BY exchange",
            (message.owner,),
        )
        return Opened(message.ticket, tuple(OpenReservation(*row) for row in rows))

    def _find(self, exchange: str) -> _Reservation | None:
        found = self._connection.execute(
            "SELECT exchange, nano_usd, model, provider, tier, created_ms, input_tokens, output_tokens, output_limit,"
            " is_lease FROM reservations WHERE exchange = ?",
            (exchange,),
        ).fetchone()
        return None if found is None else _Reservation(*found)

    def _lines(self, exchange: str) -> list[tuple[int, int | None]]:
        """Return account and bucket of each line of a reservation."""
        sql = "SELECT account, bucket_end_ms FROM reservation_lines WHERE exchange = ?"
        return list(self._connection.execute(sql, (exchange,)))

    def _delete(self, exchange: str) -> None:
        self._connection.execute("DELETE FROM reservation_lines WHERE exchange = ?", (exchange,))
        self._connection.execute("DELETE FROM reservations WHERE exchange = ?", (exchange,))

    def _standing_rates(self, standing: _Reservation) -> Priced | None:
        if standing.model is None:
            return None
        at = _moment(standing.created_ms)
        return self._book.rates(standing.model, provider=standing.provider, at=at, tier=standing.tier)

    def _granted(self, ticket: int, standing: _Reservation) -> Granted:
        return Granted(ticket, standing.nano_usd, standing.output_tokens, self._remaining(standing.exchange))

    def _remaining(self, exchange: str) -> int | None:
        rows = (self._accounts.by_id(account) for account, _ in self._lines(exchange))
        return min((row.room_nano_usd for row in rows if row.is_hard), default=None)


def _tightest_room(rows: Sequence[AccountRow]) -> int | None:
    return min((row.room_nano_usd for row in rows if row.is_hard), default=None)


def _open_database(path: Path) -> apsw.Connection:
    try:
        # At the start the patience is only ever spent on a reader that closes as the last one.
        connection = open_database(path, "write", busy_ms=5000)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        migrate(connection, MIGRATIONS)
        _check(connection)
        connection.set_busy_timeout(_PATIENCE_MS)
    except (apsw.CorruptError, apsw.NotADBError, StoreDamaged) as error:
        # To begin with an empty one would be to forget what is spent.
        raise StoreDamaged(
            f"{path.name} is damaged: restore it (`glassline restore`), or move it away to begin with nothing spent"
            f" ({error})"
        ) from error
    except apsw.Error as error:
        raise StoreError(f"{path.name}: {error}") from error
    return connection


def _check(connection: apsw.Connection) -> None:
    """Raise StoreDamaged when pages or rows are in disorder. It is a small database, so all of it is looked at."""
    verdict = connection.pragma("quick_check")
    if verdict != "ok" or connection.execute("PRAGMA foreign_key_check").fetchall():
        raise StoreDamaged(str(verdict).splitlines()[0])


def _is_full(error: Exception) -> bool:
    return isinstance(error, apsw.FullError) or isinstance(error.__cause__, apsw.FullError)


def _lock(path: Path) -> int:
    try:
        lock = take_lock(path)
    except OSError as error:
        raise StoreError(f"{path.name}: {error.strerror}") from error
    if lock is None:
        raise StoreError(f"{path.name}: another ledger is running")
    return lock


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _held(nano_usd: int, row: AccountRow) -> int:
    """Return what a demand takes from an account: soft ones hold at most `MAX_AMOUNT` of it, hard ones refuse more."""
    return nano_usd if row.is_hard else min(nano_usd, MAX_AMOUNT)


def _account(row: AccountRow) -> Account:
    return Account(
        row.budget,
        row.scope,
        row.limit_nano_usd,
        row.spent_nano_usd,
        row.reserved_nano_usd,
        row.resets_at_ms,
        row.overrun_nano_usd,
    )
