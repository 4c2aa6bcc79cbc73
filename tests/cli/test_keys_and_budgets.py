from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.admin.explaining import Typical, needs
from proxy.cli import main
from proxy.config import parse_config
from proxy.config.prices import price_book
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import policy_of
from proxy.ledger.ledger import Ledger
from proxy.reservations import Granted, Reserve
from tests.admin.conftest import Admin

Capture = pytest.CaptureFixture[str]
CONFIG = """
data_dir: {data_dir}
keys:
  - name: search-team
    key: gl-search-team-0001
    budgets:
      - {{limit_usd: 1, window: day, timezone: Asia/Tokyo}}
      - {{limit_usd: 0.05, rolling: 24h, name: tight}}
    rate_limits: {{requests_per_minute: 600}}
budgets:
  - {{name: everything, limit_usd: 100, window: month}}
  - {{name: per-user, limit_usd: 2, window: day, per: user}}
"""


@pytest.fixture
def configured(recorded: Path, tmp_path: Path) -> Path:
    """A configuration for the recorded data directory."""
    path = tmp_path / "glassline.yaml"
    path.write_text(CONFIG.format(data_dir=recorded), encoding="utf-8")
    return path


def reserve(configured: Path, input_bytes: int) -> int:
    """Reserve for one request of search-team, through the real ledger; return the amount."""
    config = parse_config(configured.read_text())
    ledger = Ledger(config.data_dir / "ledger.db", price_book(config.pricing))
    try:
        now_ms = time.time_ns() // 1_000_000
        lines = Budgets(shared_templates(config.budgets)).lines(policy_of(config.keys[0]), None, "gpt-4o-mini", now_ms)
        request = Reserve(
            ticket=1,
            exchange="x1",
            owner="w1",
            model="gpt-4o-mini",
            provider="openai",
            is_free=False,
            endpoint="chat",
            input_bytes=input_bytes,
            max_output_tokens=1000,
            choices=1,
            is_sliced=False,
            tier="default",
            lines=lines,
            rates=(),
        )
        (answer,) = ledger.handle([request])
        assert isinstance(answer, Granted)
        return answer.reserved_nano_usd
    finally:
        ledger.close()


