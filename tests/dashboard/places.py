"""The pages of the dashboard: a name for each, and where it is in the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import httpx

from tests.dashboard.seed.shop import RUNAWAY, UNLUCKY

Find = Callable[[httpx.Client], str]
"""Returns the path of a page, having asked the API where that is."""


def _at(path: str) -> Find:
    return lambda _: path


def _newest(query: str, path: str = "/requests/{}") -> Find:
    def find(client: httpx.Client) -> str:
        answer = client.get("/api/requests", params={"q": query, "limit": 1})
        answer.raise_for_status()
        return path.format(answer.json()["requests"][0]["id"])

    return find


PLACES: Final[Mapping[str, Find]] = {
    "overview": _at("/"),
    "requests": _at("/requests?from=now-1h"),
    "requests-filtered": _at("/requests?q=key%3Acode-review+latency%3A%3E2s&sort=-cost"),
    "request": _newest(f"session:{RUNAWAY} tools:false"),
    "request-chat": _newest("key:support-bot tools:true"),
    "request-failed": _newest(f"user:{UNLUCKY} status:400"),
    "sessions": _at("/sessions"),
    "session": _at(f"/sessions/{RUNAWAY}"),
    "users": _at("/users"),
    "user": _at(f"/users/{UNLUCKY}"),
    "cost": _at("/cost"),
    "budgets": _at("/budgets"),
    "keys": _at("/keys"),
    "playground": _newest("key:support-bot outcome:completed status:200", "/playground?from={}"),
    "settings-upstreams": _at("/settings/upstreams"),
    "settings-prices": _at("/settings/prices"),
    "settings-retention": _at("/settings/retention"),
    "settings-users": _at("/settings/users"),
    "settings-appearance": _at("/settings/appearance"),
    "settings-system": _at("/settings/system"),
    "not-found": _at("/no-such-page"),
}
"""What is in the gallery, by name."""
