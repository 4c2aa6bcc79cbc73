"""Whether the time of a refusal tells how much of a key was right: refusals of different wrong keys, compared."""

from __future__ import annotations

import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Any, Final

from tests.faults.auth.scene import Credentials
from tests.harness import Glassline
from tests.harness.client import RawClient

SIGNIFICANCE: Final = 0.01
"""For all comparisons together (Bonferroni)."""
_TOGETHER: Final = 200
"""Requests of each kind on one connection."""


def refusal_times(glassline: Glassline, known: Credentials, count: int, seed: int) -> dict[str, Any]:
    """Time `count` refusals of each kind of wrong key, in random order on kept connections.

    Returns the medians in µs by kind, the probability by kind that a difference from random keys is chance
    (Mann-Whitney U, two-sided), and how many answers were no 401.
    """
    dice = random.Random(seed)
    right = known.key
    wrong = {
        "random": "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=len(right))),
        "right but for the last character": right[:-1] + ("x" if right[-1] != "x" else "y"),
        "right but for the first character": ("x" if right[0] != "x" else "y") + right[1:],
        "revoked": known.revoked_key,
    }
    took: dict[str, list[float]] = {kind: [] for kind in wrong}
    others = 0
    for first in range(0, count, _TOGETHER):
        order = [kind for kind in wrong for _ in range(min(_TOGETHER, count - first))]
        dice.shuffle(order)
        with RawClient(glassline.port) as client:
            for kind in order:
                began = time.perf_counter_ns()
                client.send(_ask(wrong[kind]))
                answer = client.read_until(b'"}}')
                took[kind].append((time.perf_counter_ns() - began) / 1000)
                others += not answer.startswith(b"HTTP/1.1 401 ")
    return {
        "count": count,
        "others": others,
        "median_us": {kind: median(times) for kind, times in took.items()},
        "chance": {kind: chance(took["random"], times) for kind, times in took.items() if kind != "random"},
    }


def _ask(key: str) -> bytes:
    return f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def chance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p of the Mann-Whitney U test, by its normal approximation."""
    ranked = sorted(one)
    above = sum((bisect_left(ranked, value) + bisect_right(ranked, value)) / 2 for value in other)
    pairs = len(one) * len(other)
    deviation = (pairs * (len(one) + len(other) + 1) / 12) ** 0.5
    return 2 * NormalDist().cdf(-abs(above - pairs / 2) / deviation)
