"""Storms of bad clients, small; `make chaos` has them at full size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import StartGlassline
from tests.faults.edge import storms
from tests.harness import Glassline
from tests.harness.faultupstream import FaultUpstream

MANY: dict[str, Any] = {"connections": 20_000, "connections_per_upstream": 20_000}


@pytest.fixture
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultUpstream]:
    with FaultUpstream(tmp_path_factory.mktemp("upstream")) as made:
        yield made


def start(start_glassline: StartGlassline, upstream: FaultUpstream, **timeouts: float) -> Glassline:
    """Start a Glassline for many connections in front of `upstream`."""
    return start_glassline(upstream.url, {"limits": MANY, "timeouts": timeouts})


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_slow_heads_are_all_closed_in_time_and_good_clients_see_no_failure(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream, header=2)
    seen = storms.slow_headers(glassline, 200)
    assert seen["closed"] == seen["connections"]
    assert seen["slowest_s"] <= 6
    assert (seen["failed"], seen["good"] > 10) == (0, True)
    assert seen["descriptors_left"] <= 5


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_storm_of_resets_leaves_neither_descriptors_nor_memory(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.resets(glassline, 2_000)
    assert seen["failed"] == 0
    assert seen["descriptors_left"] <= 20
    assert seen["grown_mb"] < 20


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_slow_readers_hold_little_memory_and_nobody_else_back(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.slow_readers(glassline, 40, for_s=4)
    assert seen["failed"] == 0
    assert seen["grown_mb_each"] < 2


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_idle_streams_cost_little_memory(start_glassline: StartGlassline, upstream: FaultUpstream) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.idle_streams(glassline, 300)
    assert seen["errors"] == 0
    assert seen["answered"] == seen["count"]
    assert seen["kb_each"] < 60
    assert seen["descriptors_each"] < 2.1
