"""The samples of a run, drawn together.

A figure is the median over the rounds.
A ratio is the median over the rounds of the ratio within the round, so that a slow minute of the machine, which slows
both sides, does not count.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Sample
from benchmarks.workloads import CLOSED_LOOP, Workload

YARDSTICK = "nginx"
BASELINE = "direct"
LEAST = "bare"
"the least relay that the language allows"


@dataclass(frozen=True, slots=True)
class Row:
    """One variant under one workload, over all rounds. None: does not apply, or nothing to compare with."""

    variant: str
    gateway_cpu_us: float | None
    gateway_ratio: float | None
    "gateway CPU against nginx"
    all_cpu_us: float | None
    all_ratio: float | None
    rate: float
    "units per second"
    p50_us: float
    added_p50_us: float | None
    "against the same round without a proxy"
    p99_us: float
    added_p99_us: float | None
    spread: float
    "widest distance of a round's gateway CPU from the median, as a share of it"


def summarise(samples: Iterable[Sample], workload: Workload) -> list[Row]:
    """One row per variant, in the order in which they were first measured."""
    by_variant: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.workload == workload.name:
            by_variant.setdefault(sample.variant, []).append(sample)
    return [_summarise(taken, by_variant, workload) for taken in by_variant.values()]


def _summarise(taken: list[Sample], by_variant: dict[str, list[Sample]], workload: Workload) -> Row:
    is_baseline = taken[0].variant == BASELINE
    nginx = {sample.round: sample for sample in by_variant.get(YARDSTICK, [])}
    direct = {} if is_baseline else {sample.round: sample for sample in by_variant.get(BASELINE, [])}
    gateway = median_of(sample.gateway_cpu_us for sample in taken)
    return Row(
        variant=taken[0].variant,
        gateway_cpu_us=gateway,
        gateway_ratio=_ratio(taken, nginx, lambda sample: sample.gateway_cpu_us),
        all_cpu_us=median_of(sample.all_cpu_us for sample in taken),
        all_ratio=_ratio(taken, nginx, lambda sample: sample.all_cpu_us),
        rate=median(_rate(sample, workload) for sample in taken),
        p50_us=median(sample.delay_us.p50 for sample in taken),
        added_p50_us=_added(taken, direct, lambda sample: sample.delay_us.p50),
        p99_us=median(sample.delay_us.p99 for sample in taken),
        added_p99_us=_added(taken, direct, lambda sample: sample.delay_us.p99),
        spread=max((abs((sample.gateway_cpu_us or 0) / gateway - 1) for sample in taken), default=0) if gateway else 0,
    )


def _rate(sample: Sample, workload: Workload) -> float:
    return sample.load.chunks_per_second if workload.is_stream else sample.load.requests_per_second


def median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of what is known; None: nothing is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _ratio(taken: list[Sample], yardstick: dict[int, Sample], figure: Callable[[Sample], float | None]) -> float | None:
    ratios = []
    for sample in taken:
        mine, theirs = figure(sample), figure(yardstick[sample.round]) if sample.round in yardstick else None
        if mine is not None and theirs:
            ratios.append(mine / theirs)
    return median_of(ratios)


def _added(taken: list[Sample], baseline: dict[int, Sample], figure: Callable[[Sample], float]) -> float | None:
    return median_of(figure(sample) - figure(baseline[sample.round]) for sample in taken if sample.round in baseline)


def efficiency(samples: Iterable[Sample], variant: str, other: str) -> float | None:
    """How many requests one variant serves for each that the other serves with the same CPU time, of all processes."""
    taken: dict[str, list[Sample]] = {variant: [], other: []}
    for sample in samples:
        if sample.workload == CLOSED_LOOP.name and sample.variant in taken:
            taken[sample.variant].append(sample)
    mine = {sample.round: sample for sample in taken[variant]}
    return _ratio(taken[other], mine, lambda sample: sample.all_cpu_us)
