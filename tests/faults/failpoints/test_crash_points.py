"""A process dies between any two steps of a request's life: what the client got is on record, and the money is right.

Each case arms one failpoint with SIGKILL, once. The supervisor starts the dead process again, and three witnesses are
compared: the client, the provider's log of what it served and billed, and the databases.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import StartGlassline
from tests.e2e.prices import nano_usd
from tests.harness import Glassline, Simulator
from tests.harness.client import Answer, exchange, post
from tests.harness.process import DeadlineError, wait_until

KEY: Final = "sk-point-0123456789abcde"
CONFIG: Final = {"keys": [{"name": "point", "key": KEY, "budgets": [{"limit_usd": 1, "window": "total"}]}]}
BEFORE_DISPATCH: Final = ("gateway.after_reserve", "gateway.after_begin", "gateway.after_connect")
AFTER_DISPATCH: Final = (
    "gateway.after_request",
    "gateway.first_byte",
    "gateway.mid_stream",
    "gateway.last_byte",
    "gateway.after_end",
)
RECORDER: Final = (
    # With the pass at which it dies: some are passed while it starts, and what dies then ends the whole start.
    "recorder.after_poll:kill:50",
    "recorder.mid_batch:kill",
    "store.before_commit:kill:12",
    "store.after_commit:kill:12",
    "settle.before:kill",
    "settle.after:kill",
    "recorder.after_settle:kill:50",
    "store.checkpoint:kill:2",
)
LEDGER: Final = ("ledger.before_commit", "ledger.after_commit")
MAY_BE_MISSING: Final = 64 * 1024
"""Bytes of a running response that a gateway may take along when it dies."""
PROMPT: Final = "Say something at some length, please."


class Case:
    """One Glassline with one armed point."""

    def __init__(self, start: StartGlassline, simulator: Simulator, directory: Path, rule: str) -> None:
        self.simulator = simulator
        self.point = rule.partition(":")[0]
        self.acted = directory / "acted"
        self.acted.mkdir()
        env = {"GLASSLINE_FAILPOINTS": rule, "GLASSLINE_FAILPOINTS_ONCE": str(self.acted)}
        self.glassline: Glassline = start(simulator.url, CONFIG, env=env)

    def ask(self, *, is_stream: bool) -> Answer:
        body = {"model": "gpt-4o-mini", "max_tokens": 60, "stream": is_stream}
        body["messages"] = [{"role": "user", "content": PROMPT}]
        pace = "x-simulate: tokens=50;pace=500" if is_stream else "x-simulate: tokens=50"
        request = post("/v1/chat/completions", json.dumps(body).encode(), key=KEY, headers=(pace,))
        return exchange(self.glassline.port, request, timeout_s=30)

    def has_acted(self) -> bool:
        return (self.acted / self.point).exists()

    def ask_when_back(self) -> None:
        """Ask until it is served as if nothing had happened."""

        def served() -> bool:
            try:
                return is_whole(self.ask(is_stream=False))
            except OSError:
                return False

        wait_until(served, "service after the death", timeout_s=20)

    def settled(self) -> dict[str, Any]:
        """Wait until nothing is reserved; return the account."""

        def account() -> dict[str, Any] | None:
            rows = self.glassline.rows("SELECT * FROM accounts", database="ledger.db")
            still_open = self.glassline.rows("SELECT 1 FROM reservations", database="ledger.db")
            return rows[0] if rows and not rows[0]["reserved_nano_usd"] and not still_open else None

        return wait_until(account, "settlement of every reservation", timeout_s=10)

    def rows(self, answers: list[Answer]) -> list[dict[str, Any]]:
        """Wait until every answer that a client got in full has its row; return all rows."""
        whole = sum(map(is_whole, answers)) + 1  # and that of `ask_when_back`
        rows = self.glassline.wait_for_rows(whole, "outcome = 'completed'")
        assert len(rows) >= whole
        return self.glassline.rows("SELECT * FROM requests ORDER BY started_at")

    def bills(self) -> list[int]:
        return [nano_usd(line["model"], line["usage"]) for line in self.simulator.done() if line["usage"]]


def is_whole(answer: Answer) -> bool:
    """Say whether a client got an answer to its last byte."""
    if b"transfer-encoding: chunked" in answer.head:
        return answer.status == 200 and answer.body.endswith(b"\r\n0\r\n\r\n")
    return answer.status == 200 and b"content-length: %d\r\n" % len(answer.body) in answer.head + b"\r\n"


def check(case: Case, answers: list[Answer]) -> list[dict[str, Any]]:
    """Check what holds whatever died; return the rows."""
    account = case.settled()
    rows = case.rows(answers)
    bills = case.bills()
    received = len(case.simulator.truth("received"))
    assert len({row["id"] for row in rows}) == len(rows), "a request stands there twice"
    assert sum(row["outcome"] != "refused" for row in rows) >= received, "a request that was forwarded has no row"
    assert account["overrun_nano_usd"] == 0
    assert account["spent_nano_usd"] >= sum(bills), "something that was billed is free"
    certain = sum(round(row["cost_usd"] * 1e9) for row in rows if row["outcome"] == "completed")
    for row in rows:
        assert row["outcome"] in ("completed", "interrupted", "refused"), row["outcome"]
    interrupted = [row for row in rows if row["outcome"] == "interrupted"]
    if not interrupted:
        assert account["spent_nano_usd"] == sum(bills) == certain, "exact when nothing had to be estimated"
    for row in interrupted:
        [settled] = case.glassline.rows("SELECT settled_estimate FROM exchanges WHERE id = ?", row["id"])
        assert settled["settled_estimate"] == (row["usage_source"] != "provider"), "exact once the provider said it"
    for database in ("ledger.db", "records.db"):
        assert case.glassline.rows("PRAGMA integrity_check", database=database) == [{"integrity_check": "ok"}]
    return rows


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("point", [*BEFORE_DISPATCH, *AFTER_DISPATCH])
def test_a_gateway_that_dies_at_a_point_leaves_no_request_unaccounted(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path, point: str, is_stream: bool
) -> None:
    if point == "gateway.mid_stream" and not is_stream:
        pytest.skip("an answer in one piece has no middle")
    case = Case(start_glassline, simulator, tmp_path, f"{point}:kill" + (":5" if point.endswith("mid_stream") else ""))
    cut = case.ask(is_stream=is_stream)
    assert case.has_acted()
    assert not is_stream or not cut.body.endswith(b"0\r\n\r\n"), "the end must be missing"
    case.ask_when_back()
    rows = check(case, [cut])
    victim = next((row for row in rows if row["outcome"] == "interrupted"), None)
    assert sum(row["outcome"] == "interrupted" for row in rows) <= 1
    if point == "gateway.after_reserve":
        assert victim is None, "what had not been written down had not been sent"
    elif point == "gateway.after_end":
        assert victim is None
        assert [row["outcome"] for row in rows if row["outcome"] != "refused"] == ["completed", "completed"]
    else:
        assert victim is not None
        recorded = case.glassline.rows("SELECT response_bytes FROM requests WHERE id = ?", victim["id"])[0]
        assert (recorded["response_bytes"] or 0) >= len(cut.body) - MAY_BE_MISSING
    if point in BEFORE_DISPATCH:
        assert len(simulator.truth("received")) == 1, "only the one that came after"


@pytest.mark.parametrize(
    "point", [*BEFORE_DISPATCH, "gateway.after_request", "gateway.after_end", *LEDGER, "settle.before"]
)
def test_what_dies_while_money_is_lent_leaves_no_request_unaccounted(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path, point: str
) -> None:
    """As above, with a gateway that admits by itself by then."""
    case = Case(start_glassline, simulator, tmp_path, f"{point}:kill:{3 if point == 'settle.before' else 30}")
    answers: list[Answer] = []
    deadline = time.monotonic() + 30
    while not case.has_acted() and time.monotonic() < deadline:
        answers.append(case.ask(is_stream=False))
        is_lent = case.glassline.rows("SELECT 1 FROM reservations WHERE is_lease", database="ledger.db") != []
    assert case.has_acted()
    assert is_lent, "there was no lease to lose"
    case.ask_when_back()
    check(case, [answer for answer in answers if answer.status])


@pytest.mark.parametrize("rule", RECORDER)
def test_a_recorder_that_dies_at_a_point_loses_nothing_and_stores_nothing_twice(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path, rule: str
) -> None:
    case = Case(start_glassline, simulator, tmp_path, rule)
    answers = [case.ask(is_stream=bool(number % 2)) for number in range(3)]
    assert all(map(is_whole, answers)), "clients do not notice"
    wait_until(case.has_acted, f"the death at {case.point}", timeout_s=30)
    case.ask_when_back()
    rows = check(case, answers)
    assert {row["outcome"] for row in rows} == {"completed"}
    assert len(rows) == len(simulator.truth("received"))


@pytest.mark.parametrize("batch", [2, 3, 4])
@pytest.mark.parametrize("point", LEDGER)
def test_a_ledger_that_dies_around_a_commit_neither_forgets_money_nor_keeps_it(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path, point: str, batch: int
) -> None:
    """After the first batch, the recorder's question at its start: reservation, end at the gateway, settlement."""
    case = Case(start_glassline, simulator, tmp_path, f"{point}:kill:{batch}")
    answers = [case.ask(is_stream=is_stream) for is_stream in (False, True)]
    assert {answer.status for answer in answers} <= {200, 503}
    wait_until(case.has_acted, f"the death at {point}", timeout_s=20)
    case.ask_when_back()
    rows = check(case, answers)
    assert {row["outcome"] for row in rows} <= {"completed", "refused"}


