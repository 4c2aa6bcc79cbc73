"""`glassline keys create|list|revoke`: virtual keys, made and ended while everything runs."""

from __future__ import annotations

import argparse
import sys

from proxy.admin.amounts import NANO, money
from proxy.admin.client import Keys, open_keys
from proxy.admin.keys import KeyRequest, StoredKey
from proxy.cli.entries import list_entries, read_entry, show_new
from proxy.cli.records import now_ms
from proxy.cli.settings import open_settings
from proxy.cli.table import Cell, Screen, ago
from proxy.config import Budget, Config
from proxy.errors import ClientError


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    config = open_settings(arguments)
    with open_keys(config.data_dir, taken=[key.name for key in config.keys]) as keys:
        if arguments.action == "create":
            create(keys, arguments)
        elif arguments.action == "revoke":
            revoke(keys, arguments)
        else:
            list_keys(keys, config, arguments)
    return 0


def create(keys: Keys, arguments: argparse.Namespace) -> None:
    """Make a key."""
    made = keys.create(read_request(arguments))
    show_new(made, f"key for {made.name}", made.key, as_json=arguments.json)


def read_request(arguments: argparse.Namespace) -> KeyRequest:
    """Return the key that the options describe. Raises ClientError."""
    wanted = {
        "name": arguments.name,
        "models": _listed(arguments.models),
        "upstreams": _listed(arguments.upstreams),
        "budgets": [{**read_budget(text), "unbounded": arguments.unbounded} for text in arguments.budget],
        "rate_limits": {"requests_per_minute": arguments.rpm},
    }
    return read_entry(KeyRequest, wanted)


def read_budget(text: str) -> dict[str, str]:
    """Return the budget that `25/day` or, rolling, `25/24h` means; KeyRequest checks it."""
    amount, slash, window = text.partition("/")
    if not slash:
        raise ClientError(f"--budget {text}: write USD/WINDOW, such as 25/day or 2.50/24h")
    is_rolling = window[:1].isdigit()
    return {"limit_usd": amount.strip().removeprefix("$"), "rolling" if is_rolling else "window": window.strip()}


def revoke(keys: Keys, arguments: argparse.Namespace) -> None:
    """End a key."""
    ended = keys.revoke(arguments.name)
    Screen().line(f"{ended.name} (…{ended.last_four}) is revoked")


def list_keys(keys: Keys, config: Config, arguments: argparse.Namespace) -> None:
    """List the keys made at run time, and the names of those in the configuration."""
    stored, now = keys.all(), now_ms()
    titles = ("NAME", "KEY", "STATE", "CREATED", "BUDGETS", "MODELS", "UPSTREAMS", "RPM")
    configured = [
        [key.name, "", "configured", "", _budgets(key.budgets), *_scope(key.models, key.upstreams), ""]
        for key in config.keys
    ]
    list_entries(stored, titles, lambda key: _cells(key, now), as_json=arguments.json, others=configured)
    if config.keys and not stored and not arguments.json:
        print("no key was created at run time", file=sys.stderr)


def _cells(key: StoredKey, now: int) -> list[Cell | str]:
    state = Cell("in force", "green") if key.revoked_ms is None else Cell(f"revoked {ago(key.revoked_ms, now)}", "dim")
    return [
        key.name,
        f"gl-…{key.last_four}",
        state,
        ago(key.created_ms, now),
        _budgets(key.budgets),
        *_scope(key.models, key.upstreams),
        str(key.rate_limits.requests_per_minute or ""),
    ]


def _budgets(budgets: tuple[Budget, ...]) -> str:
    return ", ".join(
        f"{money(int(budget.limit_usd * NANO))}/{budget.window or _span(budget.rolling or 0)}" for budget in budgets
    )


def _span(seconds: float) -> str:
    """Return a length as `--budget` takes it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _scope(models: tuple[str, ...], upstreams: tuple[str, ...]) -> tuple[str, str]:
    return ", ".join(models) or "all", ", ".join(upstreams) or "all"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
