from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.gauges import (
    ENOUGH,
    LEAST,
    SLOW_MS,
    STUCK_MS,
    WINDOW_MS,
    Gauge,
    Sight,
    latency_limits,
    percentile_ms,
    read_gauges,
    sampled,
    silence,
)
from proxy.admin.tiles import MINUS, Shown, find_cause, headline, reasons, tile
from proxy.admin.verdict import Reason
from proxy.store.histogram import bucket_of
from proxy.store.recent import Hour, Seen
from proxy.store.rollups import DAY_MS, HOUR_MS

NOW = 20_000 * DAY_MS + 10 * HOUR_MS + 30 * 60_000
MINUTE_MS = 60_000


def seen(
    age_ms: int = 0,
    *,
    model: str = "gpt",
    key: str = "app",
    is_fault: bool = False,
    is_refused: bool = False,
    ms: int | None = 500,
    nano_usd: int = 10**6,
    what: str = "",
) -> Seen:
    us = None if ms is None else ms * 1000
    kind = what or ("503 overloaded" if is_fault else "")
    return Seen(NOW - age_ms, "openai", model, key, "", is_refused, is_fault, us, None, nano_usd, 0, kind)


def hour(days_ago: int, *, requests: int = 100, faults: int = 0, ms: int = 500, hours_ago: int = 0) -> Hour:
    start = NOW - NOW % HOUR_MS - days_ago * DAY_MS - hours_ago * HOUR_MS
    return Hour(start, requests, 0, faults, requests * 10**6, {bucket_of(ms * 1000): requests}, {})


def sight(rows: list[Seen], hours: list[Hour] | None = None, pace: int | None = None, quiet_ms: int = 0) -> Sight:
    newest = max((row.started_at for row in rows), default=NOW - quiet_ms if quiet_ms else None)
    return Sight(NOW, sorted(rows, key=lambda row: -row.started_at), hours or [], newest, pace)


def shown(gauge: Gauge) -> Shown:
    return Shown(gauge, gauge.state, None)


