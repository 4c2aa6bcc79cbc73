"""Budgets as they are shown: those with an account, and those that nobody has used in their current window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proxy.config import Config
from proxy.gates.budgets import Budgets, BudgetTemplate, key_templates, shared_templates
from proxy.ledger.accounts import AccountRow
from proxy.reservations import BudgetLine


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
