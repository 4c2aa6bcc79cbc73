"""/metrics: what the store counted, what the ledger holds and what the processes say now, in Prometheus' formats.

The recorder counts in the same transaction that keeps the record, so what is shown here survives restarts, is the sum
over all gateways and never goes back. Nothing is counted here. The catalogue below names every metric; a test holds
docs/metrics.md to it.

Invariant: no label carries a user, a path or a prompt. Budgets per user are summed.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.admin.amounts import NANO
from proxy.stats import LATENESS_BOUNDS_S, ProcessStats, ReloadStats
from proxy.store.query import CounterRow

LOSS_REASONS: Final = ("disk_full", "no_begin", "record", "store", "store_damaged", "unreadable")
"""Shown as 0 from the start, so that an alert on an increase sees the first loss."""

MOST_BUDGETS: Final = 64
"""Shown by themselves; four series each."""

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Described:
    """One metric of the catalogue."""

    name: str
    kind: Kind
    help: str
    starts_at_zero: bool = False
    """Shown without labels before anything happened."""


CATALOGUE: Final = (
    Described("gen_ai_client_operation_duration_seconds", "histogram", "Duration of requests, as the client saw it."),
    Described("gen_ai_client_token_usage", "histogram", "Tokens of a request by gen_ai_token_type."),
    Described("gen_ai_server_time_to_first_token_seconds", "histogram", "Time from the request to the first token."),
    Described("gen_ai_server_time_per_output_token_seconds", "histogram", "Time per output token after the first."),
    Described("glassline_requests_total", "counter", "Requests recorded."),
    Described("glassline_tokens_total", "counter", "Tokens by type; input includes cached, output includes reasoning."),
    Described("glassline_cost_usd_total", "counter", "What the requests cost, US dollars."),
    Described("glassline_unpriced_requests_total", "counter", "Requests that cost something nobody knows.", True),
    Described("glassline_refused_total", "counter", "Requests refused before they were forwarded."),
    Described("glassline_overhead_seconds", "histogram", "Glassline's own share of a request's duration."),
    Described("glassline_records_written_total", "counter", "Records written to the store.", True),
    Described("glassline_records_lost_total", "counter", "Records that could not be kept, by reason."),
    Described("glassline_redaction_failures_total", "counter", "Records kept without texts: not redacted.", True),
    Described("glassline_sampled_out_total", "counter", "Records whose bodies were left out by sampling.", True),
    Described("glassline_recorder_lag_seconds", "gauge", "Age of the oldest finished request that is not stored yet."),
    Described("glassline_journal_bytes", "gauge", "Bytes in journal files that are not deleted yet."),
    Described("glassline_journal_bad_frames_total", "counter", "Frames of the journal whose checksum was wrong."),
    Described("glassline_journal_torn_tails_total", "counter", "Journal files that a killed process left unfinished."),
    Described("glassline_journal_lost_bytes_total", "counter", "Bytes of the journal that could not be read."),
    Described("glassline_journal_sync_failures_total", "counter", "Syncs of the journal that the disk refused."),
    Described("glassline_in_flight_requests", "gauge", "Requests that are not over."),
    Described("glassline_connections", "gauge", "Open client connections."),
    Described("glassline_event_loop_lag_seconds", "gauge", "Worst recent lateness of a process's event loop."),
    Described(
        "glassline_event_loop_lateness_seconds", "histogram", "Lateness of a process's event loop, ten looks a second."
    ),
    Described("glassline_process_up", "gauge", "1: the process reports; 0: it fell silent."),
    Described("glassline_journal_failures_total", "counter", "Journal writes that the disk refused."),
    Described("glassline_bad_requests_total", "counter", "Requests refused before they had a head to record."),
    Described("glassline_shed_total", "counter", "Connections and requests turned away because there were too many."),
    Described("glassline_admin_auth_failures_total", "counter", "Wrong credentials at the admin port, by result."),
    Described("glassline_admin_unwritten_total", "counter", "Failed logins and uses that app.db did not take."),
    Described("glassline_budget_limit_usd", "gauge", "Limit of a budget's current window, US dollars."),
    Described("glassline_budget_spent_usd", "gauge", "Spent in the current window, US dollars."),
    Described("glassline_budget_reserved_usd", "gauge", "Reserved for requests that are not settled, US dollars."),
    Described(
        "glassline_budget_overrun_usd", "gauge", "Billed beyond reservation and limit in the window, US dollars."
    ),
    Described("glassline_config_generation", "gauge", "The configuration that a process works with, counted from 1."),
    Described("glassline_config_reload_success", "gauge", "1: the last attempt to load a configuration succeeded."),
    Described("glassline_build_info", "gauge", "1, with the versions as labels."),
)
_DESCRIBED: Final = {described.name: described for described in CATALOGUE}


@dataclass(frozen=True, slots=True)
class HistogramShown:
    """One histogram series."""

    name: str
    labels: Labels
    bounds: Sequence[float]
    """Upper bounds of the buckets, ascending, without the unbounded last one."""
    buckets: Sequence[int]
    """Observations in each bucket, not cumulative; one more than `bounds`."""
    count: int
    sum: float


@dataclass(frozen=True, slots=True)
class BudgetLevel:
    """One budget in its current window, over all its scopes."""

    budget: str
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    overrun_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything one answer shows."""

    counters: Sequence[CounterRow] = ()
    histograms: Sequence[HistogramShown] = ()
    lag_s: float | None = None
    """None: the recorder has not said anything yet."""
    journal_bytes: float | None = None
    damage: Mapping[str, float] = field(default_factory=dict)
    """bad_frames, torn_tails and lost_bytes of the journal, as far as the recorder says."""
    budgets: Sequence[BudgetLevel] = ()
    processes: Sequence[ProcessStats] = ()
    reload: ReloadStats = field(default_factory=ReloadStats)
    admin_refused: int = 0
    """Requests that the admin port refused before the application saw them, since it started."""
    admin_shed: int = 0
    """Connections that were one too many for it."""
    auth_failures: Mapping[str, int] = field(default_factory=dict)
    """Wrong credentials at the admin port since it started: `refused`, and `limited` without a look."""
    admin_unwritten: int = 0
    """Failed logins and uses of tokens and sessions that the disk did not take, since it started."""


