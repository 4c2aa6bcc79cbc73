from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.simulation import Hourly, simulate
from proxy.store.rollups import DAY_MS, HOUR_MS

HOURS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10**9)), min_size=1, max_size=72).map(
    lambda found: [Hourly(number * HOUR_MS, *each) for number, each in enumerate(found)]
)


def day(at: int) -> int:
    return at // DAY_MS


@given(HOURS, st.integers(0, 10**10), st.sampled_from([None, HOUR_MS, 5 * HOUR_MS]))
def test_what_is_admitted_never_passes_the_limit_and_nothing_is_blocked_below_it(
    hours: list[Hourly], limit: int, rolling_ms: int | None
) -> None:
    blocked, nano, seen, hit = simulate(hours, limit, day, rolling_ms)
    total = sum(hour.nano_usd for hour in hours)
    assert hit <= seen
    assert 0 <= blocked <= sum(hour.requests for hour in hours)
    assert bool(hit) == (nano > 0)
    if rolling_ms is None:
        by_day: dict[int, int] = {}
        for hour in hours:
            by_day[day(hour.at)] = by_day.get(day(hour.at), 0) + hour.nano_usd
        assert round(nano) == sum(max(0, spent - limit) for spent in by_day.values())
    if limit >= total:
        assert (blocked, nano, hit) == (0, 0, set())


@given(HOURS, st.integers(0, 10**10), st.integers(0, 10**10))
def test_a_lower_limit_never_blocks_less(hours: list[Hourly], one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert simulate(hours, low, day)[0] >= simulate(hours, high, day)[0] - 1e-6


def test_in_the_hour_in_which_it_is_reached_requests_count_in_proportion() -> None:
    hours = [Hourly(0, 10, 100), Hourly(HOUR_MS, 10, 100), Hourly(2 * HOUR_MS, 10, 100)]
    assert simulate(hours, 150, day)[:2] == (15, 150)


def test_a_rolling_limit_frees_what_has_left_the_window() -> None:
    hours = [Hourly(number * HOUR_MS, 10, 100) for number in range(6)]
    assert simulate(hours, 100, day, 2 * HOUR_MS)[0] == 30, "every second hour"
