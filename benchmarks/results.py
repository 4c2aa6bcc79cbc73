"""All that a run found, as it is kept in benchmarks/build/latest.json."""

from collections.abc import Iterator
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
        alone = {step.round: step.requests_per_second for step in self.scaling if step.gateways == 1}
        ratios = [
            step.requests_per_second / alone[step.round]
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
