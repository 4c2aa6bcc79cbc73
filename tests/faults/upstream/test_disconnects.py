"""Clients that leave: every one is recorded and settled, and nobody goes on generating for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.upstream.disconnects import disconnects
from tests.faults.upstream.stage import request, staged
from tests.harness.client import RawClient

LONG = bool(os.environ.get("GLASSLINE_LONG"))
COUNT = 1000 if LONG else 150


@pytest.mark.timeout(600)
def test_every_client_that_leaves_is_recorded_settled_and_cancelled(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        figures = disconnects(stage.glassline, stage.upstream, COUNT, seed=1)
    print(figures)
    assert figures["recorded"] == figures["rows"] == figures["settled"] == COUNT
    assert figures["other outcomes"] == 0
    assert figures["upstream calls during upload"] == 0
    assert figures["cut short upstream"] > COUNT / 4
    assert figures["late cancels"] <= COUNT * 0.02, "a busy machine may be late once in a while"


@pytest.mark.timeout(600)
def test_answers_are_read_to_the_end_where_the_configuration_says_so(tmp_path: Path) -> None:
    with staged(tmp_path, {"limits": {"drained_answers": 1000}}, on_disconnect="drain") as stage:
        figures = disconnects(stage.glassline, stage.upstream, COUNT, seed=2, mode="drain")
    print(figures)
    assert figures["recorded"] == figures["rows"] == figures["settled"] == COUNT
    assert figures["cut short upstream"] == 0
    assert figures["read to the end"] == figures["reached the upstream"] > COUNT / 3


def test_only_so_many_answers_are_read_for_nobody_and_only_for_so_long(tmp_path: Path) -> None:
    config = {"limits": {"drained_answers": 3}, "timeouts": {"first_byte": 5, "idle": 60, "drained_answer": 4}}
    with staged(tmp_path, config, on_disconnect="drain") as stage:
        for number in range(8):
            with RawClient(stage.glassline.port) as client:
                client.send(request("stall", f"nobody{number}", is_stream=True, close=False))
                client.read_until(b"data: ")
        rows = stage.glassline.wait_for_rows(8, "session LIKE 'nobody%'", timeout_s=30)
        assert {row["outcome"] for row in rows} == {"client_closed"}
        assert sum(row["duration_ms"] >= 4000 for row in rows) == 3, "the others were cancelled at once"
        assert stage.settled().reserved == 0
