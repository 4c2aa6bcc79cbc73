"""All that a run found, as it is kept in benchmarks/build/latest.json."""

from collections.abc import Callable, Iterator
from statistics import median

import msgspec

from benchmarks.elsewhere import Elsewhere
from benchmarks.footprint import Footprint
from benchmarks.hotspots import Share
from benchmarks.measure import Sample
from benchmarks.scaling import Step


class Profile(msgspec.Struct, frozen=True):
    variant: str
    workload: str
    libraries: list[Share]
    functions: list[Share]


class Circumstances(msgspec.Struct, frozen=True):
    """Everything a reader needs in order to judge the figures."""

    machine: dict[str, str]
    commit: str
    date: str
    rounds: int
    seconds: float
    nice: int
    cores: str
    load_before: float
    load_after: float
    versions: dict[str, str]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    about: Circumstances
    samples: list[Sample]
    scaling: list[Step] = []
    "None of it: not measured, or too few cores"
    footprint: Footprint | None = None
    profiles: list[Profile] = []
    elsewhere: Elsewhere = Elsewhere()

    def speedup(self, gateways: int) -> float | None:
        """Return how much more so many gateways relay than one: the median of the ratios within a round."""
        return self._against_one(gateways, lambda step: step.requests_per_second)

    def speedup_by_cpu(self, gateways: int) -> float | None:
        """Return how much more they would relay, going by their CPU time per request, if nothing else was the limit."""
        return self._against_one(gateways, lambda step: step.gateways / step.cpu_us)

    def _against_one(self, gateways: int, figure: Callable[[Step], float]) -> float | None:
        alone = {step.round: figure(step) for step in self.scaling if step.gateways == 1}
        ratios = [
            figure(step) / alone[step.round]
            for step in self.scaling
            if step.gateways == gateways and step.round in alone
        ]
        return median(ratios) if ratios else None

    def problems(self) -> Iterator[str]:
        """Say what makes the run worthless, if anything."""
        for sample in self.samples:
            yield from sample.problems()
        for step in self.scaling:
            yield from step.errors
        if self.footprint is not None:
            yield from self.footprint.errors
