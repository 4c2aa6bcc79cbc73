"""An upstream that closes idle connections just as we use them costs no request, and no request is sent twice for it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.upstream.stage import Stage, request, staged, unframed
from tests.harness.client import Answer, RawClient
from tests.harness.faultprogram import body_of

LONG = bool(os.environ.get("GLASSLINE_LONG"))
PATIENCES_MS = (0, 0.2, 0.5, 1, 1.5, 2, 3, 5)
"""How long the upstream keeps a connection after an answer: about as long as the next request takes to come."""


def closing_race(stage: Stage, count: int, clients: int = 4) -> dict[str, int]:
    """Send `count` requests to an upstream that closes every idle connection soon; return what became of them."""
    came: Counter[str] = Counter()
    lock = threading.Lock()

    def work(first: int) -> None:
        with RawClient(stage.glassline.port) as client:
            for number in range(first, count, clients):
                name = f"race{number}"
                pause = PATIENCES_MS[number % len(PATIENCES_MS)] / 1000
                client.send(request(f"close-idle;{pause}", name, close=False))
                answer = _one_answer(client)
                is_good = answer.status == 200 and unframed(answer)[0] == body_of(name)
                with lock:
                    came["good" if is_good else f"status {answer.status}"] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = stage.glassline.wait_for_rows(count, "session LIKE 'race%'", timeout_s=120)
    served = Counter(each.name for each in stage.upstream.truth() if each.name.startswith("race"))
    return {
        "requests": count,
        "failed": count - came["good"],
        "resent": sum("resent" in row["mutated"] for row in rows),
        "served twice": sum(times > 1 for times in served.values()),
        "rows": len(rows),
    }


def _one_answer(client: RawClient) -> Answer:
    data = client.read_until(b"\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        body += client.socket.recv(65536)
    return Answer(head + b"\r\n\r\n" + body, is_reset=False)


@pytest.mark.timeout(900)
def test_idle_connections_that_close_at_random_fail_no_request_and_repeat_none(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        figures = closing_race(stage, 10_000 if LONG else 500)
    print(figures)
    assert figures["failed"] == 0
    assert figures["served twice"] == 0
    assert figures["rows"] == figures["requests"]


def test_a_request_that_was_read_before_the_connection_broke_is_not_sent_again(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.ask("ok")  # leaves a connection behind
        for fault in ("fin", "run;sleep 0.3 | fin", "run;sleep 0.3 | rst"):
            seen = stage.ask(fault)
            assert (seen.answer.status, seen.error_code) == (502, "upstream_unreachable")
            [served] = stage.truth(seen.name)
            assert served.on_connection > 1, "it went out on the kept connection"
            assert stage.row(seen.name)["mutated"] == ""
            stage.ask("ok")


def test_reading_again_is_harmless_so_a_read_is_repeated(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.ask("ok")
        with RawClient(stage.glassline.port) as client:
            head = request("fin", "reading").partition(b"\r\n\r\n")[0].replace(b"POST", b"GET")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-")]
            client.send(b"\r\n".join(lines) + b"\r\n\r\n")
            client.read_all()
        assert len(stage.truth("reading", 2)) == 2
        assert stage.row("reading")["mutated"] == "resent"
