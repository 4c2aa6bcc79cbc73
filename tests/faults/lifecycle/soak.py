"""Many requests in a row: does anything grow that should not?"""

from __future__ import annotations

import time
from typing import Any, Final

from tests.faults.lifecycle.reloads import metric
from tests.faults.lifecycle.traffic import open_files, resident_kb, send_all
from tests.harness import Glassline
from tests.harness.client import post
from tests.harness.upstream import ScriptedUpstream

_REQUEST: Final = post(
    "/v1/chat/completions", b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}', close=False
)
_ROUNDS: Final = 20
_WARM_UP_SHARE: Final = 1 / 3
"""Of the requests: caches, arenas, the marks of conversations and the write-ahead log find their size meanwhile."""


def soak(glassline: Glassline, upstream: ScriptedUpstream, requests: int, *, connections: int = 8) -> dict[str, Any]:
    """Send `requests` in twenty rounds; return the slope of the memory after the warm-up, and what else was seen.

    The slope is a linear fit over the rounds, of the sum over all processes.
    """
    started = time.monotonic()
    points: list[tuple[float, float]] = []
    by_role: list[dict[str, int]] = []
    lags, files = [], []
    answered = 0
    for _ in range(_ROUNDS):
        statuses = send_all(glassline.port, requests // _ROUNDS, lambda _: _REQUEST, connections=connections)
        answered += statuses.count(200)
        _wait_until_folded(glassline, answered)
        memory = resident_kb(glassline)
        by_role.append(memory)
        points.append((float(answered), float(sum(memory.values()))))
        lags.append(max(metric(glassline, "glassline_event_loop_lag_seconds"), default=0.0))
        files.append(open_files(glassline))
    settled = points[int(_ROUNDS * _WARM_UP_SHARE) :]
    wal = glassline.data_dir / "records.db-wal"
    lags.sort()
    return {
        "requests": _ROUNDS * (requests // _ROUNDS),
        "answered": answered,
        "recorded": _recorded(glassline),
        "received_upstream": len(upstream.requests),
        "seconds": round(time.monotonic() - started, 1),
        "slope_mb_per_million": round(_slope(settled) * 1e6 / 1024, 2),
        "first_mb": round(settled[0][1] / 1024, 1),
        "last_mb": round(settled[-1][1] / 1024, 1),
        "grown_kb": {
            name: by_role[-1][name] - by_role[int(_ROUNDS * _WARM_UP_SHARE)].get(name, 0) for name in by_role[-1]
        },
        "open_files_first": files[int(_ROUNDS * _WARM_UP_SHARE)],
        "open_files_last": files[-1],
        "wal_mb": round(wal.stat().st_size / 2**20, 1) if wal.exists() else 0.0,
        "loop_lag_p99_ms": round(lags[int(len(lags) * 0.99)] * 1000, 2),
        "loop_lag_max_ms": round(lags[-1] * 1000, 2),
    }


def _slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _recorded(glassline: Glassline) -> int:
    return int(glassline.rows("SELECT count(*) AS n FROM requests")[0]["n"])


def _wait_until_folded(glassline: Glassline, count: int) -> None:
    deadline = time.monotonic() + 120
    while _recorded(glassline) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{_recorded(glassline)} of {count} records after two minutes")
        time.sleep(0.05)
