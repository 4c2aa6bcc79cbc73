"""Arrivals: when the pieces of a stream came, as the database holds it.

First the differences of their ends in bytes, then those of their times in steps of 0.1 ms: small numbers that look alike,
so that a piece takes about two bytes once they are compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import Final

from proxy.records import Timeline

_STEP_US: Final = 100


def packed(timeline: Timeline) -> list[int]:
    """Return a timeline as numbers; an empty one is none."""
    if not timeline.pairs:
        return []
    offsets, times = zip(*timeline.pairs, strict=True)
    return _differences(offsets) + _differences([us // _STEP_US for us in times])


def unpacked(arrivals: Sequence[int]) -> Timeline:
    """Do the opposite of `packed`."""
    half = len(arrivals) // 2
    offsets, times = accumulate(arrivals[:half]), accumulate(arrivals[half:])
    return Timeline(tuple((offset, step * _STEP_US) for offset, step in zip(offsets, times, strict=False)))


def _differences(ascending: Sequence[int]) -> list[int]:
    return [ascending[0], *map(sub, ascending[1:], ascending)]
