from __future__ import annotations

import uuid
from typing import Any

from proxy.config import Sample
from proxy.policy.sampling import is_chosen


def chosen(sample: dict[str, Any], *, duration_us: int = 1000, is_error: bool = False, ids: int = 4000) -> float:
    policy = Sample.model_validate(sample)
    names = [str(uuid.UUID(int=number)) for number in range(ids)]
    return sum(is_chosen(name, duration_us, policy, is_error=is_error) for name in names) / ids


def test_the_rate_is_the_share_that_is_kept() -> None:
    assert chosen({"rate": 1.0}) == 1
    assert chosen({"rate": 0.0}) == 0
    assert abs(chosen({"rate": 0.25}) - 0.25) < 0.03


def test_a_higher_rate_keeps_what_a_lower_one_kept() -> None:
    low, high = Sample(rate=0.1), Sample(rate=0.5)
    names = [str(uuid.UUID(int=number)) for number in range(1000)]
    kept = [name for name in names if is_chosen(name, 1, low, is_error=False)]
    assert kept
    assert all(is_chosen(name, 1, high, is_error=False) for name in kept)
    assert kept == [name for name in names if is_chosen(name, 1, low, is_error=False)]


def test_errors_and_slow_requests_are_kept_whatever_the_rate_when_asked_for() -> None:
    assert chosen({"rate": 0.0}, is_error=True) == 1
    assert chosen({"rate": 0.0, "slow": "2s"}, duration_us=2_000_000) == 1
    assert chosen({"rate": 0.0, "slow": "2s"}, duration_us=1_999_999) == 0
    assert chosen({"rate": 0.0, "always": []}, is_error=True, duration_us=10**9) == 0
