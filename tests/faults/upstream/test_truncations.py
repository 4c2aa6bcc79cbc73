"""An answer that breaks off is never shown as a success, to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.upstream.stage import staged
from tests.faults.upstream.truncations import truncations

LONG = bool(os.environ.get("GLASSLINE_LONG"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2] if LONG else [1])
def test_no_truncation_is_shown_as_a_success_or_recorded_as_one(tmp_path: Path, seed: int) -> None:
    count = 1000 if LONG else 100
    with staged(tmp_path) as stage:
        figures = truncations(stage.glassline, stage.upstream, count, seed)
    print(figures)
    assert figures["rows"] == count
    assert figures["shown as success"] == 0
    assert figures["recorded as completed"] == 0
    assert figures["wrong bytes"] == 0
    assert 0 < figures["errors of ours"] < count
