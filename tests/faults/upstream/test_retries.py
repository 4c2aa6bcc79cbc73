"""Another attempt: only where it is safe or wished for, each with a record and a reservation of its own, to the nano-dollar."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Retries
from proxy.framing import read_response_head
from proxy.gateway.retry import pause_before
from tests.faults.upstream.stage import KEY, Stage, ending, request, staged
from tests.harness.client import RawClient
from tests.harness.faultprogram import body_of

RESET = "run;sleep 0.15 | rst"
"""Late enough to be no race with an idle connection, under which a request goes out again without further ado."""
EVERYTHING = ["connect", "reset", 429, 500, 502, 503, 504, 529]


def turns(*faults: str) -> str:
    """Return the order for one fault after the other, an attempt each."""
    return "turns;" + " || ".join(faults)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    retries = {"attempts": 3, "after": EVERYTHING, "backoff": "20ms", "max_wait": 1}
    with staged(tmp_path_factory.mktemp("retries"), retries=retries) as made:
        yield made


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "fault", ["status;503", "status;429", "status;529", "status;500", RESET, "fin", "rst-in-head", "garbage"]
)
def test_a_failure_is_followed_by_another_attempt_with_its_own_record(
    stage: Stage, fault: str, is_stream: bool
) -> None:
    before = stage.settled().spent
    good = "stream" if is_stream else "ok"
    seen = stage.ask(turns(fault, good), is_stream=is_stream)
    assert (seen.answer.status, seen.ending, seen.error_code) == (200, "whole", "")
    first, second = stage.rows(seen.name, 2)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert (first["retry_of"], second["retry_of"]) == (None, first["id"])
    assert first["outcome"] == ("upstream_error" if fault.startswith("status") else "upstream_reset")
    assert second["outcome"] == "completed"
    assert first["request_bytes"] == second["request_bytes"]
    assert seen.answer.head.find(str(second["id"]).encode()) > 0
    assert len(stage.truth(seen.name, 2)) == 2
    assert stage.settled().spent - before == _settled(stage, is_stream, first, second)


def _settled(stage: Stage, is_stream: bool, *rows: dict[str, Any]) -> int:
    """Return what the ledger was told for these records; a whole reservation is what none of our own can say."""
    total = 0
    for row in rows:
        if row["cost_usd"] is None:
            [known] = stage.glassline.rows("SELECT settled_nano_usd FROM exchanges WHERE id = ?", row["id"])
            assert known["settled_nano_usd"] is None
            total += RESERVATION[is_stream]
        else:
            total += round(row["cost_usd"] * 1e9)
    return total


RESERVATION: dict[bool, int] = {}


@pytest.fixture(scope="module", autouse=True)
def reservations(stage: Stage) -> None:
    """Learn what such a request reserves: an attempt that may have been billed costs that much."""
    for is_stream in (False, True):
        before = stage.settled().spent
        stage.ask(turns(RESET, RESET, RESET), is_stream=is_stream)
        RESERVATION[is_stream] = (stage.settled().spent - before) // 3


def test_a_failure_and_a_retry_add_up_exactly(stage: Stage) -> None:
    before = stage.settled().spent
    seen = stage.ask(turns("status;503", "status;429", "ok"))
    rows = stage.rows(seen.name, 3)
    assert [row["status"] for row in rows] == [503, 429, 200]
    assert [row["cost_usd"] for row in rows[:2]] == [0, 0]
    assert stage.settled().spent - before == round(rows[2]["cost_usd"] * 1e9) > 0


def test_the_last_failure_is_what_the_client_gets(stage: Stage) -> None:
    seen = stage.ask(turns("status;503", "status;500", "limited"))
    assert seen.answer.status == 429, "retry-after: 7 is longer than we wait"
    assert json.loads(seen.body)["error"]["message"] == "slow down"
    rows = stage.rows(seen.name, 3)
    assert [row["outcome"] for row in rows] == ["upstream_error", "upstream_error", "completed"]
    seen = stage.ask(turns(RESET, RESET, RESET))
    assert (seen.answer.status, seen.error_code) == (502, "upstream_unreachable")
    assert len(stage.rows(seen.name, 3)) == len(stage.truth(seen.name, 3)) == 3


@pytest.mark.parametrize(
    "fault",
    [
        "run;sse | chunked | event 1 | sleep 0.05 | rst",
        "run;json | length 900 | answer | sleep 0.05 | rst",
        "silence",
        "status;400",
        "status;401",
        "run;status 503 | header x-should-retry: false | json | length | text no",
        "run;status 503 | header retry-after: 30 | json | length | text no",
    ],
    ids=[
        "stream begun",
        "body begun",
        "timeout",
        "400",
        "401",
        "the upstream forbids it",
        "the upstream wants too long",
    ],
)
def test_there_is_no_other_attempt_when_one_could_do_harm_or_no_good(stage: Stage, fault: str) -> None:
    seen = stage.ask(turns(fault, "ok"), is_stream=True)
    assert seen.answer.status != 200 or seen.ending == "cut"
    assert len(stage.rows(seen.name)) == len(stage.truth(seen.name)) == 1


def test_retry_after_is_honoured_up_to_the_bound(stage: Stage) -> None:
    seen = stage.ask(turns("run;status 429 | header retry-after-ms: 600 | json | length | text no", "ok"))
    assert seen.answer.status == 200
    assert 0.6 <= seen.seconds < 3


def test_a_client_that_leaves_during_the_pause_is_the_end(stage: Stage) -> None:
    with RawClient(stage.glassline.port) as client:
        fault = turns("run;status 429 | header retry-after-ms: 700 | json | length | text no", "ok")
        client.send(request(fault, "impatient", close=False))
        served = stage.truth("impatient")
    row = stage.row("impatient")
    assert row["outcome"] == "client_closed"
    time.sleep(0.8)  # longer than the pause that was cut short
    assert stage.truth("impatient") == served
    assert stage.settled().reserved == 0


def test_a_body_that_is_not_in_memory_any_more_is_not_sent_again(stage: Stage) -> None:
    size = 3_000_000
    lines = [
        "POST /v1/files HTTP/1.1",
        "Host: a",
        "Authorization: Bearer sk-nobody-0123456789",
        f"Content-Length: {size}",
        "Connection: close",
        f"x-fault: {turns('status;503', 'ok')}",
        "x-name: large",
        "x-glassline-session: large",
    ]
    with RawClient(stage.glassline.port) as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + b"x" * size)
        answer = client.read_all()
    assert answer.status == 503
    assert len(stage.truth("large")) == len(stage.rows("large")) == 1


def test_an_edit_of_ours_goes_out_again_with_each_attempt(stage: Stage) -> None:
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    raw = request(turns("status;503", "stream"), "edited").partition(b"\r\n\r\n")[0]
    data = json.dumps(body).encode()
    lines = [line for line in raw.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    with RawClient(stage.glassline.port) as client:
        client.send(b"\r\n".join([*lines, b"Content-Length: %d" % len(data)]) + b"\r\n\r\n" + data)
        answer = client.read_all()
    assert ending(answer) == "whole"
    assert b'"usage":{' not in answer.body.replace(b" ", b"")
    first, second = stage.rows("edited", 2)
    assert first["mutated"] == second["mutated"] == "include_usage"
    assert second["usage_source"] == "provider"
    one, two = stage.truth("edited", 2)
    assert one.body_sha256 == two.body_sha256


def test_attempts_are_counted_by_the_budget_and_none_is_made_without_room(tmp_path: Path) -> None:
    retries = {"attempts": 3, "after": EVERYTHING, "backoff": "20ms"}
    # Room for one reservation and a half: an attempt that may have been billed leaves none for another.
    with staged(tmp_path / "a") as probe:
        probe.ask(RESET)
        reservation = probe.settled().spent
    keys = [{"name": "capped", "key": KEY, "budgets": [{"limit_usd": reservation * 1.5 / 1e9, "window": "total"}]}]
    with staged(tmp_path / "b", {"keys": keys}, retries=retries) as stage:
        seen = stage.ask(turns(RESET, "ok"), name="n999999")
        assert (seen.answer.status, seen.error_code) == (502, "upstream_unreachable"), "not the budget's refusal"
        row = stage.row(seen.name)
        assert (row["outcome"], row["attempt"]) == ("upstream_reset", 1)
        assert len(stage.truth(seen.name)) == 1
        account = stage.settled()
        assert account.reserved == 0
        assert account.spent <= round(reservation * 1.5)


def test_an_upstream_that_comes_up_in_time_is_reached_by_a_later_attempt(tmp_path: Path) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    retries = {"attempts": 5, "backoff": "300ms"}
    with staged(tmp_path, base_url=f"http://127.0.0.1:{port}/v1", retries=retries) as stage:
        listeners: list[socket.socket] = []

        def serve() -> None:
            time.sleep(0.4)
            listener = socket.create_server(("127.0.0.1", port))
            listeners.append(listener)
            connection, _ = listener.accept()
            connection.recv(65536)
            answer = body_of("late")
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        seen = stage.ask("ok", name="late")
        thread.join()
        listeners[0].close()
        assert seen.answer.status == 200
        stage.glassline.wait_for_rows(1, "session = 'late' AND outcome = 'completed'")
        rows = stage.rows("late", 2)
        assert {row["outcome"] for row in rows[:-1]} == {"upstream_error"}
        assert rows[-1]["outcome"] == "completed"
        assert stage.settled().spent == round(rows[-1]["cost_usd"] * 1e9)


def test_without_retries_a_failure_is_the_answer(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        for fault in ("status;503", RESET, "status;429"):
            seen = stage.ask(turns(fault, "ok"))
            assert seen.answer.status in (502, 503, 429)
            assert len(stage.truth(seen.name)) == 1


def pause(head: bytes = b"", attempt: int = 1, chance: float = 0.0) -> float | None:
    parsed = read_response_head(b"HTTP/1.1 503 X\r\n" + head + b"\r\n") if head else None
    return pause_before(Retries(attempts=5), attempt, parsed, chance=chance, now_s=1_800_000_000)


def test_pauses_double_and_are_shortened_at_random() -> None:
    assert [pause(attempt=n) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert pause(attempt=9) == 10
    assert pause(chance=1.0) == 0.25


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"retry-after: 3\r\n", 3.0),
        (b"retry-after: 1.5\r\n", 1.5),
        (b"retry-after-ms: 1500\r\n", 1.5),
        (b"retry-after: Fri, 15 Jan 2027 08:00:04 GMT\r\n", 4.0),
        (b"retry-after: 11\r\n", None),
        (b"retry-after: soon\r\n", 0.5),
        (b"retry-after: -4\r\n", 0.5),
        (b"retry-after: nan\r\n", 0.5),
        (b"retry-after: 1e400\r\n", None),
        (b"x-should-retry: false\r\n", None),
        (b"x-should-retry: true\r\n", 0.5),
    ],
)
def test_the_upstream_says_when_and_whether(head: bytes, expected: float | None) -> None:
    assert pause(head) == expected
