"""A Glassline whose both ports ask for credentials, with one of each kind: in force, revoked, expired, too lowly."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import httpx

from proxy.admin.app import build_house, build_pages, declared_routes
from proxy.admin.client import open_keys, open_tokens, open_users
from proxy.admin.database import AppDatabase
from proxy.admin.declared import DeclaredRoute
from proxy.admin.guard import load_access
from proxy.admin.instruments import Instruments
from proxy.admin.keys import KeyRequest
from proxy.admin.tokens import TokenRequest
from proxy.admin.users import UserRequest
from proxy.admin.watch import Watch
from proxy.config import Config
from proxy.stats import StatsBoard
from tests.harness import Glassline

PASSWORD: Final = "correct horse battery staple"
CONFIGURED_KEY: Final = "sk-team-0123456789abcdef0123456789"
PROVIDER_KEY: Final = "sk-of-the-provider-0123456789abcdef"
NEVER: Final = 1_000_000
"""Failed attempts a minute: high enough that the limiter hides nothing from a probe."""


@dataclass(frozen=True)
class Credentials:
    """What the scene was given."""

    admin: str
    editor: str
    viewer: str
    revoked: str
    expired: str
    key: str
    revoked_key: str


def guarded_config(directory: Path, *, limit: int = NEVER) -> dict[str, Any]:
    """Return a configuration under which nobody comes in without a credential."""
    directory.mkdir(parents=True, exist_ok=True)
    password = directory / "password"
    password.write_text(PASSWORD)
    return {
        "auth": "virtual",
        "admin": {"password_file": str(password)},
        "keys": [{"name": "team", "key": CONFIGURED_KEY}],
        "upstreams": {"openai": {"api_key": PROVIDER_KEY}},
        "limits": {"failed_auth_per_minute": limit},
    }


def hand_out(glassline: Glassline) -> Credentials:
    """Make users, tokens and keys through the socket of the running admin process."""
    with open_users(glassline.data_dir) as users:
        for role in ("admin", "editor", "viewer"):
            password = f"{role} {PASSWORD}"
            users.add(UserRequest.model_validate({"name": f"the-{role}", "role": role, "password": password}))
    with open_tokens(glassline.data_dir) as tokens:
        made = {
            role: tokens.create(TokenRequest.model_validate({"name": role, "role": role})).token
            for role in ("admin", "editor", "viewer")
        }
        made["revoked"] = tokens.create(TokenRequest(name="revoked", role="admin")).token
        tokens.revoke("revoked")
        made["expired"] = tokens.create(TokenRequest(name="expired", role="admin", expires=0.001)).token
    with open_keys(glassline.data_dir) as keys:
        key = keys.create(KeyRequest(name="app")).key
        gone = keys.create(KeyRequest(name="gone")).key
        keys.revoke("gone")
    return Credentials(**made, key=key, revoked_key=gone)


@contextlib.contextmanager
def admin_client(glassline: Glassline, token: str = "") -> Iterator[httpx.Client]:
    """Open a client of the admin port."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=glassline.admin_url, headers=headers, timeout=20, trust_env=False) as client:
        yield client


def all_routes(directory: Path) -> list[DeclaredRoute]:
    """Return every route of the admin port, as the application declares them."""
    directory.mkdir(parents=True, exist_ok=True)
    with AppDatabase(directory) as database:
        house = build_house(Config(), load_access(Config().admin), database)
        house.door.close()
        instruments = Instruments(directory, StatsBoard(1))
        watch = Watch(instruments)
        return declared_routes(instruments, house, watch, build_pages(instruments, house, watch))


def state_of(data_dir: Path) -> str:
    """Return everything that a change over the admin port would change."""
    database = apsw.Connection(str(data_dir / "app.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found = {
            table: database.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()  # noqa: S608 - our own names
            for table, columns in (
                ("users", "name, role, hex(password)"),
                ("tokens", "name, role, revoked_ms"),
                ("keys", "name, policy, revoked_ms"),
                ("sessions", "hex(digest)"),
            )
        }
    finally:
        database.close()
    deletions = sorted(path.name for path in data_dir.glob("jobs/*"))
    return json.dumps([found, deletions])


def basic(name: str, password: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
