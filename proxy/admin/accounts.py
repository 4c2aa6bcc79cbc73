"""Budgets as they are shown: those with an account, and those that nobody has used in their current window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from proxy.config import Config
from proxy.gates.budgets import Budgets, BudgetTemplate, key_templates, shared_templates
from proxy.gates.windows import window_at
from proxy.ledger.accounts import AccountRow
from proxy.reservations import BudgetLine

_HOUR_MS: Final = 3_600_000


def configured_budgets(config: Config) -> tuple[BudgetTemplate, ...]:
    """Return every budget of the configuration, those of its keys first."""
    own = [template for key in config.keys for template in key_templates(key.name, key.budgets)]
    return (*own, *shared_templates(config.budgets))


def as_configured(rows: Sequence[AccountRow], configured: Sequence[BudgetTemplate], now_ms: int) -> list[AccountRow]:
    """Return the accounts as the next request will find them.

    The ledger learns of a changed limit with the next request, and opens an account with the first one of a window; so
    limits are taken from the configuration, and a budget without an account is shown with nothing spent. A budget per
    user or key has no account of its own and appears only once somebody used it.
    """
    templates = {template.identity: template for template in configured}
    known = {row.budget for row in rows}
    unused = [each for each in configured if each.per is None and each.identity not in known]
    lines = Budgets(unused).lines(None, None, None, now_ms)
    return [*(_reshaped(row, templates.get(row.budget)) for row in rows), *(unopened(line) for line in lines)]


def key_of(budget: str) -> str | None:
    """Return the name of the key that a budget belongs to; None: it is one across keys."""
    key, slash, _ = budget.partition("/")
    return key if slash else None


def hourly_pace(configured: Sequence[BudgetTemplate], now_ms: int) -> int | None:
    """Return the nano-USD an hour at which the tightest budget of all traffic lasts; None: there is no such budget."""
    paces = [
        template.limit_nano_usd * _HOUR_MS // length
        for template in configured
        if key_of(template.identity) is None
        and template.per is None
        and not template.models
        and (length := window_ms(template, now_ms))
    ]
    return min(paces, default=None)


def window_ms(template: BudgetTemplate, now_ms: int) -> int | None:
    """Return how long the window of a budget is now; None: it never ends."""
    if template.rolling_ms is not None:
        return template.rolling_ms
    start, end = window_at(template.window or "total", template.zone, now_ms)
    return None if end is None else end - start


def _reshaped(row: AccountRow, template: BudgetTemplate | None) -> AccountRow:
    if template is None:
        return row
    return replace(row, limit_nano_usd=template.limit_nano_usd, is_hard=template.is_hard)


def unopened(line: BudgetLine) -> AccountRow:
    """Return the account that the ledger would open for `line`."""
    return AccountRow(
        id=0,
        budget=line.budget,
        scope=line.scope,
        window_start_ms=line.window_start_ms,
        window_end_ms=line.window_end_ms,
        rolling_ms=line.rolling_ms,
        is_hard=line.is_hard,
        limit_nano_usd=line.limit_nano_usd,
        spent_nano_usd=0,
        reserved_nano_usd=0,
        overrun_nano_usd=0,
    )
