from __future__ import annotations

import asyncio
import time
from pathlib import Path

from proxy.admin.accounts import as_configured, configured_budgets
from proxy.admin.exposition import render
from proxy.admin.instruments import Instruments, budget_levels
from proxy.config import parse_config
from proxy.ledger.accounts import AccountRow
from proxy.stats import StatsBoard
from proxy.store import SqliteStore, Tally
from proxy.store.series import BOUNDARIES
from tests.admin.exposed import parse_text


def test_a_store_full_of_series_is_read_and_rendered_within_a_fifth_of_a_second(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "records.db", max_series=2000)
    tallies = []
    for number in range(3000):
        who = (("key", f"k{number % 40}"), ("upstream", "openai"), ("model", f"m{number}"))
        tallies.append(Tally("glassline_cost_usd_total", who, 1))
        tallies.extend(Tally(name, (("gen_ai_request_model", f"m{number}"),), 0.5) for name in BOUNDARIES)
    store.write([], {}, tallies)
    store.close()
    instruments, durations = Instruments(tmp_path, StatsBoard(1)), []
    for _ in range(5):
        start = time.perf_counter()
        body, _ = render(asyncio.run(instruments.scrape()), "")
        durations.append(time.perf_counter() - start)
    samples = sum(len(family.samples) for family in parse_text(body.decode()))
    assert 1000 < samples < 2100
    assert len(body) < 1_000_000
    assert min(durations) < 0.2


def account(budget: str, scope: str, spent: int) -> AccountRow:
    return AccountRow(1, budget, scope, 0, None, None, True, 100, spent, 5, 0)


def test_budgets_per_user_are_one_sum_without_a_name() -> None:
    rows = [account("per-user", "ann", 10), account("per-user", "bob", 20), account("all", "", 30)]
    levels = {level.budget: level for level in budget_levels(rows)}
    assert set(levels) == {"per-user", "all"}
    per_user = levels["per-user"]
    assert (per_user.limit_nano_usd, per_user.spent_nano_usd, per_user.reserved_nano_usd) == (200, 30, 10)
    assert "ann" not in repr(levels)


def test_a_changed_limit_is_shown_before_the_ledger_has_heard_of_it() -> None:
    config = parse_config("budgets: [{name: all, limit_usd: 4, window: day}, {name: new, limit_usd: 1, window: total}]")
    rows = as_configured([account("all", "", 30), account("bob/day", "", 7)], configured_budgets(config), 10**12)
    assert [(row.budget, row.limit_nano_usd, row.spent_nano_usd) for row in rows] == [
        ("all", 4 * 10**9, 30),
        ("bob/day", 100, 7),
        ("new", 10**9, 0),
    ]
