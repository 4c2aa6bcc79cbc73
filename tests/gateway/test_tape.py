"""The clock of an exchange: a mark for each read, thinned out when a stream comes in ever so many."""

from __future__ import annotations

from array import array

import pytest

from proxy.gateway.tape import _thinned
from proxy.records import Timeline


def marks(count: int) -> array[int]:
    return array("Q", [number for index in range(1, count + 1) for number in (index * 10, index)])


def pairs(times: array[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(times[0::2], times[1::2], strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 1000, 1001])
def test_thinning_keeps_the_last_mark_and_half_of_the_others(count: int) -> None:
    thin = pairs(_thinned(marks(count)))
    assert thin[-1] == (count * 10, count)
    assert set(thin) <= set(pairs(marks(count)))
    assert list(thin) == sorted(thin)
    assert len(thin) <= count // 2 + 1


def test_a_thinned_clock_never_says_that_a_byte_came_before_it_did() -> None:
    whole, thin = Timeline(pairs(marks(999))), Timeline(pairs(_thinned(marks(999))))
    for offset in range(0, 9990, 7):
        exact, known = whole.at(offset), thin.at(offset)
        assert exact is not None
        assert known is not None
        assert exact <= known <= exact + 1
