from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from proxy.store import SqliteStore
from proxy.store.pool import READERS, WAITING
from tests.admin.conftest import Admin
from tests.store.rows import write_rows

StartAdmin = Callable[..., Admin]
SLOW = " OR ".join(f"meta.none-{number}:*x" for number in range(32))
"""Looked for among sixty tags of each request: seconds, and no summary says that there is none."""


@pytest.fixture
def admin(tmp_path: Path, start_admin: StartAdmin) -> Admin:
    """Return an admin process on a store that is slow to answer `SLOW`."""
    tags = json.dumps({f"tag-{number}": "value" for number in range(60)})
    (tmp_path / "data").mkdir()
    with closing(SqliteStore(tmp_path / "data" / "records.db")) as store:
        write_rows(store, ({"id": f"id-{number}", "tags": tags} for number in range(16_000)))
    return start_admin(tmp_path / "data")


def cpu_s(admin: Admin) -> float:
    """Return the CPU time of all threads of the process."""
    tasks = Path(f"/proc/{admin.process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def spent(admin: Admin, patience_s: float) -> float:
    """Ask a slow question, wait for so long, and return the CPU time that it took."""
    before = cpu_s(admin)
    try:
        answer = httpx.get(f"http://127.0.0.1:{admin.port}/api/requests", params={"q": SLOW}, timeout=patience_s)
        assert answer.status_code in (200, 503)
    except httpx.TimeoutException:
        time.sleep(1)
    return cpu_s(admin) - before


def test_a_question_ends_with_the_client_that_asked_it(admin: Admin) -> None:
    whole = spent(admin, patience_s=20)
    abandoned = spent(admin, patience_s=0.1)
    assert abandoned < whole / 2
    assert admin.get("/api/requests", limit="1").status_code == 200


def test_too_many_questions_are_sent_away_and_the_verdict_is_still_given(admin: Admin) -> None:
    url, answers = f"http://127.0.0.1:{admin.port}", list[httpx.Response]()

    def ask(_: int) -> httpx.Response:
        return httpx.get(f"{url}/api/requests", params={"q": SLOW}, timeout=60)

    with ThreadPoolExecutor(READERS + WAITING + 8) as crowd:
        asked = [crowd.submit(ask, number) for number in range(READERS + WAITING + 8)]
        watching = threading.Thread(target=lambda: answers.append(httpx.get(f"{url}/status", timeout=60)))
        watching.start()
        watching.join()
        answers += [each.result() for each in asked]
    status, *crowd_answers = answers
    assert status.status_code == 200
    assert "records.db" not in status.text
    busy = [
        answer for answer in crowd_answers if answer.status_code == 503 and answer.json()["error"]["code"] == "busy"
    ]
    assert len(busy) >= 8
    assert {answer.headers["retry-after"] for answer in busy} == {"1"}
    assert admin.get("/api/requests", limit="1").status_code == 200, "and when they are gone it answers again"


def test_a_list_that_is_not_found_in_time_says_how_far_it_came_and_goes_on(admin: Admin) -> None:
    page = admin.get("/api/requests", q=SLOW).json()
    reached = [page["searched_to"]]
    assert reached[0] is not None
    while page["next_before"] is not None:
        page = admin.get("/api/requests", q=SLOW, before=page["next_before"]).json()
        assert page["requests"] == []
        reached.append(page["searched_to"])
    *times, end = reached
    assert end is None
    assert times == sorted(times, reverse=True)
