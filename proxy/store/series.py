"""Series: the counters and histograms that the recorder folds, and the bound on how many there can be.

Every value lives in the database, changed in the same transaction as the rows it counts: exact across restarts, and
never going back. The number of series is capped, because a label's values come from traffic: a label set that does
not fit any more is counted under `other`, so that sums stay right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.store.text import json_text

Labels = tuple[tuple[str, str], ...]
"""Label names and values, always in the same order for the same metric."""
OTHER: Final = "other"

# OpenTelemetry semantic conventions for generative AI, v1.41.1: the boundaries they ask for.
_DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_FIRST_TOKEN_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_PER_TOKEN_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_OVERHEAD_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

BOUNDARIES: Final[dict[str, tuple[float, ...]]] = {
    "gen_ai_client_operation_duration_seconds": _DURATION_S,
    "gen_ai_client_token_usage": _TOKENS,
    "gen_ai_server_time_to_first_token_seconds": _FIRST_TOKEN_S,
    "gen_ai_server_time_per_output_token_seconds": _PER_TOKEN_S,
    "glassline_overhead_seconds": _OVERHEAD_S,
}
"""Upper bounds of the buckets of each histogram, each included in its bucket; one more bucket has none."""

COUNTERS: Final = (
    "glassline_requests_total",
    "glassline_tokens_total",
    "glassline_cost_usd_total",  # held as integer nano-USD
    "glassline_unpriced_requests_total",
    "glassline_refused_total",
    "glassline_records_written_total",
    "glassline_records_lost_total",
    "glassline_redaction_failures_total",
    "glassline_sampled_out_total",
)
_FREE_TEXT: Final = frozenset({"key", "upstream", "model", "gen_ai_request_model", "gen_ai_response_model"})
"""Labels whose values come from configuration or the price table. All others have a handful of values."""


class Tally(msgspec.Struct, frozen=True):
    """One addition to a counter, or one observation of a histogram."""

    name: str
    labels: Labels
    value: float


@dataclass(slots=True)
class Histogram:
    """The state of one histogram series."""

    buckets: list[int]
    """Observations in each bucket, not cumulative."""
    count: int = 0
    sum: float = 0.0

    def copy(self) -> Histogram:
        """Return an independent copy."""
        return Histogram(list(self.buckets), self.count, self.sum)


SeriesKey = tuple[str, Labels]


@dataclass(slots=True)
class Change:
    """What one transaction adds: written first, taken over by `Series.commit` when the transaction is durable."""

    counters: dict[SeriesKey, int] = field(default_factory=dict)
    """Amounts to add."""
    histograms: dict[SeriesKey, Histogram] = field(default_factory=dict)
    """New states."""
    weight: int = 0


def weight_of(name: str) -> int:
    """Return how many Prometheus series one label set of this metric makes."""
    return len(BOUNDARIES[name]) + 3 if name in BOUNDARIES else 1


_LAST_RESORT: Final = sum(weight_of(name) for name in (*COUNTERS, *BOUNDARIES))


class Series:
    """All series of a database, and the rule which label sets may still be added.

    Three quarters of the cap are for label sets as they are; the rest is for those whose names were folded into
    `other`; room for one `other` in every label of every metric is always left, so that nothing goes uncounted.
    """

    def __init__(self, max_series: int) -> None:
        room = max(0, max_series - _LAST_RESORT)
        self._exact_room = room * 3 // 4
        self._folded_room = room
        self._counters: set[SeriesKey] = set()
        self._histograms: dict[SeriesKey, Histogram] = {}
        self._weight = 0

    @property
    def weight(self) -> int:
        """Number of Prometheus series, the last resorts left out."""
        return self._weight

    def load(self, counters: Iterable[SeriesKey], histograms: Iterable[tuple[SeriesKey, Histogram]]) -> None:
        """Take over what the database holds."""
        self._counters = set(counters)
        self._histograms = dict(histograms)
        self._weight = sum(weight_of(name) for name, labels in self._all() if not _is_last_resort(labels))

    def fold(self, tallies: Iterable[Tally]) -> Change:
        """Return what the tallies change, without changing it."""
        change = Change()
        # Labels that are one object are one label set: nearly all of a batch are, and comparing them is the slow part.
        groups: dict[tuple[str, int], list[Tally]] = defaultdict(list)
        for tally in tallies:
            groups[tally.name, id(tally.labels)].append(tally)
        for group in groups.values():
            name, values = group[0].name, [tally.value for tally in group]
            key = self._place((name, group[0].labels), change)
            if name in BOUNDARIES:
                self._observe(change, key, values)
            else:
                change.counters[key] = change.counters.get(key, 0) + sum(map(int, values))
        return change

    def commit(self, change: Change) -> None:
        """Take over a change whose transaction is durable."""
        self._counters.update(change.counters)
        self._histograms.update(change.histograms)
        self._weight += change.weight

    def _all(self) -> Iterable[SeriesKey]:
        yield from self._counters
        yield from self._histograms

    def _is_known(self, key: SeriesKey, change: Change) -> bool:
        if key[0] in BOUNDARIES:
            return key in self._histograms or key in change.histograms
        return key in self._counters or key in change.counters

    def _place(self, key: SeriesKey, change: Change) -> SeriesKey:
        if self._is_known(key, change):
            return key
        name, labels = key
        folded = tuple((label, OTHER if label in _FREE_TEXT else value) for label, value in labels)
        for candidate, room in (((name, labels), self._exact_room), ((name, folded), self._folded_room)):
            if self._is_known(candidate, change):
                return candidate
            weight = weight_of(name)
            if self._weight + change.weight + weight <= room:
                change.weight += weight
                return candidate
        return name, tuple((label, OTHER) for label, _ in labels)

    def _observe(self, change: Change, key: SeriesKey, values: Sequence[float]) -> None:
        boundaries = BOUNDARIES[key[0]]
        state = change.histograms.get(key)
        if state is None:
            known = self._histograms.get(key)
            state = known.copy() if known else Histogram([0] * (len(boundaries) + 1))
            change.histograms[key] = state
        for value in values:
            state.buckets[bisect_left(boundaries, value)] += 1
        state.count += len(values)
        state.sum += sum(values)


def _is_last_resort(labels: Labels) -> bool:
    return bool(labels) and all(value == OTHER for _, value in labels)


def labels_json(labels: Labels) -> str:
    """Return labels as the JSON object that the database holds."""
    return json_text(dict(labels))
