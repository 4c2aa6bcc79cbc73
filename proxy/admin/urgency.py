"""Urgency: in which order budgets are shown, and which of very many are looked at for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from proxy.admin.answers import QuestionError
from proxy.admin.pace import used_share
from proxy.admin.shapes import AccountShape
from proxy.ledger.accounts import AccountRow

Order = Literal["urgency", "used", "spent", "name"]
CONSIDERED: Final = 1000
"""The pace of so many is told to find the most pressing: a budget per user has as many windows as there are users."""
_RANKS: Final = {"critical": 0, "warning": 1, "ok": 2}
_Account = AccountRow | AccountShape


def read_order(text: str) -> Order:
    """Return the order of this name."""
    if text not in _ORDERS:
        raise QuestionError(f"sort: {text} is none of {', '.join(_ORDERS)}")
    return text


def named(rows: Iterable[AccountRow], text: str) -> list[AccountRow]:
    """Return the rows whose budget or scope holds a text, in whatever case; '' is in all."""
    wanted = text.lower()
    return [row for row in rows if wanted in f"{row.budget} {row.scope}".lower()]


def ordered(rows: Iterable[AccountRow], order: Order) -> list[AccountRow]:
    """Return the rows in an order. Of `urgency` it is the first approach, made without their pace: see `urgency`."""
    return sorted(rows, key=_ORDERS[order])


def urgency(account: _Account, state: str) -> tuple[Any, ...]:
    """Return what to sort by for the most pressing to come first: what is spent, what will be, what is used most."""
    return _RANKS[state], *_by_use(account)


def _by_use(account: _Account) -> tuple[Any, ...]:
    return -used_share(account), account.budget, account.scope


_ORDERS: Final[dict[Order, Callable[[AccountRow], Any]]] = {
    # Without a scope there are few, and such a budget may refuse though it is hardly used.
    "urgency": lambda row: (row.scope != "", *_by_use(row)),
    "used": _by_use,
    "spent": lambda row: (-row.spent_nano_usd, row.budget, row.scope),
    "name": lambda row: (row.budget, row.scope),
}
ORDERS: Final = tuple(_ORDERS)
