"""Tests of the tests: each of six bugs that other proxies had is planted, and the suite must catch it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.chaos.catches import CATCHES
from tests.faults.chaos.planted import BUGS, replace


def test_each_bug_has_a_check_that_catches_it() -> None:
    assert set(CATCHES) == set(BUGS)
    assert len(BUGS) == 6


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    caught = CATCHES[bug](bug)
    assert caught, f"{bug} went unnoticed"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("check", dict.fromkeys(CATCHES.values()), ids=lambda check: str(check.__name__))
def test_the_same_check_finds_nothing_without_a_bug(check: Callable[[str | None], list[str]]) -> None:
    assert check(None) == []


def test_a_patch_whose_target_has_gone_fails() -> None:
    with pytest.raises(AttributeError):
        replace(object(), "gone", None)
