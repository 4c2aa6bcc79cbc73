"""Budgets as they are shown: those with an account, and those that nobody has used in their current window."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.config import Config
from proxy.gates.budgets import Budgets, BudgetTemplate, key_templates, shared_templates
from proxy.ledger.accounts import AccountRow
from proxy.ledger.messages import BudgetLine


def configured_budgets(config: Config) -> tuple[BudgetTemplate, ...]:
    """Return every budget of the configuration, those of its keys first."""
    own = [template for key in config.keys for template in key_templates(key.name, key.budgets)]
    return (*own, *shared_templates(config.budgets))


def with_unused(rows: Sequence[AccountRow], configured: Sequence[BudgetTemplate], now_ms: int) -> list[AccountRow]:
    """Return the accounts and, with nothing spent, the configured budgets that have none now.

    A budget per user or key has no account of its own, so it appears only once somebody used it.
    """
    known = {row.budget for row in rows}
    whole = [template for template in configured if template.per is None and template.identity not in known]
    unused = Budgets(whole).lines(None, None, None, now_ms)
    return [*rows, *(unopened(line) for line in unused)]


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
