"""What people set up: budgets and what was spent of them (ledger.db), keys, users and tokens (app.db)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from proxy.admin.database import AppDatabase
from proxy.admin.keys import KeyRequest, KeyStore
from proxy.admin.tokens import TokenRequest, TokenStore
from proxy.admin.users import UserRequest, UserStore
from proxy.clock import Clock
from proxy.config import Config
from proxy.config.prices import price_book
from proxy.databases import open_database
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import policy_of
from proxy.ledger.ledger import Ledger
from proxy.reservations import Request, Reserve, Settle
from tests.dashboard.seed.shop import APPS, DAY_MS, HOUR_MS

PASSWORDS: Final[Mapping[str, tuple[str, str]]] = {
    "ada": ("admin", "ada-of-the-seed"),
    "edgar": ("editor", "edgar-of-the-seed"),
    "vera": ("viewer", "vera-of-the-seed"),
}
"""Role and password of each user."""


def key_of(app: str) -> str:
    """Return the virtual key of an application."""
    return f"gl-seed-{app}-0123456789"


def configuration(data_dir: Path, end_ms: int) -> dict[str, Any]:
    """Return the part of the configuration that names keys and budgets; limits follow what was spent."""
    spent = _spent_by_key(data_dir, end_ms - end_ms % DAY_MS, end_ms)
    claims = math.ceil(spent.get("claims-photos", 0) / 1e6 + 1) / 1000
    month = sum(_spent_by_key(data_dir, _month(end_ms), end_ms).values()) / 1e9
    budgets: dict[str, list[dict[str, Any]]] = {
        "support-bot": [
            {"limit_usd": _round(month * 0.068), "window": "month"},
            {"limit_usd": 25, "window": "day"},
            {"limit_usd": 2, "window": "day", "per": "user"},
        ],
        "search-team": [{"limit_usd": _round(month * 0.85), "window": "month"}],
        "code-review": [{"limit_usd": 40, "rolling": "24h", "hard": False}],
        "claims-photos": [{"limit_usd": claims, "window": "day"}],
        "trip-planner": [{"limit_usd": 40, "window": "week"}],
    }
    keys = [
        {"name": app.name, "key": key_of(app.name), "tags": {"team": app.team}, "trust_identity": True}
        | ({"budgets": budgets[app.name]} if app.name in budgets else {})
        for app in APPS
    ]
    return {"keys": keys, "budgets": [{"name": "everything", "limit_usd": _round(month * 3.4), "window": "month"}]}


def _round(usd: float) -> int:
    """Return a limit as a person would choose it."""
    step = int("1" + "0" * (len(str(int(usd))) - 2)) if usd >= 100 else 1
    return max(1, round(usd / step) * step)


def _month(end_ms: int) -> int:
    first = datetime.fromtimestamp(end_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return round(first.timestamp() * 1000)


def _spent_by_key(data_dir: Path, from_ms: int, to_ms: int) -> dict[str, int]:
    connection = open_database(data_dir / "records.db", "read")
    rows = connection.execute(
        "SELECT key, sum(cost_nano_usd) FROM exchanges WHERE started_at BETWEEN ? AND ? GROUP BY key", (from_ms, to_ms)
    ).fetchall()
    connection.close()
    return {str(key): int(str(cost or 0)) for key, cost in rows}


# --- the ledger --------------------------------------------------------------------------------------------------------


def write_ledger(data_dir: Path, config: Config, end_ms: int) -> None:
    """Reserve and settle what each key spent in each hour, at that hour."""
    now = [0]
    clock = replace(Clock(), wall_ms=lambda: now[0])
    ledger = Ledger(data_dir / "ledger.db", price_book(config.pricing), clock)
    try:
        for hour_ms, messages in _by_hour(data_dir, config, end_ms):
            now[0] = min(hour_ms + HOUR_MS - 1, end_ms)
            ledger.handle(messages)
    finally:
        ledger.close()


def _by_hour(data_dir: Path, config: Config, end_ms: int) -> Iterator[tuple[int, list[Request]]]:
    policies = {key.name: policy_of(key) for key in config.keys}
    budgets = Budgets(shared_templates(config.budgets))
    spent: dict[int, list[Request]] = {}
    for hour_ms, key, user, nano_usd in _spending(data_dir, end_ms):
        policy = policies.get(key)
        if policy is None:
            continue
        at_ms = min(hour_ms + HOUR_MS - 1, end_ms)
        lines = budgets.lines(policy, user, None, at_ms)
        if user is not None:  # the sums without users hold the others
            lines = tuple(line for line in lines if line.scope)
        else:
            lines = tuple(line for line in lines if not line.scope)
        if lines:
            spent.setdefault(hour_ms, []).extend(_messages(f"{key}-{user}-{hour_ms}", lines, nano_usd))
    yield from sorted(spent.items())


def _messages(id_: str, lines: tuple[Any, ...], nano_usd: int) -> Iterable[Request]:
    yield Reserve(
        ticket=1,
        exchange=id_,
        owner="seed",
        model=None,
        provider=None,
        is_free=True,
        endpoint="chat",
        input_bytes=0,
        max_output_tokens=0,
        choices=1,
        is_sliced=False,
        tier=None,
        lines=lines,
        rates=(),
    )
    yield Settle(ticket=2, exchange=id_, nano_usd=nano_usd)


def _spending(data_dir: Path, end_ms: int) -> list[tuple[int, str, str | None, int]]:
    """Return hour, key, user (of today only, and None for all of them together) and nano-USD."""
    hour = f"started_at - started_at % {HOUR_MS}"
    connection = open_database(data_dir / "records.db", "read")
    sql = (
        "SELECT start, value, NULL, cost_nano_usd FROM rollups WHERE dimension = 'key' AND span = 'hour'"
        f" UNION ALL SELECT {hour} AS at, key, user, sum(cost_nano_usd) FROM exchanges"  # noqa: S608 - a constant
        " WHERE started_at >= ? AND key = 'support-bot' AND user IS NOT NULL GROUP BY at, key, user"
    )
    rows = connection.execute(sql, (end_ms - end_ms % DAY_MS,)).fetchall()
    connection.close()
    return [(int(at), str(key), user, int(cost or 0)) for at, key, user, cost in rows]  # type: ignore[arg-type,misc]


# --- app.db ------------------------------------------------------------------------------------------------------------


def write_people(data_dir: Path, end_ms: int) -> None:
    """Make users, tokens and keys, at different times of the past weeks."""
    now = [0]
    clock = replace(Clock(), wall_ms=lambda: now[0])
    with AppDatabase(data_dir, clock=clock) as database:
        users, keys, tokens = UserStore(database), KeyStore(database), TokenStore(database)
        for days, (name, (role, password)) in enumerate(PASSWORDS.items()):
            now[0] = end_ms - (28 - days) * DAY_MS
            users.add(UserRequest.model_validate({"name": name, "role": role, "password": password}))
        for days, name in ((21, "prometheus"), (6, "nightly-export")):
            now[0] = end_ms - days * DAY_MS
            tokens.create(TokenRequest(name=name, role="viewer"))
        for days, request in enumerate(_KEYS):
            now[0] = end_ms - (14 - days * 3) * DAY_MS
            keys.create(KeyRequest.model_validate(request))
        now[0] = end_ms - 2 * DAY_MS
        keys.revoke("intern-2026")


_KEYS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "intern-2026", "models": ["gpt-4.1-nano"], "budgets": [{"limit_usd": 5, "window": "day"}]},
    {"name": "workshop", "upstreams": ["openai"], "rate_limits": {"requests_per_minute": 60}},
    {"name": "data-science", "budgets": [{"limit_usd": 300, "window": "month"}], "tags": {"team": "knowledge"}},
)
