"""Explaining budgets: what a key's next request would reserve, what is left, and whether it would be refused.

A key's budgets are resolved exactly as a gateway does it for its next request.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import apsw
import msgspec

from proxy.admin.accounts import unopened
from proxy.config import Config, Upstream
from proxy.config.prices import price_book
from proxy.databases import open_database
from proxy.encryption import read_file
from proxy.errors import ClientError, StoreError
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import SNAPSHOT_PURPOSE, KeyPolicy, decode_snapshot, policy_of, policy_of_dynamic
from proxy.ledger.accounts import AccountRow, Accounts
from proxy.ledger.demand import demand
from proxy.providers import PROVIDERS, costs_nothing
from proxy.reservations import BudgetLine, Reserve
from proxy.store import StoreReader
from proxy.store import query as ask
from proxy.store.filter import Filter
from proxy.store.query import RequestRow

SAMPLE: Final = 50
"""Latest requests of a key from which a typical one is made."""


@dataclass(frozen=True, slots=True)
class Typical:
    """A request such as the key usually makes."""

    model: str | None
    """None: the key made none yet, and no model was named."""
    provider: str | None
    is_free: bool
    endpoint: str
    request_bytes: int
    """Median of the latest requests."""
    is_sliced: bool
    """It is a stream, and its budgets let streams that say no limit begin with a slice."""
    holds_limited: bool
    """One that says how much it wants at most reserves all of that even so."""
    sample: int
    """How many requests it was made from."""


@dataclass(frozen=True, slots=True)
class Held:
    """Open reservations against one account."""

    count: int
    oldest_ms: int | None
    """Unix ms; None: there are none."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One budget as the key's next request would meet it."""

    line: BudgetLine
    zone: ZoneInfo
    account: AccountRow
    held: Held


class ExplainedShape(msgspec.Struct, frozen=True):
    """One budget of an explanation, for programs."""

    budget: str
    scope: str
    is_hard: bool
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    remaining_nano_usd: int
    overrun_nano_usd: int
    resets_at: int | None
    open_reservations: int
    needed_nano_usd: int | None
    """What a typical request reserves. None: its price is unknown."""
    would_refuse: bool


def all_policies(config: Config) -> dict[str, KeyPolicy]:
    """Return every key in force by its name, those made at run time included."""
    policies = {key.name: policy_of(key) for key in config.keys}
    snapshot = config.data_dir / "run" / "keys.json"
    if snapshot.exists():
        for made in decode_snapshot(read_file(snapshot, SNAPSHOT_PURPOSE)):
            if not made.revoked:
                policies.setdefault(made.name, policy_of_dynamic(made))
    return policies


def find_policy(config: Config, name: str) -> KeyPolicy:
    """Return the policy of the key of this name. Raises ClientError."""
    policies = all_policies(config)
    if name not in policies:
        known = ", ".join(sorted(policies)) or "there are none"
        raise ClientError(f"no key named {name}; keys: {known}")
    return policies[name]


def read_typical(config: Config, policy: KeyPolicy, model: str | None) -> Typical:
    """Return a typical request of the key, made from its latest ones."""
    rows: list[RequestRow] = []
    path = config.data_dir / "records.db"
    if path.exists():
        # What the key may not ask for at all says nothing about its next request.
        allowed = "coalesce(error_code, '') NOT IN ('model_not_allowed', 'bad_request', 'too_large')"
        where = Filter(f"key = ? AND model_requested IS NOT NULL AND {allowed}", (policy.name,))
        with StoreReader(path) as store:
            rows = store.run(ask.requests(where, limit=SAMPLE))
    wanted = model or (rows[0].model_requested if rows else None)
    alike = [row for row in rows if row.model_requested == wanted] or rows
    upstream = alike[0].upstream if alike else config.default_upstream
    settings, known = config.upstreams.get(upstream), PROVIDERS.get(upstream)
    budgets = Budgets(shared_templates(config.budgets))
    is_sliced = bool(alike and alike[0].streaming) and budgets.slices_streams(policy, wanted, has_limit=False)
    return Typical(
        model=wanted,
        provider=(settings.provider if settings else None) or (known.price_id if known else None),
        is_free=costs_nothing(upstream, settings or Upstream()),
        endpoint=alike[0].endpoint if alike else "chat",
        request_bytes=round(statistics.median(row.request_bytes for row in alike)) if alike else 4000,
        is_sliced=is_sliced,
        holds_limited=is_sliced and not budgets.slices_streams(policy, wanted, has_limit=True),
        sample=len(alike),
    )


def read_explained(config: Config, policy: KeyPolicy, model: str | None, user: str | None, now: int) -> list[Explained]:
    """Return each budget that a request of the key falls under, with its account as it stands."""
    shared = shared_templates(config.budgets)
    lines = Budgets(shared).lines(policy, user, model, now)
    zones = {template.identity: template.zone for template in (*policy.budgets, *shared)}
    path = config.data_dir / "ledger.db"
    if not path.exists():
        return [Explained(line, zones[line.budget], unopened(line), Held(0, None)) for line in lines]
    connection = open_database(path, "read")
    try:
        accounts = Accounts(connection)
        found = [(line, accounts.look(line, now)) for line in lines]
        return [Explained(line, zones[line.budget], row, _held(connection, row.id)) for line, row in found]
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        connection.close()


def _held(connection: apsw.Connection, account: int) -> Held:
    sql = (
        "SELECT count(*), min(created_ms) FROM reservations"
        " WHERE exchange IN (SELECT exchange FROM reservation_lines WHERE account = ?)"
    )
    open_count, oldest = connection.execute(sql, (account,)).fetchall()[0]
    return Held(int(str(open_count)), oldest if isinstance(oldest, int) else None)


def needs(config: Config, typical: Typical, max_output_tokens: int | None) -> int | None:
    """Return what the ledger would reserve for a typical request at first; None: its price is unknown."""
    if typical.model is None:
        return None
    rates = price_book(config.pricing).rates(
        typical.model, provider=typical.provider, at=datetime.now(UTC), free=typical.is_free
    )
    if rates is None:
        return None
    request = Reserve(
        ticket=0,
        exchange="",
        owner="",
        model=typical.model,
        provider=typical.provider,
        is_free=typical.is_free,
        endpoint=typical.endpoint,
        input_bytes=typical.request_bytes,
        max_output_tokens=max_output_tokens,
        choices=1,
        is_sliced=typical.is_sliced and not (typical.holds_limited and max_output_tokens is not None),
        tier=None,
        lines=(),
        rates=(),
    )
    return demand(request, rates).nano_usd


def explained_shape(each: Explained, needed: int | None) -> ExplainedShape:
    account = each.account
    return ExplainedShape(
        budget=each.line.budget,
        scope=each.line.scope,
        is_hard=account.is_hard,
        limit_nano_usd=account.limit_nano_usd,
        spent_nano_usd=account.spent_nano_usd,
        reserved_nano_usd=account.reserved_nano_usd,
        remaining_nano_usd=left(account),
        overrun_nano_usd=account.overrun_nano_usd,
        resets_at=account.window_end_ms,
        open_reservations=each.held.count,
        needed_nano_usd=needed,
        would_refuse=would_refuse(account, needed),
    )


def left(account: AccountRow) -> int:
    """Return what new reservations may still take."""
    return max(0, account.limit_nano_usd - account.spent_nano_usd - account.reserved_nano_usd)


def would_refuse(account: AccountRow, needed: int | None) -> bool:
    """Say whether a request that reserves `needed` would be refused by this budget."""
    return account.is_hard and needed is not None and needed > left(account)
