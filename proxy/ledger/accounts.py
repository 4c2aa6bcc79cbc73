"""The accounts of ledger.db: how much of which budget is spent and promised, in which window.

An account is one window of one budget for one scope. Invariant, guarded by every statement here and by the CHECKs of
the schema: `spent + reserved <= granted + overrun` for hard budgets, where `granted` is the limit, or, after the limit
was lowered, what had been committed by then and still is. Nothing here opens or ends a transaction.

A window that is older than the newest one known for the same budget and scope is never used again: a clock that went
back finds the newest account, with what was spent in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import apsw

from proxy.ledger.demand import MAX_AMOUNT
from proxy.reservations import BudgetLine, Refused

CEILING: Final = 9 * 10**18
"""nano-USD that an account can hold; below the 64 bits of SQLite's integers, with room for one more amount."""
BUCKETS_PER_WINDOW: Final = 60
MIN_BUCKET_MS: Final = 1000
_COLUMNS: Final = (
    "id, budget, scope, window_start_ms, window_end_ms, rolling_ms, is_hard,"
    " limit_nano_usd, spent_nano_usd, reserved_nano_usd, overrun_nano_usd"
)
_NEWEST: Final = (
    f"SELECT {_COLUMNS} FROM accounts WHERE budget = ? AND scope = ? AND window_start_ms >= ?"  # noqa: S608 - constants
    " ORDER BY window_start_ms DESC LIMIT 1"
)
_EXACT: Final = f"SELECT {_COLUMNS} FROM accounts WHERE budget = ? AND scope = ? AND window_start_ms = ?"  # noqa: S608 - constants
_INSERT: Final = """
INSERT INTO accounts
    (budget, scope, window_start_ms, window_end_ms, rolling_ms, is_hard, limit_nano_usd, granted_nano_usd)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_RESHAPE: Final = """
UPDATE accounts SET window_end_ms = ?2, rolling_ms = ?3, is_hard = ?4, limit_nano_usd = ?5,
    granted_nano_usd = CASE WHEN ?4 THEN max(?5, spent_nano_usd + reserved_nano_usd - overrun_nano_usd) END
WHERE id = ?1
"""
_HOLD: Final = """
UPDATE accounts SET reserved_nano_usd = reserved_nano_usd + ?2
WHERE id = ?1 AND spent_nano_usd + reserved_nano_usd + ?2 <= CASE WHEN is_hard THEN limit_nano_usd ELSE ?3 END
"""
_LESS: Final = "max(limit_nano_usd, min(granted_nano_usd, spent_nano_usd + reserved_nano_usd - ?2 - overrun_nano_usd))"
"""What remains of `granted` when `?2` less is committed: it falls with that, down to the limit; NULL stays NULL."""
_GIVE_BACK: Final = f"""
UPDATE accounts SET reserved_nano_usd = reserved_nano_usd - ?2, granted_nano_usd = {_LESS} WHERE id = ?1
"""  # noqa: S608 - constants
_FORGET: Final = f"""
UPDATE accounts SET spent_nano_usd = spent_nano_usd - ?2, granted_nano_usd = {_LESS},
    overrun_nano_usd = max(0, min(overrun_nano_usd, spent_nano_usd + reserved_nano_usd - ?2 - limit_nano_usd))
WHERE id = ?1
"""  # noqa: S608 - constants
_SPEND: Final = """
UPDATE accounts SET spent_nano_usd = spent_nano_usd + ?2, reserved_nano_usd = reserved_nano_usd - ?3,
    overrun_nano_usd = overrun_nano_usd + CASE WHEN granted_nano_usd IS NULL THEN 0 ELSE
        max(0, spent_nano_usd + ?2 + reserved_nano_usd - ?3 - granted_nano_usd - overrun_nano_usd) END,
    granted_nano_usd = max(limit_nano_usd,
        min(granted_nano_usd, spent_nano_usd + ?2 + reserved_nano_usd - ?3 - overrun_nano_usd))
WHERE id = ?1
"""
_FILL_BUCKET: Final = """
INSERT INTO buckets (account, end_ms, spent_nano_usd) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET spent_nano_usd = spent_nano_usd + excluded.spent_nano_usd
"""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One window of one budget for one scope."""

    id: int
    """Row id; 0: the account has not been opened yet."""
    budget: str
    scope: str
    window_start_ms: int
    """0: total or rolling."""
    window_end_ms: int | None
    """When it resets; None: total or rolling."""
    rolling_ms: int | None
    """Length of a rolling window; None: not rolling."""
    is_hard: bool
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    overrun_nano_usd: int
    """What providers billed beyond both the reservation and the limit; in a rolling window, what of it still counts."""

    @property
    def room_nano_usd(self) -> int:
        """What is left for new reservations; negative after an overrun or when the limit was lowered."""
        limit = self.limit_nano_usd if self.is_hard else CEILING
        return limit - self.spent_nano_usd - self.reserved_nano_usd

    @property
    def resets_at_ms(self) -> int | None:
        """When everything spent is forgotten at once; None: never, or bit by bit."""
        return self.window_end_ms


