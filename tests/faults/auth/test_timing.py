"""The time of a refusal: that a difference would be seen; `make chaos` looks at the real program at full size."""

from __future__ import annotations

import random
from pathlib import Path

from tests.conftest import StartGlassline
from tests.faults.auth.scene import guarded_config, hand_out
from tests.faults.auth.timing import SIGNIFICANCE, chance, refusal_times
from tests.harness.upstream import ScriptedUpstream


def test_a_small_difference_in_time_is_no_chance_and_none_is() -> None:
    dice = random.Random(3)
    one, same = ([dice.lognormvariate(5, 0.3) for _ in range(5000)] for _ in range(2))
    assert chance(one, same) > SIGNIFICANCE
    assert chance(one, [each * 1.03 for each in same]) < SIGNIFICANCE
    assert chance([1.0] * 50, [1.0] * 50) == 1
    assert chance([1.0] * 50, [2.0] * 50) < 1e-9


def test_every_kind_of_wrong_key_is_refused_and_timed(start_glassline: StartGlassline, tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream:
        glassline = start_glassline(upstream.url, guarded_config(tmp_path / "secrets"))
        seen = refusal_times(glassline, hand_out(glassline), 30, seed=1)
        assert not upstream.requests
    assert seen["others"] == 0
    assert set(seen["chance"]) == set(seen["median_us"]) - {"random"}
