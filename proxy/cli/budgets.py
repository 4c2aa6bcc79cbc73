"""`glassline budgets list|explain KEY`: what is left, and why a request would be refused.

Both read ledger.db alone; the explanation resolves a key's budgets exactly as a gateway does for its next request.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from proxy.admin.accounts import as_configured, configured_budgets
from proxy.admin.amounts import money
from proxy.admin.explaining import (
    Explained,
    Held,
    Typical,
    explained_shape,
    find_policy,
    left,
    needs,
    read_explained,
    read_typical,
    would_refuse,
)
from proxy.admin.shapes import account_shape
from proxy.cli.records import json_line, now_ms
from proxy.cli.settings import open_settings
from proxy.cli.table import Cell, Column, Screen, count, duration, size
from proxy.config import Config
from proxy.gates.keys import KeyPolicy
from proxy.ledger.accounts import AccountRow
from proxy.ledger.reading import read_accounts

SMALL_OUTPUT: Final = 1024
"""The `max_tokens` that the explanation suggests comparing with."""


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    {"list": list_budgets, "explain": explain}[arguments.action](arguments)
    return 0


def list_budgets(arguments: argparse.Namespace) -> None:
    """List every budget in its current window."""
    config, now = open_settings(arguments), now_ms()
    rows = as_configured(read_accounts(config.data_dir / "ledger.db"), configured_budgets(config), now)
    screen = Screen()
    if arguments.json:
        for row in rows:
            screen.line(json_line(account_shape(row)))
        return
    numbers = ("LIMIT", "SPENT", "RESERVED", "LEFT", "OVERRUN")
    columns = [Column("BUDGET"), Column("SCOPE"), *(Column(n, is_number=True) for n in numbers), Column("RESETS")]
    screen.table(columns, [_cells(row, now) for row in rows])


def _cells(row: AccountRow, now: int) -> list[Cell | str]:
    left = row.limit_nano_usd - row.spent_nano_usd - row.reserved_nano_usd
    kind = "" if row.is_hard else " (soft)"
    return [
        row.budget + kind,
        row.scope,
        money(row.limit_nano_usd),
        money(row.spent_nano_usd),
        money(row.reserved_nano_usd),
        Cell(money(max(0, left)), "red" if left <= 0 else ""),
        Cell(money(row.overrun_nano_usd), "red") if row.overrun_nano_usd else "",
        resets(row.window_end_ms, row.rolling_ms, ZoneInfo("UTC"), now),
    ]


def explain(arguments: argparse.Namespace) -> None:
    """Explain the budgets of one key."""
    config = open_settings(arguments)
    policy, now = find_policy(config, arguments.key), now_ms()
    typical = read_typical(config, policy, arguments.model)
    explained = read_explained(config, policy, typical.model, arguments.user, now)
    needed = needs(config, typical, None)
    screen = Screen()
    if arguments.json:
        for each in explained:
            screen.line(json_line(explained_shape(each, needed)))
        return
    _print_policy(policy, screen)
    _print_typical(config, typical, needed, screen)
    for each in explained:
        screen.line()
        _print_budget(each, needed, now, screen)
    if not explained:
        screen.line("no budget applies: no request of this key is refused for money")


def _print_policy(policy: KeyPolicy, screen: Screen) -> None:
    origin = "created at run time" if policy.is_dynamic else "configured"
    screen.line(f"{screen.paint(policy.name, 'bold')}  {origin}")
    for rule in policy.rates:
        limits = {
            "requests a minute": rule.requests_per_minute,
            "tokens a minute": rule.tokens_per_minute,
            "at the same time": rule.concurrent,
        }
        given = ", ".join(f"{count(limit)} {unit}" for unit, limit in limits.items() if limit is not None)
        screen.line(f"limits  {given}")


def _print_typical(config: Config, typical: Typical, needed: int | None, screen: Screen) -> None:
    if typical.model is None:
        screen.line("no request yet: name a model with --model to see what one would need")
        return
    origin = f"median of {typical.sample} requests" if typical.sample else "assumed"
    what = f"a request to {typical.model} of {size(typical.request_bytes)} ({origin})"
    if needed is None:
        screen.line(f"{what} has no price: nothing is reserved for it")
        return
    smaller = needs(config, typical, SMALL_OUTPUT)
    hint = "; all of its max_tokens if it says them" if typical.holds_limited else ""
    if smaller is not None and smaller < needed:
        hint = f"; with max_tokens {count(SMALL_OUTPUT)}: {money(smaller)}"
    screen.line(f"{what} reserves {money(needed)}{hint}")


def _print_budget(each: Explained, needed: int | None, now: int, screen: Screen) -> None:
    account, room = each.account, left(each.account)
    kind = "hard" if account.is_hard else "soft, never refuses"
    scope = f" for {each.line.scope}" if each.line.scope else ""
    window = resets(account.window_end_ms, account.rolling_ms, each.zone, now)
    screen.line(f"{screen.paint(each.line.budget, 'bold')}{scope}  {kind}")
    screen.line(f"  limit     {money(account.limit_nano_usd)}")
    screen.line(f"  spent     {money(account.spent_nano_usd)}")
    screen.line(f"  reserved  {money(account.reserved_nano_usd)}{_held_text(each.held, now)}")
    screen.line(f"  left      {screen.paint(money(room), 'red' if room == 0 else '')}")
    if account.overrun_nano_usd:
        overrun = f"{money(account.overrun_nano_usd)}, billed beyond what had been reserved"
        screen.line(f"  overrun   {screen.paint(overrun, 'red')}")
    screen.line(f"  resets    {window}")
    if would_refuse(account, needed):
        refusal = f"refused: it needs {money(needed)} and {money(room)} is left"
        screen.line(f"  verdict   {screen.paint(refusal, 'red')}")
    elif needed is not None:
        screen.line(f"  verdict   {screen.paint('admitted', 'green')}")


def _held_text(held: Held, now: int) -> str:
    if held.oldest_ms is None:
        return ""
    return f"  ({held.count} open, the oldest for {duration(max(0, now - held.oldest_ms))})"


def resets(end_ms: int | None, rolling_ms: int | None, zone: ZoneInfo, now: int) -> str:
    """Return when a window gives its money back, in its own time zone."""
    if rolling_ms is not None:
        return f"bit by bit, {duration(rolling_ms)} after it was spent"
    if end_ms is None:
        return "never"
    when = datetime.fromtimestamp(end_ms / 1000, zone)
    return f"{when:%Y-%m-%d %H:%M} {when.tzname()} (in {duration(max(0, end_ms - now))})"
