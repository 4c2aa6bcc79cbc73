"""Gauges: three numbers that say whether all is well now: error rate, P95 latency, cost per hour.

Pure: what was seen goes in, judgements come out. A number is judged over the last 15 minutes, or over as much of the last
hour as gives 200 requests; below 20 it is not judged at all. Silence is not health: it has words of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from proxy.admin.figures import dollars, duration, whole_minutes
from proxy.store import histogram
from proxy.store.recent import MOST, Hour, Seen
from proxy.store.rollups import DAY_MS, HOUR_MS

State = Literal["ok", "warning", "critical", "unjudged", "silent", "none"]
"""`unjudged`: too little to judge by. `silent`: no requests, though there usually are some. `none`: there never was one."""
Name = Literal["error_rate", "latency", "cost"]

WINDOW_MS: Final = 15 * 60_000
ENOUGH: Final = 200
LEAST: Final = 20
"""Requests below which a share or a percentile says nothing."""
ERRORS_WARN, ERRORS_CRITICAL = 0.01, 0.05
LEAST_FAULTS: Final = 2
"""One request that failed is no rate, however few there were."""
SLOW_MS, STUCK_MS = 8000.0, 15000.0
COST_WARN, COST_CRITICAL = 1.5, 2.5
"""Times the pace at which the budget lasts to the end of its window."""
SILENT_MS: Final = 5 * 60_000
UNUSUAL: Final = 10.0
"""Requests that would usually have come: that none comes by chance happens once in twenty thousand times."""
_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Sight:
    """What the gauges are read from."""

    now_ms: int
    seen: Sequence[Seen]
    """The requests of the last hour, newest first, or the newest of them."""
    hours: Sequence[Hour]
    """Of the last eight days, oldest first."""
    newest_ms: int | None
    """When the newest request started; None: there was none."""
    pace_nano_usd: int | None = None
    """What may be spent in an hour for the tightest budget of all traffic to last; None: there is no such budget."""
    month_nano_usd: int | None = None
    """What this month will have cost; None: nobody can say."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The requests that a gauge was read from."""

    rows: Sequence[Seen]
    from_ms: int


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number and what to think of it."""

    name: Name
    value: float | None
    """A share, ms, or nano-USD an hour. None: there is nothing to tell it from."""
    state: State
    word: str
    """The state for people."""
    warn: float | None
    """From here on it is a warning. None: there is nothing to judge by."""
    critical: float | None
    rule: str
    sample: Sample
    counted: int
    """Of the sample: requests that failed, or took longer than the warning allows; all of them for the cost."""
    yesterday: float | None
    """The same in the same hour of yesterday."""
    series: tuple[tuple[int, float | None], ...]
    """Start of each of the last 24 hours and the value in it, and now."""
    note: str = ""
    """One more number that belongs to it."""


def read_gauges(sight: Sight) -> tuple[Gauge, Gauge, Gauge]:
    """Return error rate, latency and cost."""
    return _errors(sight), _latency(sight), _cost(sight)


def silence(sight: Sight) -> tuple[State, str] | None:
    """Return what to say when nobody asks anything; None: somebody did in the last quarter of an hour."""
    if sight.newest_ms is None:
        return "none", "No requests yet"
    quiet_ms = sight.now_ms - sight.newest_ms
    is_unusual = quiet_ms >= SILENT_MS and usual_requests(sight) * quiet_ms / HOUR_MS >= UNUSUAL
    if not is_unusual and quiet_ms < WINDOW_MS:
        return None
    return "silent" if is_unusual else "unjudged", f"No traffic for {whole_minutes(quiet_ms / 1000)}"


def usual_requests(sight: Sight) -> float:
    """Return how many requests are usual in this hour: the mean of the last days, or of a week ago if that is less."""
    by_start = {hour.start: hour.requests for hour in sight.hours}
    starts = [_this_hour(sight) - day * DAY_MS for day in range(1, _DAYS + 1)]
    if not by_start or starts[0] < min(by_start):
        return 0.0
    known = [by_start.get(start, 0) for start in starts if start >= min(by_start)]
    return min(sum(known) / len(known), known[-1] if len(known) == _DAYS else math.inf)


def sampled(sight: Sight, counts: Callable[[Seen], bool]) -> Sample:
    """Return the rows that count: of 15 minutes, or of as much of an hour as makes enough."""
    rows = [row for row in sight.seen if counts(row)]
    recent = [row for row in rows if row.started_at >= sight.now_ms - WINDOW_MS]
    if len(recent) >= ENOUGH:
        is_cut = len(sight.seen) >= MOST and sight.seen[-1].started_at > sight.now_ms - WINDOW_MS
        return Sample(recent, recent[-1].started_at if is_cut else sight.now_ms - WINDOW_MS)
    if len(rows) <= ENOUGH:
        return Sample(rows, sight.now_ms - HOUR_MS) if len(rows) > len(recent) else _quarter(sight, recent)
    return Sample(rows[:ENOUGH], rows[ENOUGH - 1].started_at)


def _quarter(sight: Sight, rows: Sequence[Seen]) -> Sample:
    return Sample(rows, sight.now_ms - WINDOW_MS)


def _errors(sight: Sight) -> Gauge:
    sample = sampled(sight, lambda row: not row.is_refused)
    faults = sum(row.is_fault for row in sample.rows)
    share = faults / len(sample.rows) if sample.rows else None
    state, word = _judged(sight, sample, share if faults >= LEAST_FAULTS else 0.0, ERRORS_WARN, ERRORS_CRITICAL)
    return Gauge(
        name="error_rate",
        value=share,
        state=state,
        word=word,
        warn=ERRORS_WARN,
        critical=ERRORS_CRITICAL,
        rule=f"warn at {100 * ERRORS_WARN:g}%, critical at {100 * ERRORS_CRITICAL:g}%",
        sample=sample,
        counted=faults,
        yesterday=_in(_yesterday(sight), _error_share),
        series=_series(sight, _error_share, share),
    )


def _latency(sight: Sight) -> Gauge:
    sample = sampled(sight, lambda row: not row.is_refused and row.duration_us is not None)
    value = percentile_ms([row.duration_us or 0 for row in sample.rows], 0.95)
    ttft = percentile_ms([row.ttft_us for row in sample.rows if row.ttft_us is not None], 0.95)
    warn, critical = latency_limits(_usual_latency_ms(sight))
    state, word = _judged(sight, sample, value, warn, critical)
    return Gauge(
        name="latency",
        value=value,
        state=state,
        word=word,
        warn=warn,
        critical=critical,
        rule=f"warn at {_limit(warn)}, critical at {_limit(critical)}",
        sample=sample,
        counted=sum((row.duration_us or 0) >= warn * 1000 for row in sample.rows),
        yesterday=_in(_yesterday(sight), _hour_latency),
        series=_series(sight, _hour_latency, value),
        note="" if ttft is None else f"TTFT P95 {duration(ttft)}",
    )


def _cost(sight: Sight) -> Gauge:
    sample = Sample(sight.seen, sight.now_ms - HOUR_MS)
    if len(sight.seen) >= MOST:
        sample = Sample(sight.seen, sight.seen[-1].started_at)
    spent = sum(row.cost_nano_usd for row in sample.rows)
    value = spent * HOUR_MS / max(1, sight.now_ms - sample.from_ms)
    warn = critical = None
    rule = "no budget for all traffic to judge by"
    state: State = "unjudged"
    word = "No budget to judge by"
    if sight.newest_ms is None:
        state, word = "none", "No requests yet"
    elif sight.pace_nano_usd:
        warn, critical = COST_WARN * sight.pace_nano_usd, COST_CRITICAL * sight.pace_nano_usd
        rule = f"warn at {dollars(round(warn))}, critical at {dollars(round(critical))}"
        state, word = _level(value, warn, critical)
    return Gauge(
        name="cost",
        value=value,
        state=state,
        word=word,
        warn=warn,
        critical=critical,
        rule=rule,
        sample=sample,
        counted=len(sample.rows),
        yesterday=_in(_yesterday(sight), lambda hour: float(hour.cost_nano_usd)),
        series=_series(sight, lambda hour: float(hour.cost_nano_usd), value, empty=0.0),
        note="" if sight.month_nano_usd is None else f"on course for {dollars(sight.month_nano_usd)} this month",
    )


def latency_limits(usual_ms: float | None) -> tuple[float, float]:
    """Return when P95 is a warning and when critical: 8 s and 15 s, less where requests are usually fast.

    Twice and three times what is usual are enough there, but for what nobody would notice; and where requests usually
    take long, one and a half times and twice that, for what is always so is no news.
    """
    if usual_ms is None:
        return SLOW_MS, STUCK_MS
    warn = max(min(SLOW_MS, max(2 * usual_ms, 1000.0)), 1.5 * usual_ms)
    critical = max(min(STUCK_MS, max(3 * usual_ms, 2000.0)), 2 * usual_ms)
    return warn, critical


def percentile_ms(durations_us: Sequence[int], share: float) -> float | None:
    """Return the duration that `share` of these do not exceed; None: there are none."""
    if not durations_us:
        return None
    return sorted(durations_us)[math.ceil(share * len(durations_us)) - 1] / 1000


def _judged(sight: Sight, sample: Sample, value: float | None, warn: float, critical: float) -> tuple[State, str]:
    quiet = silence(sight)
    if quiet is not None:
        return quiet
    if value is None or len(sample.rows) < LEAST:
        return "unjudged", "Too little traffic to judge"
    return _level(value, warn, critical)


def _level(value: float, warn: float, critical: float) -> tuple[State, str]:
    if value >= critical:
        return "critical", "Critical"
    return ("warning", "Warning") if value >= warn else ("ok", "OK")


def word_of(state: State) -> str:
    """Return the word of a state that is judged."""
    return {"ok": "OK", "warning": "Warning", "critical": "Critical"}.get(state, "")


def _limit(ms: float) -> str:
    return f"{ms / 1000:.2g} s" if ms >= 1000 else duration(ms)


def _this_hour(sight: Sight) -> int:
    return sight.now_ms - sight.now_ms % HOUR_MS


def _yesterday(sight: Sight) -> Hour | None:
    start = _this_hour(sight) - DAY_MS
    return next((hour for hour in sight.hours if hour.start == start), None)


def _usual_latency_ms(sight: Sight) -> float | None:
    starts = {_this_hour(sight) - day * DAY_MS for day in range(1, _DAYS + 1)}
    usual = histogram.merged(hour.latency for hour in sight.hours if hour.start in starts)
    return _p95_ms(usual) if sum(usual.values()) >= ENOUGH else None


def _in(hour: Hour | None, value: Callable[[Hour], float | None]) -> float | None:
    return None if hour is None else value(hour)


def _error_share(hour: Hour) -> float | None:
    forwarded = hour.requests - hour.refused
    return hour.faults / forwarded if forwarded else None


def _hour_latency(hour: Hour) -> float | None:
    return _p95_ms(hour.latency)


def _p95_ms(counts: histogram.Histogram) -> float | None:
    found = histogram.percentile_us(counts, 0.95)
    return None if found is None else found / 1000


def _series(
    sight: Sight, value: Callable[[Hour], float | None], now: float | None, *, empty: float | None = None
) -> tuple[tuple[int, float | None], ...]:
    by_start = {hour.start: hour for hour in sight.hours}
    first = _this_hour(sight) - DAY_MS
    starts = range(first, _this_hour(sight), HOUR_MS)
    points = [(start, value(by_start[start]) if start in by_start else empty) for start in starts]
    return (*points, (sight.now_ms, now))
