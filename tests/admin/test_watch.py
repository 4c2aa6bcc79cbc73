"""The watch over a real store: what it shows, how soon, and what it survives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.admin.instruments import Instruments
from proxy.admin.watch import FRESH_S, Watch
from proxy.clock import Clock
from proxy.stats import StatsBoard
from proxy.store import SqliteStore
from proxy.store.rollups import HOUR_MS
from proxy.store.series import Tally
from tests.store.rows import Row, write_rows


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def move(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.ms, lambda: self.ms / 1000)


class Scene:
    """A store, and a watch over it."""

    def __init__(self, data_dir: Path) -> None:
        self.hands = Hands()
        self.store = SqliteStore(data_dir / "records.db")
        self.watch = Watch(Instruments(data_dir, StatsBoard(1), clock=self.hands.clock))
        self._count = 0

    def add(self, count: int, **columns: object) -> None:
        rows: list[Row] = []
        for _ in range(count):
            self._count += 1
            rows.append({"id": f"id-{self._count}", "started_at": self.hands.ms, "error_code": None} | columns)
        write_rows(self.store, rows)

    async def looks(self, count: int) -> list[str]:
        """Return the state of the errors at each of so many looks, 15 seconds apart."""
        states: list[str] = []
        for _ in range(count):
            self.hands.move(15)
            states.append((await self.watch.observed()).tiles[0].state)
        return states


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    with closing(made.store):
        yield made


async def test_before_the_first_request_it_says_so_and_believes_the_first_ones_at_once(scene: Scene) -> None:
    assert (await scene.watch.observed()).headline.text == "No requests yet"
    scene.add(30, status=500)
    scene.hands.move(FRESH_S)
    seen = await scene.watch.observed()
    assert seen.verdict == "failing"
    assert seen.headline.text.startswith("Requests are failing: 100% errors")
    assert seen.reasons[0].text.startswith("error rate is 100%: 30 of 30 requests, most of them")


async def test_it_worsens_after_three_looks_and_recovers_after_eight(scene: Scene) -> None:
    scene.add(100)
    assert await scene.looks(2) == ["ok", "ok"]
    scene.add(50, status=503)
    assert await scene.looks(4) == ["ok", "ok", "critical", "critical"]
    scene.hands.move(HOUR_MS / 1000)
    scene.add(200)
    assert await scene.looks(9) == ["critical"] * 7 + ["ok"] * 2


async def test_asking_often_makes_no_state_change_sooner(scene: Scene) -> None:
    scene.add(100)
    await scene.looks(1)
    scene.add(50, status=503)
    for _ in range(10):
        scene.hands.move(FRESH_S / 2)
        seen = await scene.watch.observed()
    assert seen.tiles[0].state == "ok"
    assert seen.tiles[0].note == "above its line, being watched"
    assert seen.tiles[0].counted == 50


async def test_lost_records_turn_it_red_at_once(scene: Scene) -> None:
    scene.add(100)
    await scene.looks(1)
    lost = Tally("glassline_records_lost_total", (("reason", "bad_frame"),), 2)
    scene.store.write([], {}, [lost])
    seen = await scene.watch.observed()
    assert (seen.verdict, seen.headline.state) == ("failing", "critical")
    assert "2 records lost" in seen.headline.text


async def test_a_store_that_cannot_be_read_leaves_what_was_seen(tmp_path: Path, scene: Scene) -> None:
    scene.add(100)
    await scene.looks(1)
    (tmp_path / "records.db").unlink()
    (tmp_path / "records.db").write_bytes(b"no database" * 100)
    scene.hands.move(60)
    seen = await scene.watch.observed()
    assert seen.headline.text.startswith("One thing needs attention: the store cannot be read")
    assert seen.tiles[0].requests == 100
