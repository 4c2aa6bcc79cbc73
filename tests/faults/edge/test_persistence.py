"""Many requests on one connection, and connections that come and go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.edge.payloads import get
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream, answer_chat

MODELS = get(target=b"/v1/models")
HEALTH = get(target=b"/healthz")
LAST_HEALTH = get(b"Connection: close", target=b"/healthz")


@pytest.fixture(scope="module")
def glassline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glassline]:
    with (
        ScriptedUpstream(answer_chat) as upstream,
        closing(Glassline(tmp_path_factory.mktemp("kept"), with_upstream({}, upstream.url))) as made,
    ):
        yield made.start()


def test_a_hundred_pipelined_requests_are_all_answered_and_recorded(glassline: Glassline) -> None:
    bodies = [json.dumps({"model": "gpt-4o-mini", "user": f"n{number}"}).encode() for number in range(100)]
    requests = [
        post("/v1/chat/completions", body, headers=(f"x-glassline-session: p{number}",), close=number == 99)
        for number, body in enumerate(bodies)
    ]
    answer = exchange(glassline.port, b"".join(requests))
    assert answer.raw.count(b"HTTP/1.1 200 OK") == 100
    rows = glassline.wait_for_rows(100, "session LIKE 'p%'")
    assert sorted(row["session"] for row in rows) == sorted(f"p{number}" for number in range(100))


def test_pipelined_requests_to_the_admin_port_are_answered_one_by_one(glassline: Glassline) -> None:
    unknown = get(target=b"/api/nothing")
    answer = exchange(glassline.admin_port, (HEALTH + unknown) * 50 + LAST_HEALTH)
    order = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer.raw)
    assert order == [b"200", b"404"] * 50 + [b"200"]


@pytest.mark.parametrize("kind", ["forwarded", "answered here", "admin"])
def test_thousands_of_requests_on_one_connection_cost_no_memory(glassline: Glassline, kind: str) -> None:
    role, port = ("admin", glassline.admin_port) if kind == "admin" else ("gateway", glassline.port)
    request, count = (MODELS, 2_000) if kind == "forwarded" else (HEALTH, 10_000 if kind == "answered here" else 2_000)
    [pid] = glassline.pids_of(role)
    with RawClient(port) as client:
        ask_often(client, request, 200)
        before = resident_mb(pid)
        ask_often(client, request, count)
    assert resident_mb(pid) - before < 8


def ask_often(client: RawClient, request: bytes, count: int) -> None:
    """Send `request` so many times, each after the answer to the one before."""
    for _ in range(count):
        client.send(request)
        head, _, rest = client.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(length.partition(b":")[2]) - len(rest)
        while missing > 0:
            missing -= len(client.socket.recv(missing))


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
