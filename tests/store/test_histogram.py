"""Histograms: at most two per cent off, and nothing is lost by adding them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store import histogram
from proxy.store.histogram import Histogram, bucket_of, percentile_us

DURATIONS = st.lists(st.integers(1, 10**11), min_size=1, max_size=200)


def counted(durations: list[int]) -> Histogram:
    return histogram.merged({bucket_of(us): 1} for us in durations)


@given(DURATIONS, st.floats(0.001, 1))
def test_a_percentile_is_at_most_two_per_cent_off(durations: list[int], share: float) -> None:
    exact = sorted(durations)[max(1, math.ceil(share * len(durations))) - 1]
    assert percentile_us(counted(durations), share) == pytest.approx(exact, rel=0.02)


@given(DURATIONS, DURATIONS)
def test_what_is_added_can_be_taken_away_and_packed(one: list[int], other: list[int]) -> None:
    both = counted(one + other)
    assert histogram.merged((counted(one), counted(other))) == both
    assert histogram.unpacked(histogram.packed(both)) == both
    histogram.add(both, {bucket: -count for bucket, count in counted(other).items()})
    assert both == counted(one)


def test_nothing_has_no_percentile() -> None:
    assert percentile_us({}, 0.5) is None


def test_a_month_of_latencies_fits_into_a_kilobyte() -> None:
    numbers = random.Random(1)
    durations = [int(numbers.lognormvariate(14, 1)) for _ in range(100_000)]
    assert len(histogram.packed(counted(durations))) < 1500