def test_budgets_are_listed_with_and_without_spending(configured: Path, capsys: Capture) -> None:
    assert main(["budgets", "list", "-c", str(configured)]) == 0
    fresh = capsys.readouterr().out
    assert [line.split()[0] for line in fresh.splitlines()[1:]] == [
        "search-team/day",
        "search-team/tight",
        "everything",
    ]
    reserved = reserve(configured, 1000)
    assert main(["budgets", "list", "--json", "-c", str(configured)]) == 0
    rows = {row["budget"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["everything"]["reserved_nano_usd"] == reserved
    assert rows["search-team/tight"]["remaining_nano_usd"] == 50_000_000 - reserved
    assert set(rows) == {"search-team/day", "search-team/tight", "everything", "per-user"}


def test_the_explanation_says_what_is_left_and_why_a_request_would_be_refused(
    configured: Path, capsys: Capture
) -> None:
    reserved = reserve(configured, 200_000)
    assert main(["budgets", "explain", "search-team", "--model", "gpt-4o-mini", "-c", str(configured)]) == 0
    text = capsys.readouterr().out
    assert "limits  600 requests a minute" in text
    assert "00:00 JST (in " in text, "the window ends in its own zone"
    assert "bit by bit, 24h 00m after it was spent" in text
    assert "(1 open, the oldest for " in text
    assert "with max_tokens 1,024" in text
    assert main(["budgets", "explain", "search-team", "--model", "gpt-4o-mini", "--json", "-c", str(configured)]) == 0
    rows = {row["budget"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert [row["open_reservations"] for row in rows.values()] == [1, 1, 1, 1]
    assert rows["search-team/tight"]["remaining_nano_usd"] == 50_000_000 - reserved
    assert rows["everything"]["would_refuse"] is False
    assert main(["budgets", "explain", "search-team", "--model", "o3", "-c", str(configured)]) == 0
    refused = capsys.readouterr().out.split("search-team/tight")[1].split("everything")[0]
    assert "verdict   refused: it needs $" in refused


def test_the_explanation_reserves_all_of_a_limit_that_a_stream_says(configured: Path) -> None:
    config = parse_config(configured.read_text())
    stream = Typical("gpt-4o-mini", "openai", False, "chat", 4000, is_sliced=True, holds_limited=True, sample=1)
    sliced = replace(stream, holds_limited=False)
    slice_nano_usd = needs(config, stream, None)
    assert slice_nano_usd is not None
    assert needs(config, sliced, 8000) == slice_nano_usd
    assert needs(config, stream, 8000) > slice_nano_usd  # type: ignore[operator]  # its price is known, as above


def test_what_the_key_may_not_ask_for_is_not_its_typical_request(configured: Path, capsys: Capture) -> None:
    data_dir = parse_config(configured.read_text()).data_dir
    with contextlib.closing(sqlite3.connect(data_dir / "records.db", isolation_level=None)) as store:
        store.execute("UPDATE exchanges SET error_code = 'model_not_allowed' WHERE key = 'search-team'")
    assert main(["budgets", "explain", "search-team", "-c", str(configured)]) == 0
    assert "no request yet: name a model with --model" in capsys.readouterr().out


def test_an_unknown_key_is_named_with_those_that_exist(configured: Path, capsys: Capture) -> None:
    assert main(["budgets", "explain", "nobody", "-c", str(configured)]) == 1
    assert "keys: search-team" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "unbounded"), [([], "deny"), (["--unbounded", "allow"], "allow")])
def test_a_key_made_at_run_time_may_be_allowed_what_nobody_can_bound(
    configured: Path, capsys: Capture, option: list[str], unbounded: str
) -> None:
    assert main(["keys", "create", "batcher", "--budget", "5/day", *option, "-c", str(configured)]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--json", "-c", str(configured)]) == 0
    assert [each["unbounded"] for each in json.loads(capsys.readouterr().out)["budgets"]] == [unbounded]


def test_a_key_is_printed_once_alone_and_works_in_the_explanation(configured: Path, capsys: Capture) -> None:
    options = ["--budget", "25/day", "--budget", "$1.50/2h", "--models", "gpt-4o*,o3", "--rpm", "60"]
    assert main(["keys", "create", "bob", *options, "-c", str(configured)]) == 0
    made = capsys.readouterr()
    assert made.out.startswith("gl-")
    assert len(made.out) == 47
    assert made.out.count("\n") == 1
    assert main(["keys", "list", "-c", str(configured)]) == 0
    listed = capsys.readouterr().out
    assert made.out.strip() not in listed
    assert f"gl-…{made.out.strip()[-4:]}" in listed
    assert "$25.00/day, $1.50/2h" in listed
    assert "search-team" in listed
    assert main(["budgets", "explain", "bob", "-c", str(configured)]) == 0
    assert "bob/rolling-2h" in capsys.readouterr().out
    assert main(["keys", "revoke", "bob", "-c", str(configured)]) == 0
    assert main(["keys", "revoke", "bob", "-c", str(configured)]) == 1
    assert main(["budgets", "explain", "bob", "-c", str(configured)]) == 1
    capsys.readouterr()
    assert main(["keys", "list", "--json", "-c", str(configured)]) == 0
    assert json.loads(capsys.readouterr().out)["revoked_ms"] > 0


@pytest.mark.parametrize(
    "options", [["--budget", "25"], ["--budget", "x/day"], ["--budget", "5/fortnight"], ["--budget=-5/day"]]
)
def test_a_budget_that_cannot_be_is_explained(options: list[str], configured: Path, capsys: Capture) -> None:
    assert main(["keys", "create", "bob", *options, "-c", str(configured)]) == 1
    assert "budget" in capsys.readouterr().err


def test_a_name_in_the_configuration_is_taken(configured: Path, capsys: Capture) -> None:
    assert main(["keys", "create", "search-team", "-c", str(configured)]) == 1
    assert "the configuration has a key named search-team" in capsys.readouterr().err


def test_keys_are_changed_through_the_running_process(
    configured: Path, recorded: Path, start_admin: Callable[..., Admin], capsys: Capture
) -> None:
    admin = start_admin(recorded)
    assert main(["keys", "create", "bob", "--json", "-c", str(configured)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bob"
    assert [key["name"] for key in admin.get("/api/keys").json()["keys"]] == ["bob"]


def test_keys_need_a_data_directory(tmp_path: Path, capsys: Capture) -> None:
    assert main(["keys", "list", "--data-dir", str(tmp_path / "nowhere")]) == 78
    assert "no such data directory" in capsys.readouterr().err
