"""Which budgets a request falls under, resolved to one window each.

A budget's identity names its account in the ledger, so it depends on that budget alone: its own name, or what it is
(`search-team/day:*-pro`). Raising a limit keeps the account; adding, removing or moving other budgets keeps it too.
Only of two budgets of one key that are alike in window and models does the second get a number: name those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from proxy.config.schema import Budget
from proxy.gates.globs import Globs
from proxy.gates.windows import Window, WindowKind, window_at
from proxy.reservations import BudgetLine

NANO: Final = 10**9
NOBODY: Final = "(none)"
"""The scope that all requests without a trusted user, or without a known key, share."""
MAX_SCOPE: Final = 128
"""Characters of a scope; longer users are told apart by a digest."""
MAX_REMEMBERED: Final = 4096
"""Combinations of key, user and model whose lines are kept; some hundred bytes each."""
_FOREVER: Final = 2**63 - 1
_UNITS: Final = ((604800, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True, eq=False)
class BudgetTemplate:
    """A configured budget, before a window and a scope are chosen. Equal only to itself, so that it hashes fast."""

    identity: str
    limit_nano_usd: int
    is_hard: bool
    window: WindowKind | None
    """None: rolling."""
    rolling_ms: int | None
    zone: ZoneInfo
    per: Literal["user", "key"] | None
    models: Globs
    """Empty: all models."""
    allows_unbounded: bool = False
    """Requests pass whose cost nobody can bound beforehand."""
    streams: Literal["auto", "whole", "sliced"] = "auto"
    """Whether a stream reserves all that it can cost, or a slice that grows until it does not fit: then it is cut."""

    def applies_to(self, model: str | None) -> bool:
        """Say whether requests for `model` count; an unknown model always does."""
        return not self.models or model is None or self.models.match(model)


class Budgeted(Protocol):
    """What is asked of a key; `KeyPolicy` is one."""

    @property
    def name(self) -> str:
        """Return the key's name."""

    @property
    def budgets(self) -> tuple[BudgetTemplate, ...]:
        """Return the key's own budgets."""


_Remembered: TypeAlias = tuple[int, int, tuple[BudgetLine, ...]]
"""Lines, and the instants between which they hold."""
_Question: TypeAlias = tuple[str | None, tuple[BudgetTemplate, ...], str | None, str | None]


class Budgets:
    """The budgets across keys, and the memory that makes resolving cheap."""

    def __init__(self, shared: Sequence[BudgetTemplate] = ()) -> None:
        self._shared = tuple(shared)
        self._remembered: dict[_Question, _Remembered] = {}
        self._windows: dict[BudgetTemplate, Window] = {}

    def lines(self, key: Budgeted | None, user: str | None, model: str | None, now_ms: int) -> tuple[BudgetLine, ...]:
        """Return the lines of a request: first those of its key, then those across keys.

        `key` None: a caller nobody configured. `user` None: nobody that the key trusts to have been named.
        """
        own = () if key is None else key.budgets
        if not own and not self._shared:
            return ()
        question = (None if key is None else key.name, own, user, model)
        remembered = self._remembered.get(question)
        if remembered is not None and remembered[0] <= now_ms < remembered[1]:
            return remembered[2]
        answer = self._resolve(question, now_ms)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[question] = answer
        return answer[2]

    def forbids_unbounded(self, key: Budgeted | None, model: str | None) -> str | None:
        """Return the identity of a hard budget that lets nothing through whose cost has no bound; None: none does."""
        for template in (*(() if key is None else key.budgets), *self._shared):
            if template.is_hard and not template.allows_unbounded and template.applies_to(model):
                return template.identity
        return None

    def slices_streams(self, key: Budgeted | None, model: str | None, *, has_limit: bool) -> bool:
        """Say whether every hard budget of a request lets a stream begin with a slice; False: there is none.

        `has_limit`: the request says how much it wants at most, so all of that can be reserved.
        """
        slicing = ("sliced",) if has_limit else ("auto", "sliced")
        hard = [
            template.streams in slicing
            for template in (*(() if key is None else key.budgets), *self._shared)
            if template.is_hard and template.applies_to(model)
        ]
        return bool(hard) and all(hard)

    def _resolve(self, question: _Question, now_ms: int) -> _Remembered:
        key, own, user, model = question
        lines = []
        since, until = 0, _FOREVER
        for template in (*own, *self._shared):
            if template.applies_to(model):
                start_ms, end_ms = self._window(template, now_ms)
                lines.append(_line(template, _scope(template, key, user), start_ms, end_ms))
                since = max(since, start_ms)
                until = until if end_ms is None else min(until, end_ms)
        return since, until, tuple(lines)

    def _window(self, template: BudgetTemplate, now_ms: int) -> Window:
        if template.window is None:
            return 0, None
        window = self._windows.get(template)
        if window is None or not window[0] <= now_ms < (window[1] or _FOREVER):
            window = window_at(template.window, template.zone, now_ms)
            if len(self._windows) >= MAX_REMEMBERED:
                self._windows.clear()
            self._windows[template] = window
        return window


def shared_templates(budgets: Iterable[Budget]) -> tuple[BudgetTemplate, ...]:
    """Return the templates of the budgets across keys; each has a name, which is its identity."""
    return tuple(_template(budget, budget.name or "") for budget in budgets)


def key_templates(key: str, budgets: Iterable[Budget]) -> tuple[BudgetTemplate, ...]:
    """Return the templates of the budgets of the key named `key`."""
    templates: list[BudgetTemplate] = []
    taken: dict[str, int] = {}
    for budget in budgets:
        identity = f"{key}/{budget.name or _description(budget)}"
        taken[identity] = taken.get(identity, 0) + 1
        suffix = f"#{taken[identity]}" if taken[identity] > 1 else ""
        templates.append(_template(budget, identity + suffix))
    return tuple(templates)


def _template(budget: Budget, identity: str) -> BudgetTemplate:
    return BudgetTemplate(
        identity,
        nano_usd(budget.limit_usd),
        budget.hard,
        budget.window,
        None if budget.rolling is None else max(1, round(budget.rolling * 1000)),
        ZoneInfo(budget.timezone),
        budget.per,
        Globs(budget.models),
        budget.unbounded == "allow",
        budget.streams,
    )


def nano_usd(usd: Decimal) -> int:
    """Return whole nano-dollars, rounded down: a limit is never raised."""
    return int(usd * NANO)


def _description(budget: Budget) -> str:
    window = budget.window or f"rolling-{_duration(budget.rolling or 0)}"
    per = f"-per-{budget.per}" if budget.per else ""
    models = f":{','.join(budget.models)}" if budget.models else ""
    return f"{window}{per}{models}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    for length, unit in _UNITS:
        if whole == seconds and whole >= length and whole % length == 0:
            return f"{whole // length}{unit}"
    return f"{seconds:g}s"


def _scope(template: BudgetTemplate, key: str | None, user: str | None) -> str:
    if template.per is None:
        return ""
    value = user if template.per == "user" else key
    if not value:
        return NOBODY
    raw = value.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_SCOPE:
        return raw.decode("utf-8")
    return f"{raw[:64].decode('utf-8', 'ignore')}#{hashlib.sha256(raw).hexdigest()}"


def _line(template: BudgetTemplate, scope: str, start_ms: int, end_ms: int | None) -> BudgetLine:
    return BudgetLine(
        template.identity,
        scope,
        template.limit_nano_usd,
        template.is_hard,
        start_ms,
        end_ms,
        template.rolling_ms,
    )
