"""Storms of bad clients, small: in long form, with `GLASSLINE_LONG` set, they print their figures as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.conftest import StartGlassline
from tests.faults.edge import storms
from tests.harness import Glassline
from tests.harness.faultupstream import FaultUpstream

IS_LONG = bool(os.environ.get("GLASSLINE_LONG"))
MANY: dict[str, Any] = {"connections": 20_000, "connections_per_upstream": 20_000}


@pytest.fixture
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultUpstream]:
    with FaultUpstream(tmp_path_factory.mktemp("upstream")) as made:
        yield made


def show(name: str, seen: Mapping[str, float]) -> None:
    """Print figures as one line of JSON."""
    print(json.dumps({"measure": name, **{key: round(value, 3) for key, value in seen.items()}}))


def start(start_glassline: StartGlassline, upstream: FaultUpstream, **timeouts: float) -> Glassline:
    """Start a Glassline in front of `upstream`; without GLASSLINE_LONG it is less patient."""
    return start_glassline(upstream.url, {"limits": MANY, "timeouts": {} if IS_LONG else timeouts})


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_slow_heads_are_all_closed_in_time_and_good_clients_see_no_failure(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream, header=2)
    seen = storms.slow_headers(glassline, 2000 if IS_LONG else 200)
    show("slow_headers", seen)
    assert seen["closed"] == seen["connections"]
    assert seen["slowest_s"] <= (12 if IS_LONG else 6)
    assert (seen["failed"], seen["good"] > 10) == (0, True)
    assert seen["descriptors_left"] <= 5


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_storm_of_resets_leaves_neither_descriptors_nor_memory(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.resets(glassline, 30_000 if IS_LONG else 2_000)
    show("resets", seen)
    assert seen["failed"] == 0
    assert seen["descriptors_left"] <= 20
    assert seen["grown_mb"] < 20


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_slow_readers_hold_little_memory_and_nobody_else_back(
    start_glassline: StartGlassline, upstream: FaultUpstream
) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.slow_readers(glassline, 200 if IS_LONG else 40, for_s=10 if IS_LONG else 4)
    show("slow_readers", seen)
    assert seen["failed"] == 0
    assert seen["grown_mb_each"] < 2


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_idle_streams_cost_little_memory(start_glassline: StartGlassline, upstream: FaultUpstream) -> None:
    glassline = start(start_glassline, upstream)
    seen = storms.idle_streams(glassline, 5000 if IS_LONG else 300)
    show("idle_streams", seen)
    assert seen["errors"] == 0
    assert seen["answered"] == seen["count"]
    assert seen["kb_each"] < 60
    assert seen["descriptors_each"] < 2.1
