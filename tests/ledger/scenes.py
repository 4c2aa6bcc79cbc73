"""What the tests of the ledger share: a price book with round prices, a clock to turn by hand, short ways to ask."""

from __future__ import annotations

import functools
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import msgspec

from pricing import Override, PriceBook
from proxy.clock import Clock
from proxy.databases import open_database
from proxy.ledger.ledger import Ledger
from proxy.reservations import Balance, Balances, BudgetLine, Granted, OpenReservation, RateRule, Refused, Reserve

VISIBLE = "gpt-4o-mini"
"""Puts out at most 16,384 tokens, each of which can be seen."""
HIDING = "gpt-5-mini"
"""Puts out at most 128,000 tokens, reasoning included."""
INPUT, OUTPUT = 1000, 2000
"""nano-USD per token, of both models."""
DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
"""Noon of some day, UTC."""
DOLLAR = 10**9


@functools.cache
def price_book() -> PriceBook:
    return PriceBook([Override(model=model, input=Decimal(1), output=Decimal(2)) for model in (VISIBLE, HIDING)])


class Hands(msgspec.Struct):
    """A clock that only moves when told to."""

    wall_ms: int = NOON_MS
    monotonic: float = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall_ms, lambda: self.monotonic)

    def advance(self, seconds: float) -> None:
        self.wall_ms += int(seconds * 1000)
        self.monotonic += seconds


def total(limit: int, budget: str = "total", scope: str = "", *, is_hard: bool = True) -> BudgetLine:
    return BudgetLine(budget, scope, limit, is_hard, 0, None)


def daily(limit: int, now_ms: int, budget: str = "daily", scope: str = "", *, is_hard: bool = True) -> BudgetLine:
    start = now_ms - now_ms % DAY_MS
    return BudgetLine(budget, scope, limit, is_hard, start, start + DAY_MS)


def rolling(limit: int, length_ms: int, budget: str = "rolling") -> BudgetLine:
    return BudgetLine(budget, "", limit, True, 0, None, length_ms)


def request(
    exchange: str,
    *lines: BudgetLine,
    input_bytes: int = 1000,
    max_output_tokens: int | None = 100,
    model: str | None = VISIBLE,
    choices: int = 1,
    is_sliced: bool = False,
    is_free: bool = False,
    endpoint: str = "chat",
    rates: tuple[RateRule, ...] = (),
    deny_unpriced: bool = False,
    owner: str = "gateway",
    **more: Any,
) -> Reserve:
    """Return a request for admission. As it stands it needs 1,000 * INPUT + 100 * OUTPUT nano-USD, which is NEED."""
    return Reserve(
        ticket=7,
        exchange=exchange,
        owner=owner,
        model=model,
        provider="openai",
        is_free=is_free,
        endpoint=endpoint,
        input_bytes=input_bytes,
        max_output_tokens=max_output_tokens,
        choices=choices,
        is_sliced=is_sliced,
        tier=None,
        lines=lines,
        rates=rates,
        deny_unpriced=deny_unpriced,
        **more,
    )


NEED = 1_200_000
"""nano-USD that `request` reserves as it stands."""


def ask(ledger: Ledger, message: Reserve) -> Granted | Refused:
    (answer,) = ledger.handle([message])
    assert isinstance(answer, Granted | Refused)
    return answer


def granted(ledger: Ledger, message: Reserve) -> Granted:
    answer = ask(ledger, message)
    assert isinstance(answer, Granted), answer
    return answer


def refused(ledger: Ledger, message: Reserve) -> Refused:
    answer = ask(ledger, message)
    assert isinstance(answer, Refused), answer
    return answer


def balance(ledger: Ledger, line: BudgetLine) -> tuple[int, int]:
    """Return what is spent and what is reserved."""
    (answer,) = ledger.handle([Balance(0, (line,))])
    assert isinstance(answer, Balances)
    (account,) = answer.accounts
    return account.spent_nano_usd, account.reserved_nano_usd


def overrun(path: Path, budget: str) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        sql = "SELECT sum(overrun_nano_usd) FROM accounts WHERE budget = ?"
        return int(connection.execute(sql, (budget,)).get)
    finally:
        connection.close()


def open_reservations(path: Path) -> list[OpenReservation]:
    """Return the reservations that stand in a ledger.db, oldest first."""
    sql = "SELECT exchange, owner, nano_usd, created_ms FROM reservations ORDER BY created_ms, exchange"
    with closing(open_database(path, "read")) as connection:
        return [OpenReservation(*row) for row in connection.execute(sql)]