def render(scrape: Scrape, accept: str) -> tuple[bytes, str]:
    """Return the answer and its media type: OpenMetrics or Prometheus text, as `accept` prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(scrape))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Shown(Collector):
    """What one scrape shows, as prometheus-client wants to be given it."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterable[Metric]:
        yield from _counters(self._scrape)
        yield from _histograms((*self._scrape.histograms, *_lateness(self._scrape.processes)))
        yield from _recorder(self._scrape)
        yield from _processes(self._scrape.processes)
        yield from _turned_away(self._scrape)
        yield from _configuration(self._scrape)
        yield from _budgets(self._scrape.budgets)
        failures = [
            ({"result": result}, self._scrape.auth_failures.get(result, 0)) for result in ("refused", "limited")
        ]
        yield _counter("glassline_admin_auth_failures_total", failures)
        yield _counter("glassline_admin_unwritten_total", [({}, self._scrape.admin_unwritten)])
        yield _build_info()


def _gauge(name: str, samples: Iterable[tuple[Labels, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, _DESCRIBED[name].help)
    for labels, value in samples:
        family.add_sample(name, dict(labels), value)
    return family


def _counter(name: str, samples: Iterable[tuple[Labels, float]]) -> CounterMetricFamily:
    described = _DESCRIBED.get(name)
    family = CounterMetricFamily(name, described.help if described else "Counted by the recorder.")
    for labels, value in samples:
        family.add_sample(name, dict(labels), value)
    if described is not None and described.starts_at_zero and not family.samples:
        family.add_sample(name, {}, 0)
    return family


def _counters(scrape: Scrape) -> Iterator[Metric]:
    by_name: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for described in CATALOGUE:
        if described.kind == "counter" and described.name not in _ELSEWHERE:
            by_name[described.name] = []
    for counter in scrape.counters:
        is_money = counter.name.endswith("_usd_total")
        by_name[counter.name].append((counter.labels, counter.value / NANO if is_money else counter.value))
    lost = by_name["glassline_records_lost_total"]
    lost.append(({"reason": "spill"}, sum(process.lost_records for process in scrape.processes)))
    known = {labels.get("reason") for labels, _ in lost}
    lost.extend(({"reason": reason}, 0) for reason in LOSS_REASONS if reason not in known)
    for name, samples in by_name.items():
        yield _counter(name, samples)


_DAMAGE: Final = {
    "glassline_journal_bad_frames_total": "bad_frames",
    "glassline_journal_torn_tails_total": "torn_tails",
    "glassline_journal_lost_bytes_total": "lost_bytes",
    "glassline_journal_sync_failures_total": "sync_failures",
}
_ELSEWHERE: Final = frozenset(
    {
        "glassline_journal_failures_total",
        "glassline_bad_requests_total",
        "glassline_shed_total",
        "glassline_admin_auth_failures_total",
        "glassline_admin_unwritten_total",
        *_DAMAGE,
    }
)
"""Counters that the store does not hold as series."""


def _histograms(series: Sequence[HistogramShown]) -> Iterator[Metric]:
    by_name: dict[str, list[HistogramShown]] = {d.name: [] for d in CATALOGUE if d.kind == "histogram"}
    for histogram in series:
        by_name.setdefault(histogram.name, []).append(histogram)
    for name, found in by_name.items():
        described = _DESCRIBED.get(name)
        family = HistogramMetricFamily(name, described.help if described else "Observed by the recorder.")
        for histogram in found:
            _add_histogram(family, histogram)
        yield family


def _lateness(processes: Sequence[ProcessStats]) -> Iterator[HistogramShown]:
    name = "glassline_event_loop_lateness_seconds"
    for each in processes:
        if each.lateness:
            labels = {"process": each.process}
            yield HistogramShown(name, labels, LATENESS_BOUNDS_S, each.lateness, sum(each.lateness), each.late_s)


def _add_histogram(family: HistogramMetricFamily, histogram: HistogramShown) -> None:
    name, labels, total = histogram.name, dict(histogram.labels), 0
    for bound, observed in zip((*histogram.bounds, float("inf")), histogram.buckets, strict=True):
        total += observed
        family.add_sample(f"{name}_bucket", {**labels, "le": _bound_text(bound)}, total)
    family.add_sample(f"{name}_count", labels, histogram.count)
    family.add_sample(f"{name}_sum", labels, histogram.sum)


def _bound_text(bound: float) -> str:
    # OpenMetrics wants `1.0`, not `1`: the same text in both formats keeps one series one series.
    return "+Inf" if bound == float("inf") else str(float(bound))


def _recorder(scrape: Scrape) -> Iterator[Metric]:
    yield _gauge("glassline_recorder_lag_seconds", [({}, scrape.lag_s or 0.0)])
    yield _gauge("glassline_journal_bytes", [({}, scrape.journal_bytes or 0.0)])
    for name, said in _DAMAGE.items():
        yield _counter(name, [({}, scrape.damage.get(said, 0.0))])


def _processes(processes: Sequence[ProcessStats]) -> Iterator[Metric]:
    alive = [process for process in processes if process.is_alive]
    yield _gauge("glassline_in_flight_requests", [({}, sum(process.in_flight for process in alive))])
    yield _gauge("glassline_connections", [({}, sum(process.connections for process in alive))])
    lags = [({"process": process.process}, process.loop_lag_ms / 1000) for process in alive]
    yield _gauge("glassline_event_loop_lag_seconds", lags)
    yield _gauge(
        "glassline_process_up", [({"process": p.process}, float(p.is_alive)) for p in processes if not p.is_retired]
    )
    failures = [({"process": process.process}, process.journal_failures) for process in processes]
    yield _counter("glassline_journal_failures_total", failures)


def _turned_away(scrape: Scrape) -> Iterator[Metric]:
    bad = [({"process": each.process}, each.bad_requests) for each in scrape.processes]
    yield _counter("glassline_bad_requests_total", [*bad, ({"process": "admin"}, scrape.admin_refused)])
    shed = [({"process": each.process}, each.shed) for each in scrape.processes]
    yield _counter("glassline_shed_total", [*shed, ({"process": "admin"}, scrape.admin_shed)])


def _configuration(scrape: Scrape) -> Iterator[Metric]:
    generations = [({"process": p.process}, p.generation) for p in scrape.processes if p.is_alive and p.generation]
    if scrape.reload.generation:
        generations.append(({"process": "supervisor"}, scrape.reload.generation))
    yield _gauge("glassline_config_generation", generations)
    yield _gauge("glassline_config_reload_success", [({}, float(scrape.reload.is_good))])


def _budgets(all_levels: Sequence[BudgetLevel]) -> Iterator[Metric]:
    levels = most_used(all_levels)
    amounts: dict[str, list[tuple[str, int]]] = {
        "glassline_budget_limit_usd": [(level.budget, level.limit_nano_usd) for level in levels],
        "glassline_budget_spent_usd": [(level.budget, level.spent_nano_usd) for level in levels],
        "glassline_budget_reserved_usd": [(level.budget, level.reserved_nano_usd) for level in levels],
        "glassline_budget_overrun_usd": [(level.budget, level.overrun_nano_usd) for level in levels],
    }
    for name, rows in amounts.items():
        yield _gauge(name, [({"budget": budget}, nano / NANO) for budget, nano in rows])


def most_used(levels: Sequence[BudgetLevel]) -> list[BudgetLevel]:
    """Return the budgets of which most is used, and the sum of all others: keys with budgets may be made by the thousand."""
    if len(levels) <= MOST_BUDGETS:
        return list(levels)
    ordered = sorted(levels, key=_use, reverse=True)
    rest = ordered[MOST_BUDGETS:]
    others = BudgetLevel(
        "other",
        sum(level.limit_nano_usd for level in rest),
        sum(level.spent_nano_usd for level in rest),
        sum(level.reserved_nano_usd for level in rest),
        sum(level.overrun_nano_usd for level in rest),
    )
    return [*ordered[:MOST_BUDGETS], others]


def _use(level: BudgetLevel) -> float:
    return (level.spent_nano_usd + level.reserved_nano_usd) / max(1, level.limit_nano_usd)


def _build_info() -> Metric:
    labels = {"version": __version__, "python": platform.python_version()}
    return _gauge("glassline_build_info", [(labels, 1)])