def test_a_gateway_that_dies_while_it_takes_a_new_configuration_comes_back_with_it(
    start_glassline: StartGlassline, simulator: Simulator, tmp_path: Path
) -> None:
    case = Case(start_glassline, simulator, tmp_path, "gateway.reload:kill")
    assert is_whole(case.ask(is_stream=False))
    budgets = [{"limit_usd": 0, "window": "day"}]
    upstream = {"base_url": simulator.url, "wire": "openai", "provider": "openai", "allow_private": True}
    case.glassline.write_config(
        {"upstreams": {"openai": upstream}, "keys": [{"name": "point", "key": KEY, "budgets": budgets}]}
    )
    case.glassline.process.send_signal(signal.SIGHUP)
    wait_until(case.has_acted, "the death in the reload", timeout_s=20)

    def refuses() -> bool:
        try:
            return case.ask(is_stream=False).status == 429
        except OSError:
            return False

    wait_until(refuses, "the new configuration", timeout_s=20)


def test_a_process_that_dies_while_it_starts_is_named(simulator: Simulator, start_glassline: StartGlassline) -> None:
    with pytest.raises(DeadlineError, match=r"recorder \(pid [0-9]+\) died while it started: signal 9"):
        start_glassline(simulator.url, env={"GLASSLINE_FAILPOINTS": "recorder.open:kill"})