class Accounts:
    """The accounts of one database."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def open(self, line: BudgetLine, now_ms: int) -> AccountRow:
        """Return the account behind `line` in the shape that `line` states, opened when it is new."""
        row = self._find(line)
        if row is None:
            row = self._insert(line)
        elif _has_changed(row, line):
            row = self._reshape(row, line, now_ms)
        return row if row.rolling_ms is None else self._expire(row, row.rolling_ms, now_ms)

    def look(self, line: BudgetLine, now_ms: int) -> AccountRow:
        """Return the account behind `line` as `open` would, and change nothing."""
        row = self._find(line)
        if row is None:
            return AccountRow(0, *_shape(line), 0, 0, 0)
        if row.rolling_ms is not None:
            row = _less_spent(row, self._expired(row.id, now_ms - row.rolling_ms))
        return row

    def hold(self, account: int, nano_usd: int) -> bool:
        """Reserve `nano_usd` if the account has room; say whether it had."""
        self._connection.execute(_HOLD, (account, nano_usd, CEILING))
        return self._connection.changes() == 1

    def give_back(self, account: int, nano_usd: int) -> None:
        """Return a reservation unspent."""
        self._connection.execute(_GIVE_BACK, (account, nano_usd))

    def spend(self, account: int, nano_usd: int, held_nano_usd: int, bucket_end_ms: int | None) -> None:
        """Turn a reservation of `held_nano_usd` into spending of `nano_usd`, more or less."""
        room = CEILING - self.committed(account) + held_nano_usd
        nano_usd = max(0, min(nano_usd, room))
        self._connection.execute(_SPEND, (account, nano_usd, held_nano_usd))
        if bucket_end_ms is not None and nano_usd:
            self._connection.execute(_FILL_BUCKET, (account, bucket_end_ms, nano_usd))

    def committed(self, account: int) -> int:
        """Return what is spent and reserved."""
        return self._number("SELECT spent_nano_usd + reserved_nano_usd FROM accounts WHERE id = ?", account)

    def by_id(self, account: int) -> AccountRow:
        """Return one account as its row stands."""
        row = self._row(f"SELECT {_COLUMNS} FROM accounts WHERE id = ?", (account,))  # noqa: S608 - constants
        if row is None:
            raise KeyError(account)
        return row

    def current(self, account: int, now_ms: int) -> AccountRow:
        """Return one account after forgetting what has left its rolling window."""
        row = self.by_id(account)
        return row if row.rolling_ms is None else self._expire(row, row.rolling_ms, now_ms)

    def bucket_of(self, row: AccountRow, now_ms: int) -> int | None:
        """Return the bucket to which a reservation made now belongs; None: the account is not rolling.

        A clock that went back finds the newest bucket: what is spent must not leave the window earlier for that. One
        that had been further ahead than the window is long is not believed that far.
        """
        if row.rolling_ms is None:
            return None
        newest = self._number("SELECT coalesce(max(end_ms), 0) FROM buckets WHERE account = ?", row.id)
        return max(bucket_end(now_ms, row.rolling_ms), min(newest, bucket_end(now_ms + row.rolling_ms, row.rolling_ms)))

    def refused(self, ticket: int, row: AccountRow, needed: int) -> Refused:
        """Return the refusal of an amount that does not fit into this account."""
        return Refused(
            ticket,
            "budget",
            row.budget,
            row.limit_nano_usd,
            row.spent_nano_usd,
            row.reserved_nano_usd,
            needed,
            self._fits_at(row, needed),
        )

    def _fits_at(self, row: AccountRow, nano_usd: int) -> int | None:
        """Return when a refused amount would fit; None: not foreseeable."""
        if nano_usd > row.limit_nano_usd or row.rolling_ms is None:
            return row.window_end_ms
        missing = nano_usd - row.room_nano_usd
        sql = "SELECT end_ms, spent_nano_usd FROM buckets WHERE account = ? ORDER BY end_ms"
        for end_ms, spent in self._connection.execute(sql, (row.id,)):
            missing -= spent
            if missing <= 0:
                return int(end_ms) + row.rolling_ms
        return None

    def _find(self, line: BudgetLine) -> AccountRow | None:
        place = (line.budget, line.scope, line.window_start_ms)
        newest = self._row(_NEWEST, place)
        if newest is None or newest.window_start_ms == line.window_start_ms:
            return newest
        if line.window_end_ms is not None and line.window_end_ms <= newest.window_start_ms:
            return newest  # the clock went back, or a gateway is late: money stays spent where it was
        return self._row(_EXACT, place)  # the windows overlap: the budget's configuration changed

    def _insert(self, line: BudgetLine) -> AccountRow:
        shape = _shape(line)
        self._connection.execute(_INSERT, (*shape, _limit(line) if line.is_hard else None))
        return AccountRow(self._connection.last_insert_rowid(), *shape, 0, 0, 0)

    def _reshape(self, row: AccountRow, line: BudgetLine, now_ms: int) -> AccountRow:
        end_ms = row.window_end_ms if row.window_start_ms > line.window_start_ms else line.window_end_ms
        self._connection.execute(_RESHAPE, (row.id, end_ms, line.rolling_ms, line.is_hard, _limit(line)))
        if row.rolling_ms is not None and line.rolling_ms is None:
            self._connection.execute("DELETE FROM buckets WHERE account = ?", (row.id,))
        elif row.rolling_ms is None and line.rolling_ms is not None and row.spent_nano_usd:
            end_ms = bucket_end(now_ms, line.rolling_ms)
            self._connection.execute(_FILL_BUCKET, (row.id, end_ms, row.spent_nano_usd))
        return self.by_id(row.id)

    def _expire(self, row: AccountRow, rolling_ms: int, now_ms: int) -> AccountRow:
        left_ms = now_ms - rolling_ms
        expired = self._expired(row.id, left_ms)
        if expired:
            self._connection.execute(_FORGET, (row.id, expired))
            self._connection.execute("DELETE FROM buckets WHERE account = ? AND end_ms <= ?", (row.id, left_ms))
        return _less_spent(row, expired)

    def _expired(self, account: int, left_ms: int) -> int:
        sql = "SELECT coalesce(sum(spent_nano_usd), 0) FROM buckets WHERE account = ? AND end_ms <= ?"
        return self._number(sql, account, left_ms)

    def _row(self, sql: str, values: tuple[str | int, ...]) -> AccountRow | None:
        found = self._connection.execute(sql, values).fetchone()
        return None if found is None else account_row(found)

    def _number(self, sql: str, *values: int) -> int:
        found = self._connection.execute(sql, values).fetchone()
        if found is None:
            raise KeyError(values)
        return int(found[0])


def account_row(values: tuple[Any, ...]) -> AccountRow:
    """Return the account that a row of `_COLUMNS` holds."""
    number, budget, scope, start_ms, end_ms, rolling_ms, is_hard, *amounts = values
    return AccountRow(number, budget, scope, start_ms, end_ms, rolling_ms, bool(is_hard), *amounts)


def bucket_end(now_ms: int, rolling_ms: int) -> int:
    """Return the end of the sub-bucket of a rolling window that `now_ms` falls into."""
    width = max(MIN_BUCKET_MS, rolling_ms // BUCKETS_PER_WINDOW)
    return (now_ms // width + 1) * width


def _limit(line: BudgetLine) -> int:
    return max(0, min(line.limit_nano_usd, MAX_AMOUNT))


def _shape(line: BudgetLine) -> tuple[str, str, int, int | None, int | None, bool, int]:
    return (
        line.budget,
        line.scope,
        line.window_start_ms,
        line.window_end_ms,
        line.rolling_ms,
        line.is_hard,
        _limit(line),
    )


def _has_changed(row: AccountRow, line: BudgetLine) -> bool:
    if (row.limit_nano_usd, row.is_hard, row.rolling_ms) != (_limit(line), line.is_hard, line.rolling_ms):
        return True
    return row.window_start_ms == line.window_start_ms and row.window_end_ms != line.window_end_ms


def _less_spent(row: AccountRow, expired: int) -> AccountRow:
    """Return the account as `_FORGET` leaves it."""
    if not expired:
        return row
    spent = row.spent_nano_usd - expired
    beyond = spent + row.reserved_nano_usd - row.limit_nano_usd
    return replace(row, spent_nano_usd=spent, overrun_nano_usd=max(0, min(row.overrun_nano_usd, beyond)))
