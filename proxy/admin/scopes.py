"""Scopes: which sums tell what is spent under a budget. They are of records; the ledger's own amounts decide.

A budget counts what it admitted, and the sums what was recorded, so they differ by what is open, by requests from before
the budget was made, and by users whose names the budget's key does not trust.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.admin.accounts import key_of
from proxy.gates.budgets import NOBODY, BudgetTemplate
from proxy.store.rollups import OTHER, Dimension
from proxy.store.spending import Leaf


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the spending of a budget is summed."""

    dimension: Dimension
    matches: Callable[[str, str], bool]
    """Of value and part of a sum."""
    value: str | None = None
    """The one value that counts. None: several."""
    is_by_day: bool = False
    key_and_model: Callable[[str, str], tuple[str, str]] | None = None
    """From the key and model of a row to value and part of its sum. None: these do not tell it."""


class Sums:
    """What was spent, by value: what one key spent is found without a look at ten thousand others."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self._by_value: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            self._by_value.setdefault(leaf.names[0], []).append(leaf)

    def spent(self, scope: Scope) -> int:
        """Return what was spent in a scope, in nano-USD."""
        groups = self._by_value.values() if scope.value is None else [self._by_value.get(scope.value, [])]
        return sum(leaf.cost_nano_usd for group in groups for leaf in group if scope.matches(*leaf.names))


def scope_of(template: BudgetTemplate, scope: str) -> Scope | None:
    """Return where the spending of one account is summed; None: sums cannot tell."""
    key, globs = key_of(template.identity), template.models

    def fits(model: str) -> bool:
        return not globs or not model or globs.match(model)

    if template.per == "user":
        if globs or key is not None or scope == OTHER:
            return None
        user = "" if scope == NOBODY else scope
        return Scope("user", lambda value, _: value == user, user, is_by_day=True)
    named = key if template.per is None else "" if scope == NOBODY else scope
    if named is not None:
        return Scope(
            "key_model",
            lambda value, part: value == named and fits(part),
            named,
            key_and_model=(lambda key, model: (key, model)) if named else None,
        )
    if globs:
        return Scope("model", lambda value, _: fits(value), key_and_model=lambda _, model: (model, ""))
    return Scope("all", lambda *_: True, key_and_model=lambda *_: ("", ""))


def templates_by_identity(templates: Sequence[BudgetTemplate]) -> dict[str, BudgetTemplate]:
    """Return templates by the name of their accounts."""
    return {template.identity: template for template in templates}
