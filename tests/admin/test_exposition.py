from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from proxy.admin.exposition import CATALOGUE, LOSS_REASONS, BudgetLevel, HistogramShown, Scrape, render
from proxy.stats import ProcessStats
from proxy.store.query import CounterRow
from tests.admin.exposed import parse_openmetrics, parse_text


def observed(name: str, labels: dict[str, str] | None = None) -> HistogramShown:
    return HistogramShown(name, labels or {}, bounds=(0.01, 0.1, 1), buckets=(1, 0, 4, 2), count=7, sum=12.5)


REQUEST = {"key": "search", "upstream": "openai", "model": "gpt-4o"}
FULL = Scrape(
    counters=[
        CounterRow("glassline_requests_total", {**REQUEST, "status_class": "2xx", "outcome": "completed"}, 12),
        CounterRow("glassline_cost_usd_total", REQUEST, 1_500_000_001),
        CounterRow("glassline_records_lost_total", {"reason": "store"}, 2),
    ],
    histograms=[
        observed("glassline_overhead_seconds"),
        observed("gen_ai_client_token_usage", {"gen_ai_token_type": "input"}),
    ],
    lag_s=0.25,
    journal_bytes=4096,
    damage={"bad_frames": 1.0},
    budgets=[BudgetLevel("everything", 5_000 * 10**9, 10**9, 5 * 10**8)],
    processes=[
        ProcessStats("gateway-0", 7, True, 3, 4, 1, 2.5, True, 9),
        ProcessStats("gateway-1", 8, False, 5, 5, 0, 0, False, 0),
    ],
)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_numbers_arrive_in_the_units_of_their_names() -> None:
    shown = samples(render(FULL, "")[0].decode())
    assert shown["glassline_cost_usd_total", frozenset(REQUEST.items())] == 1.500000001
    assert shown["glassline_overhead_seconds_bucket", frozenset({("le", "0.1")})] == 1
    assert shown["glassline_overhead_seconds_bucket", frozenset({("le", "1.0")})] == 5
    assert shown["glassline_overhead_seconds_bucket", frozenset({("le", "+Inf")})] == 7
    assert shown["glassline_event_loop_lag_seconds", frozenset({("process", "gateway-0")})] == 0.0025
    assert shown["glassline_budget_limit_usd", frozenset({("budget", "everything")})] == 5000


def test_what_a_dead_gateway_last_said_is_not_counted_as_in_flight() -> None:
    shown = samples(render(FULL, "")[0].decode())
    assert shown["glassline_in_flight_requests", frozenset()] == 3
    assert shown["glassline_process_up", frozenset({("process", "gateway-1")})] == 0


def test_losses_are_zero_before_the_first_one() -> None:
    shown = samples(render(Scrape(), "")[0].decode())
    for reason in LOSS_REASONS:
        assert shown["glassline_records_lost_total", frozenset({("reason", reason)})] == 0
    assert shown["glassline_records_written_total", frozenset()] == 0
    known = samples(render(FULL, "")[0].decode())
    assert known["glassline_records_lost_total", frozenset({("reason", "store")})] == 2


@pytest.mark.parametrize("scrape", [Scrape(), FULL], ids=["empty", "full"])
def test_every_metric_of_the_catalogue_has_its_help_and_type(scrape: Scrape) -> None:
    text = render(scrape, "")[0].decode()
    for described in CATALOGUE:
        assert f"# HELP {described.name} " in text
        assert f"# TYPE {described.name} {described.kind}\n" in text


@pytest.mark.parametrize("scrape", [Scrape(), FULL], ids=["empty", "full"])
def test_openmetrics_is_spoken_to_those_who_ask_for_it(scrape: Scrape) -> None:
    body, media_type = render(scrape, "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(body.decode())}
    assert {"glassline_requests", "gen_ai_client_token_usage"} <= names
    assert render(scrape, "")[1].startswith("text/plain")


@pytest.mark.parametrize("scrape", [Scrape(), FULL], ids=["empty", "full"])
def test_promtool_has_nothing_to_say(scrape: Scrape, system_tool: Callable[[str], str]) -> None:
    text = render(scrape, "")[0]
    result = subprocess.run(
        [system_tool("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")


def test_two_thousand_series_render_within_a_fifth_of_a_second() -> None:
    many = [CounterRow("glassline_requests_total", {**REQUEST, "model": f"m{n}"}, n) for n in range(1_700)]
    histograms = [observed("glassline_overhead_seconds", {"model": f"m{n}"}) for n in range(50)]
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        body, _ = render(Scrape(counters=many, histograms=histograms), "")
        durations.append(time.perf_counter() - start)
    assert len(body) < 1_000_000
    assert min(durations) < 0.2
