"""`glassline tokens create|list|revoke`: how scripts and scrapers show the admin port who they are."""

from __future__ import annotations

import argparse

from proxy.admin.client import Tokens, open_tokens
from proxy.admin.tokens import StoredToken, TokenRequest
from proxy.cli.entries import list_entries, read_entry, show_new
from proxy.cli.records import now_ms
from proxy.cli.settings import load_settings
from proxy.cli.table import Cell, Screen, ago


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen action."""
    config = load_settings(arguments)
    with open_tokens(config.data_dir) as tokens:
        if arguments.action == "create":
            create(tokens, arguments)
        elif arguments.action == "revoke":
            ended = tokens.revoke(arguments.name)
            Screen().line(f"{ended.name} (…{ended.last_four}) is revoked")
        else:
            list_tokens(tokens, arguments)
    return 0


def create(tokens: Tokens, arguments: argparse.Namespace) -> None:
    """Make a token."""
    wanted = {"name": arguments.name, "role": arguments.role, "expires": arguments.expires}
    made = tokens.create(read_entry(TokenRequest, wanted))
    show_new(made, f"token {made.name} with the role {made.role}", made.token, as_json=arguments.json)


def list_tokens(tokens: Tokens, arguments: argparse.Namespace) -> None:
    """List the tokens."""
    now = now_ms()
    titles = ("NAME", "TOKEN", "ROLE", "STATE", "CREATED", "BY", "LAST USED")
    list_entries(tokens.all(), titles, lambda token: _cells(token, now), as_json=arguments.json)


def _cells(token: StoredToken, now: int) -> list[Cell | str]:
    return [
        token.name,
        f"glt-…{token.last_four}",
        token.role,
        _state(token, now),
        ago(token.created_ms, now),
        token.created_by,
        "never" if token.used_ms is None else ago(token.used_ms, now),
    ]


def _state(token: StoredToken, now: int) -> Cell:
    if token.revoked_ms is not None:
        return Cell(f"revoked {ago(token.revoked_ms, now)}", "dim")
    if not token.is_in_force(now):
        return Cell("expired", "dim")
    return Cell("in force", "green")
