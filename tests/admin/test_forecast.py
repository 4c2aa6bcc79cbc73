from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.forecast import project, runs_out_ms
from proxy.admin.pace import pace_of
from proxy.ledger.accounts import AccountRow

HOUR_MS = 3_600_000


@given(st.integers(0, 10**6), st.integers(1, 168), st.integers(0, 720), st.integers(0, 720))
def test_a_constant_rate_forecasts_itself(per_ms: int, lately_h: int, elapsed_h: int, left_h: int) -> None:
    spent, lately = per_ms * elapsed_h * HOUR_MS, per_ms * lately_h * HOUR_MS
    assert project(spent, lately, lately_h * HOUR_MS, left_h * HOUR_MS) == per_ms * (elapsed_h + left_h) * HOUR_MS


@given(st.integers(1, 10**6), st.integers(1, 168), st.integers(0, 10**6))
def test_what_is_left_runs_out_when_it_is_spent(per_ms: int, lately_h: int, left_ms: int) -> None:
    assert runs_out_ms(per_ms * left_ms, per_ms * lately_h * HOUR_MS, lately_h * HOUR_MS) == left_ms


def test_nobody_forecasts_from_minutes() -> None:
    assert project(5, 5, HOUR_MS - 1, HOUR_MS) is None
    assert runs_out_ms(5, 0, HOUR_MS) is None
    assert runs_out_ms(0, 5, HOUR_MS) == 0


def account(
    spent: int, limit: int = 100 * 10**9, *, end_h: int | None = 240, rolling_h: int | None = None, reserved: int = 0
) -> AccountRow:
    end = None if end_h is None else end_h * HOUR_MS
    rolling = None if rolling_h is None else rolling_h * HOUR_MS
    return AccountRow(1, "all", "", 0, end, rolling, True, limit, spent, reserved, 0)


def test_a_budget_that_lasts_says_where_it_ends() -> None:
    pace = pace_of(account(40 * 10**9), 10**9, 2 * HOUR_MS, 120 * HOUR_MS)
    assert (pace.elapsed, pace.projected_nano_usd, pace.runs_out_at, pace.state) == (0.5, 100 * 10**9, None, "ok")
    assert pace.text == "on course for $100, $0 under"


def test_a_budget_that_does_not_last_says_when_it_runs_out() -> None:
    pace = pace_of(account(52 * 10**9), 10**9, HOUR_MS, 120 * HOUR_MS)
    assert (pace.runs_out_at, pace.state) == ((120 + 48) * HOUR_MS, "warning")
    assert pace.text == "runs out in about 2 d at this rate" or pace.text == "runs out in about 48 h at this rate"


def test_a_budget_without_room_says_when_it_frees() -> None:
    pace = pace_of(account(70 * 10**9, reserved=30 * 10**9), 0, HOUR_MS, 239 * HOUR_MS)
    assert (pace.state, pace.text) == ("critical", "all spent or reserved; resets in 1 h")
    rolling = pace_of(account(100 * 10**9, end_h=None, rolling_h=24), 0, HOUR_MS, 300 * HOUR_MS)
    assert rolling.text == "all spent; frees bit by bit"


def test_a_rolling_budget_whose_rate_fits_never_runs_out() -> None:
    pace = pace_of(account(90 * 10**9, end_h=None, rolling_h=24), 4 * 10**9, HOUR_MS, 300 * HOUR_MS)
    assert (pace.projected_nano_usd, pace.runs_out_at) == (96 * 10**9, None)
    faster = pace_of(account(90 * 10**9, end_h=None, rolling_h=24), 5 * 10**9, HOUR_MS, 300 * HOUR_MS)
    assert faster.runs_out_at == 302 * HOUR_MS


def test_a_total_without_spending_has_no_end() -> None:
    assert pace_of(account(0, end_h=None), 0, HOUR_MS, HOUR_MS).text == "no end at this rate"