def spread(count: int, faults: int = 0, over_ms: int = WINDOW_MS) -> list[Seen]:
    return [seen(number * over_ms // count, is_fault=number < faults) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "faults", "state"),
    [
        (1000, 9, "ok"),
        (1000, 10, "warning"),
        (1000, 50, "critical"),
        (20, 1, "ok"),
        (20, 2, "critical"),
        (19, 19, "unjudged"),
    ],
)
def test_errors_are_judged_by_their_share(count: int, faults: int, state: str) -> None:
    errors, _, _ = read_gauges(sight(spread(count, faults)))
    assert errors.state == state
    assert errors.value == faults / count
    assert errors.counted == faults


def test_a_client_s_own_mistakes_and_refusals_are_no_errors() -> None:
    rows = [*spread(100), *(seen(is_refused=True, ms=0) for _ in range(100))]
    errors, latency, _ = read_gauges(sight(rows))
    assert (errors.value, len(errors.sample.rows)) == (0, 100)
    assert latency.value == 500


@given(st.lists(st.integers(0, HOUR_MS), max_size=400))
def test_the_window_is_a_quarter_of_an_hour_or_as_much_of_an_hour_as_makes_enough(ages: list[int]) -> None:
    taken = sampled(sight([seen(age) for age in ages]), lambda _: True)
    recent = sum(age <= WINDOW_MS for age in ages)
    if recent >= ENOUGH:
        assert len(taken.rows) == recent
    else:
        assert len(taken.rows) == min(len(ages), ENOUGH) or len(taken.rows) == recent
    assert all(row.started_at >= taken.from_ms for row in taken.rows)
    assert taken.from_ms >= NOW - HOUR_MS


@given(st.floats(1, 10**6))
def test_latency_limits_never_warn_of_what_is_usual_and_grow_with_it(usual: float) -> None:
    warn, critical = latency_limits(usual)
    assert usual < warn < critical
    assert all(low <= high for low, high in zip(latency_limits(usual), latency_limits(usual * 1.1), strict=True))
    if usual <= SLOW_MS / 1.5:
        assert warn <= SLOW_MS
        assert critical <= STUCK_MS


def test_latency_is_judged_against_what_is_usual_at_this_hour() -> None:
    slow = [seen(number * 1000, ms=3000) for number in range(300)]
    assert read_gauges(sight(slow))[1].state == "ok"
    usual = [hour(day, ms=400) for day in range(1, 8)]
    assert read_gauges(sight(slow, usual))[1].state == "critical"
    often_slow = [hour(day, ms=2500) for day in range(1, 8)]
    assert read_gauges(sight(slow, often_slow))[1].state == "ok"


def test_percentiles_are_the_value_that_so_many_do_not_exceed() -> None:
    assert percentile_ms([number * 1000 for number in range(1, 101)], 0.95) == 95
    assert percentile_ms([], 0.95) is None


def test_cost_is_judged_by_the_pace_of_the_budget_and_not_without_one() -> None:
    rows = spread(100, over_ms=HOUR_MS)  # 0.1 dollars in an hour
    assert read_gauges(sight(rows))[2].state == "unjudged"
    for pace, state in ((70_000_000, "ok"), (60_000_000, "warning"), (40_000_000, "critical")):
        _, _, cost = read_gauges(sight(rows, pace=pace))
        assert (cost.value, cost.state) == (10**8, state)


def test_silence_is_told_where_requests_are_usual() -> None:
    week = [hour(day) for day in range(1, 9)]
    busy = sight([seen(10 * MINUTE_MS)], week)
    assert silence(busy) == ("silent", "No traffic for 10 min")
    assert silence(sight([seen(2 * MINUTE_MS)], week)) is None
    lonely = sight([seen(20 * MINUTE_MS)], [hour(day, requests=2) for day in range(1, 9)])
    assert silence(lonely) == ("unjudged", "No traffic for 20 min")
    assert silence(sight([])) == ("none", "No requests yet")


def test_a_free_day_of_the_week_is_no_silence() -> None:
    week = [hour(day) for day in range(1, 7)] + [hour(8)]
    assert silence(sight([seen(30 * MINUTE_MS)], week)) == ("unjudged", "No traffic for 30 min")


def test_the_series_has_a_gap_where_nothing_was_and_ends_now() -> None:
    errors, _, cost = read_gauges(sight(spread(100), [hour(0, hours_ago=2, faults=5)]))
    values = [value for _, value in errors.series]
    assert len(values) == 25
    assert values[-3] == 0.05
    assert values[-2] is None
    assert values[-1] == 0
    assert [value for _, value in cost.series][-2] == 0


def test_the_cause_is_the_group_with_the_largest_excess() -> None:
    rows = [
        *(seen(model="new", is_fault=number < 17) for number in range(23)),
        *(seen(is_fault=number < 2) for number in range(190)),
    ]
    cause = find_cause(rows, lambda row: bool(row.is_fault), "status:5xx")
    assert cause is not None
    assert (cause.dimension, cause.value, cause.bad, cause.of_bad, cause.requests) == ("model", "new", 17, 19, 23)
    assert cause.q == 'model:"new" (status:5xx)'


def test_no_cause_is_named_where_none_stands_out() -> None:
    assert find_cause(spread(100, 50), lambda row: bool(row.is_fault), "") is None


def test_a_value_that_no_filter_can_say_is_named_without_one() -> None:
    rows = [*(seen(model='a"b', is_fault=True) for _ in range(10)), *spread(100)]
    cause = find_cause(rows, lambda row: bool(row.is_fault), "")
    assert cause is not None
    assert cause.q is None


def test_the_sentence_says_what_is_wrong_since_when_and_with_what() -> None:
    gauges = read_gauges(sight(spread(100, 18)))
    errors = Shown(gauges[0], "critical", NOW - 22 * MINUTE_MS)
    said = headline([], [errors, shown(gauges[1]), shown(gauges[2])], NOW)
    assert said.text == "Requests are failing: 18% errors for 22 min"
    assert said.detail.startswith("Above the 5% critical line for 22 min. No model, upstream, key or user stands out")
    assert "503 overloaded" in said.detail
    assert said.link is not None
    assert said.link.label == "See 18 failed requests"
    assert (said.state, [reason.level for reason in reasons([errors])]) == ("critical", ["failing"])


def test_lost_records_come_before_a_slow_model() -> None:
    slow = read_gauges(sight([seen(number * 1000, ms=9000) for number in range(300)]))
    lost = Reason("failing", "records_lost", "2 records lost: store")
    said = headline([lost], [shown(gauge) for gauge in slow], NOW)
    assert said.state == "critical"
    assert said.text == "2 things need attention: 2 records lost: store"
    assert said.detail == "Also: P95 latency is 9.00 s."


def test_all_is_ok_only_when_that_could_be_judged() -> None:
    for rows, text in (
        (spread(100), "Everything is OK"),
        (spread(5), "Too little traffic to judge"),
        ([], "No requests yet"),
    ):
        gauges = [shown(gauge) for gauge in read_gauges(sight(rows))]
        assert headline([], gauges, NOW).text == text


def test_a_tile_says_from_how_much_it_is_told_and_how_it_was_yesterday() -> None:
    errors, latency, _ = read_gauges(sight(spread(1000, 10), [hour(1, faults=2, ms=1000)]))
    shown_errors = tile(shown(errors), NOW)
    assert (shown_errors.text, shown_errors.word) == ("1.0%", "Warning")
    assert shown_errors.sample == "10 of 1,000 in 15 min"
    assert (shown_errors.difference, shown_errors.is_worse) == (f"{MINUS}1.00 pts vs yesterday", False)
    shown_latency = tile(shown(latency), NOW)
    assert shown_latency.sample == "1,000 requests in 15 min"
    assert shown_latency.is_worse is False
    assert LEAST == 20


def test_a_missing_price_leads_to_the_requests_that_have_none() -> None:
    gauges = [shown(gauge) for gauge in read_gauges(sight(spread(100)))]
    said = headline([Reason("degraded", "unpriced", "3 requests without a price")], gauges, NOW)
    assert said.link is not None
    assert (said.link.q, said.link.start) == ("unpriced:true", NOW - 300_000)


def test_a_tile_has_one_more_number_until_it_is_being_watched() -> None:
    _, latency, cost = read_gauges(Sight(NOW, [seen()._replace(ttft_us=250_000)] * 30, (), NOW, None, 8 * 10**12))
    assert tile(shown(latency), NOW).note == "TTFT P95 250 ms"
    assert tile(shown(cost), NOW).note == "on course for $8,000 this month"
    assert tile(Shown(latency, "critical", None), NOW).note == "below its line again, being watched"


def test_a_cost_names_whom_most_of_the_money_goes_to() -> None:
    rows = [*(seen(model="dear", nano_usd=10**9) for _ in range(5)), *spread(95)]
    gauges = [shown(gauge) for gauge in read_gauges(sight(rows, pace=10**8))]
    said = headline([], gauges, NOW)
    assert said.detail.endswith("98% of it: model dear.")
    assert said.cause is not None
    assert said.cause.q == 'model:"dear"'
