"""Two simulated providers, alike to the bit, and a Glassline in front of one: what a program gets from both must be equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from proxy.providers import PROVIDERS
from proxy.simulator.quirks.servers import SERVERS
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until

KEY = "sk-contract-0123456789abcdef"
BROKE = "sk-broke-0123456789abcdef"
"""Its budget is zero."""
_REFUSED: dict[str, Any] = {"status": 400, "code": "invalid_value"}
_BUSY: dict[str, Any] = {"status": 429, "retry-after": 0}
_SLOW: dict[str, Any] = {"pace": 40, "tokens": 400}
_RULES = {
    # The model of a request says what becomes of it, because no tool hides that from its user.
    "error_400": _REFUSED,
    "error_429": _BUSY,
    "abort": _SLOW,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call left behind at the provider and, when it came through Glassline, in the records."""

    answer: dict[str, Any]
    truths: list[dict[str, Any]]
    """The provider's account of each request that ended."""
    rows: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    """Its account of each answer that it gave over a WebSocket."""


class Stage:
    """Both ways to the provider. Calls are made one at a time, so what a call left behind is what is new after it."""

    def __init__(self, direct: Simulator, behind: Simulator, glassline: Glassline) -> None:
        self.direct = direct
        self.behind = behind
        self.glassline = glassline

    def url(self, path: str, *, through: bool) -> str:
        """Return a base URL whose path is `path`."""
        root = self.glassline.url if through else f"http://127.0.0.1:{self.direct.port}"
        return root + path

    @contextmanager
    def watch(self, *, through: bool) -> Iterator[Seen]:
        """Collect what the calls made inside the block leave behind; complete when the block is over."""
        simulator = self.behind if through else self.direct
        settle(simulator)
        old_truths, old_rows = len(simulator.truth()), self._row_ids()
        seen = Seen({}, [], [], [])
        yield seen
        settle(simulator)
        new = simulator.truth()[old_truths:]
        seen.truths.extend(line for line in new if line["event"] == "done")
        seen.turns.extend(line for line in new if line["event"] == "consumed")
        if through:
            forwarded = [line for line in new if line["event"] == "received"]
            seen.rows.extend(self._new_rows(old_rows, len(forwarded)))

    def _row_ids(self) -> set[str]:
        return {row["id"] for row in self._rows()}

    def _rows(self) -> list[dict[str, Any]]:
        if not self.glassline.rows("SELECT 1 FROM sqlite_master WHERE name = 'requests'"):
            return []
        return self.glassline.rows("SELECT * FROM requests ORDER BY started_at, id")

    def _new_rows(self, old: set[str], forwarded: int) -> list[dict[str, Any]]:
        """Return what was recorded since. Rows come in order, so one more request, once recorded, closes the list."""
        last = httpx.get(f"{self.glassline.url}/v1/models", headers={"authorization": f"Bearer {KEY}"})
        closing_id = last.headers["x-glassline-request-id"]

        def complete() -> tuple[list[dict[str, Any]]] | None:
            new = [row for row in self._rows() if row["id"] not in old]
            others = [row for row in new if row["id"] != closing_id]
            enough = len([row for row in others if row["outcome"] != "refused"]) >= forwarded
            return (others,) if enough and len(others) < len(new) else None

        return wait_until(complete, f"{forwarded} rows of forwarded requests", timeout_s=30)[0]

    def body(self, row: dict[str, Any], side: str) -> bytes:
        """Return a recorded body, exactly."""
        response = httpx.get(f"{self.glassline.admin_url}/api/requests/{row['id']}/{side}_body")
        assert response.status_code == 200, response.text
        return response.content


def settle(simulator: Simulator) -> None:
    """Wait until everything that reached the provider has ended there."""

    def ended() -> bool:
        endings = len(simulator.truth("done")) + len(simulator.truth("closed"))
        return len(simulator.truth("received")) == endings

    wait_until(ended, "the provider to finish", timeout_s=30)


@contextmanager
def staged(directory: Path, models: dict[str, dict[str, str]], **config: Any) -> Iterator[Stage]:
    """Start everything. `models`: by wire, the model that stands for each scenario; `config`: more for Glassline."""
    directory.mkdir(parents=True, exist_ok=True)
    rules = directory / "rules.yaml"
    rules.write_text(yaml.safe_dump(rules_for(models)))
    with ExitStack() as stack:
        direct = stack.enter_context(closing(Simulator(directory / "direct", "--scenario", str(rules))))
        behind = stack.enter_context(closing(Simulator(directory / "behind", "--scenario", str(rules))))
        glassline = Glassline(directory / "glassline", config_for(behind.port) | config)
        stack.enter_context(closing(glassline))
        yield Stage(direct, behind, glassline.start())


def rules_for(models: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Return the provider's scenario: what happens to each model that stands for a fault."""
    # What a tool that may run commands does with a call of random arguments, nobody wants to know.
    rules: list[dict[str, Any]] = [
        {"match": {"model": models[tool]["chat"]}, "tools": 0} for tool in ("codex", "claude") if tool in models
    ]
    for scenario, wishes in _RULES.items():
        for name in sorted({names[scenario] for names in models.values() if scenario in names}):
            rules.append({"match": {"model": name}, **wishes})
            rules.append({"match": {"path": f"*/{name}:*"}, **wishes})  # Gemini's model is in its path
    return rules


def home(server: str) -> str:
    """Return where the simulated provider answers with the habits of a server; '' if it has none of its own."""
    return f"/quirks/{server}" if server in SERVERS else ""


def config_for(port: int) -> dict[str, Any]:
    """Return a configuration in which every built-in upstream is the simulated provider, below the path it has."""
    upstreams: dict[str, dict[str, Any]] = {
        name: {"base_url": f"http://127.0.0.1:{port}{home(name)}{urlsplit(row.base_url).path}", "allow_private": True}
        for name, row in PROVIDERS.items()
        if row.base_url
    }
    upstreams["azure"] = {"base_url": f"http://127.0.0.1:{port}", "allow_private": True}
    upstreams["bedrock"] |= {"aws": {"access_key": "AKIAEXAMPLE", "secret_key": "secret"}, "region": "us-east-1"}
    keys = [
        {"name": "app", "key": KEY},
        {"name": "broke", "key": BROKE, "budgets": [{"limit_usd": 0, "window": "total"}]},
    ]
    return {"upstreams": upstreams, "keys": keys}
