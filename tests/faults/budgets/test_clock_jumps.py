"""The clock of the machine jumps while real processes run: spent money stays spent, and no duration is negative.

`libfaketime` moves the wall clock of every process at once and leaves the monotonic one alone. Without it these are
skipped, and say so; `tests/system/install.sh` fetches it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import StartGlassline
from tests.harness import Glassline, Simulator, faketime
from tests.harness.client import Answer, exchange, post
from tests.harness.process import wait_until

KEY: Final = "sk-clock-0123456789abcd"
NOON: Final = datetime.now(UTC).replace(hour=12, minute=30, second=0, microsecond=0)
HOUR: Final = 3600
DAY: Final = 86_400


class Jumping:
    """A Glassline whose wall clock goes where it is told to."""

    def __init__(self, start: StartGlassline, simulator: Simulator, directory: Path) -> None:
        self._file = directory / "clock"
        # From half past noon on, so that no jump of an hour changes the day and one of five hours back does not either.
        self._base = round(NOON.timestamp() - datetime.now(UTC).timestamp())
        self.go(0)
        env = faketime.environment(TIMESTAMP_FILE=str(self._file), NO_CACHE="1")
        budgets = [
            {"name": "day", "limit_usd": "0.0001", "window": "day"},
            {"name": "month", "limit_usd": 1, "window": "month", "timezone": "Europe/Berlin"},
            {"name": "rolling", "limit_usd": 1, "rolling": "2h"},
        ]
        self.glassline: Glassline = start(
            simulator.url, {"keys": [{"name": "clock", "key": KEY, "budgets": budgets}]}, env=env
        )

    def go(self, seconds: float) -> None:
        """Set the clock to half past noon of today, and `seconds` on."""
        replacement = self._file.with_suffix(".new")
        replacement.write_text(f"{self._base + round(seconds):+d}s\n")
        replacement.replace(self._file)

    def stop_at(self, seconds: float) -> None:
        """Let the clock stand still."""
        text = datetime.fromtimestamp(NOON.timestamp() + seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        self._file.write_text(text + "\n")

    def ask(self) -> Answer:
        body = {"model": "gpt-4o-mini", "max_tokens": 40, "messages": [{"role": "user", "content": "hi"}]}
        return exchange(self.glassline.port, post("/v1/chat/completions", json.dumps(body).encode(), key=KEY))

    def use_up(self) -> int:
        """Ask until the budget of the day refuses; return how many were served."""
        for count in range(40):
            if self.ask().status == 429:
                return count
            self.accounts()
        raise AssertionError("the budget never refused")

    def accounts(self) -> list[dict[str, Any]]:
        """Wait until nothing is reserved; return the accounts."""

        def settled() -> list[dict[str, Any]] | None:
            rows = self.glassline.rows("SELECT * FROM accounts ORDER BY budget, window_start_ms", database="ledger.db")
            return rows if all(row["reserved_nano_usd"] == 0 for row in rows) else None

        return wait_until(settled, "settlement", timeout_s=20)

    def spent(self, budget: str) -> list[int]:
        return [row["spent_nano_usd"] for row in self.accounts() if row["budget"].endswith(budget)]


@pytest.fixture
def jumping(start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path) -> Iterator[Jumping]:
    jumping = Jumping(start_glassline, simulator, tmp_path)
    yield jumping
    jumping.go(0)


def test_no_jump_backwards_opens_a_budget_again_and_a_new_day_does(jumping: Jumping) -> None:
    assert jumping.use_up() > 0
    before = jumping.spent("day")
    for seconds in (HOUR, 0, -HOUR, -5 * HOUR, 0):
        jumping.go(seconds)
        assert jumping.ask().status == 429, seconds
    assert jumping.spent("day") == before
    jumping.go(DAY)
    served = jumping.use_up()
    assert served > 0, "another day has come"
    for seconds in (0, -DAY, -40 * DAY):  # to days that were used up, and to days before all of them
        jumping.go(seconds)
        assert jumping.ask().status == 429, seconds
    assert sum(jumping.spent("month")) == sum(jumping.spent("day"))
    assert all(row["overrun_nano_usd"] == 0 for row in jumping.accounts())


def test_forty_days_ahead_and_back_is_survived(jumping: Jumping) -> None:
    served = jumping.use_up()
    jumping.go(40 * DAY)
    served += jumping.use_up()
    jumping.go(0)
    assert jumping.ask().status == 429
    rows = jumping.glassline.wait_for_rows(served, "outcome = 'completed'")
    assert len(rows) == served
    assert sum(jumping.spent("day")) == sum(round(row["cost_usd"] * 1e9) for row in rows)


def test_durations_are_measured_by_a_clock_that_does_not_jump(jumping: Jumping) -> None:
    body = {"model": "gpt-4o-mini", "max_tokens": 40, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    request = post(
        "/v1/chat/completions", json.dumps(body).encode(), key="sk-nobody", headers=("x-simulate: tokens=40;pace=40",)
    )
    for seconds in (0, -HOUR, 40 * DAY, -5 * HOUR):
        jumping.go(seconds)
        answer = exchange(jumping.glassline.port, request)
        assert b"[DONE]" in answer.body
    jumping.stop_at(0)
    assert b"[DONE]" in exchange(jumping.glassline.port, request).body
    rows = jumping.glassline.wait_for_rows(5)
    for row in rows:
        assert 500 < row["duration_ms"] < 30_000, row["duration_ms"]
        assert 0 <= row["ttft_ms"] <= row["duration_ms"]
        assert row["outcome"] == "completed"
