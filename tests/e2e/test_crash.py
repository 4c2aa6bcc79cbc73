"""Thirty times `kill -9` of everything at once: what a client has received in full is recorded, exactly once."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import Any

import apsw
import httpx
import pytest

from tests.conftest import StartGlassline, StartSimulator
from tests.harness import Glassline
from tests.harness.client import RawClient, post
from tests.harness.process import wait_until

KILLS = 200 if os.environ.get("GLASSLINE_LONG") else 30
KEY = "sk-crash-0123456789"
CONFIG: dict[str, Any] = {
    "keys": [{"name": "crash", "key": KEY, "budgets": [{"limit_usd": 500, "window": "total"}]}],
}


class Traffic:
    """Clients that send mixed requests and write down which answers they received in full."""

    def __init__(self, port: int, prefix: str) -> None:
        self.complete: set[str] = set()
        self.sent: set[str] = set()
        self._port = port
        self._prefix = prefix
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(8)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._prefix}{number}")
        count = 0
        while not self._stop.is_set():
            count += 1
            name = f"{self._prefix}-{number}-{count}"
            try:
                self._one(name, rng)
            except OSError:
                time.sleep(0.005)

    def _one(self, name: str, rng: random.Random) -> None:
        streaming, budgeted = rng.random() < 0.5, rng.random() < 0.7
        body = json.dumps(
            {
                "model": "gpt-4o-mini",
                "stream": streaming,
                "max_tokens": 30,
                "messages": [{"role": "user", "content": name}],
            }
        ).encode()
        headers = (
            f"x-glassline-session: {name}",
            f"x-name: {name}",
            f"x-simulate: tokens=30;pace={rng.choice((300, 3000))}",
        )
        with RawClient(self._port, timeout_s=5) as client:
            self.sent.add(name)
            client.send(
                post("/v1/chat/completions", body, key=KEY if budgeted else "sk-free-0123456789", headers=headers)
            )
            answer = client.read_all()
        if answer.status != 200 or answer.is_reset:
            return
        if b"transfer-encoding: chunked" in answer.head:
            whole = answer.body.endswith(b"0\r\n\r\n")
        else:
            length = int(answer.head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            whole = len(answer.body) == length
        if whole:
            self.complete.add(name)


def check_databases(glassline: Glassline) -> None:
    for name in ("records.db", "ledger.db"):
        connection = apsw.Connection(str(glassline.data_dir / name), flags=apsw.SQLITE_OPEN_READONLY)
        assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
        assert list(connection.execute("PRAGMA foreign_key_check")) == []
        connection.close()


@pytest.mark.timeout(1800 if KILLS > 30 else 400)
def test_nothing_that_a_client_received_is_lost_over_thirty_kills(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator = start_simulator()
    glassline = start_glassline(simulator.url, CONFIG, args=("--workers", "2"))
    rng = random.Random(11)
    complete: set[str] = set()
    restarts = []
    for kill in range(KILLS):
        with Traffic(glassline.port, f"k{kill}") as traffic:
            time.sleep(0.2 + rng.random() * 0.4)
            glassline.kill_group()
        complete |= traffic.complete
        started = time.monotonic()
        glassline.start()
        restarts.append(time.monotonic() - started)
        check_databases(glassline)
    assert len(complete) > 10 * KILLS

    def account() -> dict[str, Any]:
        me = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {KEY}"}).json()
        return dict(me["budgets"][0])

    wait_until(lambda: account()["reserved_usd"] == 0, "settlement of what was open", timeout_s=30)
    reached = {line["x_request"]["x-name"] for line in simulator.truth("received")}
    wait_until(lambda: len(glassline.rows("SELECT 1 FROM requests")) >= len(reached), "the last rows", timeout_s=20)
    rows = glassline.rows("SELECT * FROM requests")
    names = [row["session"] for row in rows]
    assert len(names) == len(set(names)), "exactly once"
    assert complete <= set(names), f"lost: {complete - set(names)}"
    assert reached <= set(names), f"unaccounted: {reached - set(names)}"
    by_name = {row["session"]: row for row in rows}
    wrong = {name: by_name[name]["outcome"] for name in complete if by_name[name]["outcome"] != "completed"}
    assert not wrong
    least = sum(round((row["cost_usd"] or 0) * 1e9) for row in rows if row["key"] == "crash")
    assert round(account()["spent_usd"] * 1e9) >= least > 0
    glassline.stop()
    restarts.sort()
    print(
        f"{KILLS} kills, {len(rows)} rows, {len(complete)} received in full, {len(reached)} reached the provider, "
        f"ready again after {restarts[len(restarts) // 2]:.2f} s median, {restarts[-1]:.2f} s at worst"
    )
