"""Clients that are slow, rude, confused or gone."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGlassline, StartSimulator
from tests.harness import Glassline
from tests.harness.client import RawClient, exchange, post
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import STREAM_HEAD, Connection, ScriptedUpstream, answer_chat, event, with_length

TIMEOUTS = {"header": 1, "body_idle": 1, "write_stall": 1, "keep_alive": 2}
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
LIMITED = "sk-limited-0123456789"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as made:
        yield made


@pytest.fixture(scope="module")
def glassline(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Glassline]:
    config = with_upstream(
        {
            "timeouts": TIMEOUTS,
            "limits": {"body_mb": 1},
            "keys": [{"name": "limited", "key": LIMITED, "budgets": [{"limit_usd": 5, "window": "total"}]}],
        },
        upstream.url,
    )
    with ExitStack() as stack:
        made = Glassline(tmp_path_factory.mktemp("clients"), config)
        stack.enter_context(closing(made))
        yield made.start()


@pytest.fixture(autouse=True)
def scripted(upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script = answer_chat
    yield
    upstream.script = answer_chat


def test_pipelined_requests_are_answered_in_order(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    def script(connection: Connection) -> None:
        body = connection.request.partition(b"\r\n\r\n")[2]
        time.sleep(0.02 if b'"n1"' in body else 0)
        connection.send(with_length(body))

    upstream.script = script
    bodies = [b'{"model":"n%d"}' % number for number in range(20)]
    requests = [post("/v1/chat/completions", body, close=False) for body in bodies[:-1]]
    with RawClient(glassline.port) as client:
        client.send(b"".join((*requests, post("/v1/chat/completions", bodies[-1]))))
        raw = client.read_all().raw
    positions = [raw.find(body) for body in bodies]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_long_body_that_waited_behind_another_request_is_read_to_its_end(
    glassline: Glassline, upstream: ScriptedUpstream, framing: str
) -> None:
    def script(connection: Connection) -> None:
        time.sleep(0.3)
        connection.send(with_length(b"%d" % len(connection.request)))

    upstream.script = script
    long = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 600_000}]}).encode()
    second = post("/v1/chat/completions", long)
    if framing == "chunks":
        head = second.partition(b"\r\n\r\n")[0].replace(
            b"Content-Length: %d" % len(long), b"Transfer-Encoding: chunked"
        )
        second = head + b"\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(long), long)
    with RawClient(glassline.port) as client:
        sender = threading.Thread(target=client.send, args=(post("/v1/chat/completions", BODY, close=False) + second,))
        sender.start()
        raw = client.read_all().raw
        sender.join()
    assert raw.count(b"HTTP/1.1 200 OK") == 2


def test_each_record_says_the_length_that_its_own_request_had(glassline: Glassline) -> None:
    bodies = [BODY, BODY + b" " * 100, BODY + b" " * 3]
    for body in bodies:
        exchange(glassline.port, post("/v1/chat/completions", body, headers=("x-glassline-session: lengths",)))
    rows = glassline.wait_for_rows(3, "session = 'lengths'")
    recorded = [dict(glassline.body(row["id"], "request").headers)["Content-Length"] for row in rows]
    assert sorted(recorded) == sorted(str(len(body)) for body in bodies)


def test_pipelined_requests_that_are_answered_here_are_answered_in_order(glassline: Glassline) -> None:
    me = f"GET /-/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {LIMITED}\r\n\r\n".encode()
    probe = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    raw = exchange(glassline.port, probe + me + probe + last).raw
    assert raw.count(b"HTTP/1.1 200 OK") == 4
    assert raw.find(b'"key":"limited"') > raw.find(b"ok\n") > 0
    assert raw.rfind(b"ok\n") > raw.find(b'"key":"limited"')


def test_an_offer_of_http_2_is_not_taken_up_and_the_request_is_served(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    answer = exchange(glassline.port, post("/v1/chat/completions", BODY, headers=offer, close=False))
    assert answer.status == 200
    assert b"upgrade" not in upstream.requests[-1].lower()
    assert b"http2-settings" not in upstream.requests[-1].lower()
    assert upstream.requests[-1].endswith(BODY)


def test_an_empty_chunked_body_is_sent_once(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    before = len(upstream.requests)
    request = (
        b"POST /v1/batches/b/cancel HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert exchange(glassline.port, request + b"0\r\n\r\n").status == 200
    assert len(upstream.requests) - before == 1


def test_expect_100_continue_is_answered_at_once(glassline: Glassline) -> None:
    with RawClient(glassline.port) as client:
        head, body = post("/v1/chat/completions", BODY, headers=("Expect: 100-continue",)).split(b"\r\n\r\n", 1)
        client.send(head + b"\r\n\r\n")
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.read_all().status == 200


def test_expect_is_not_encouraged_when_the_body_is_too_large(glassline: Glassline) -> None:
    with RawClient(glassline.port) as client:
        client.send(b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_a_body_over_the_limit_is_a_413_the_client_can_read(glassline: Glassline) -> None:
    answer = exchange(glassline.port, post("/v1/chat/completions", b"x" * 2_000_000))
    assert answer.status == 413
    assert b"x-glassline-error: too_large" in answer.head


def test_a_chunked_body_over_the_limit_is_a_413(glassline: Glassline) -> None:
    with RawClient(glassline.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_head_and_http_1_0_are_spoken(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda connection: connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    answer = exchange(glassline.port, b"HEAD /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"")
    assert b"content-length: 5" in answer.head
    upstream.script = lambda connection: connection.send(STREAM_HEAD + event("one") + b"0\r\n\r\n")
    answer = exchange(glassline.port, b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert answer.body.startswith(b"data: ")
    assert b"transfer-encoding" not in answer.head


def test_a_204_has_no_body_and_the_connection_lives_on(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda connection: connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    with RawClient(glassline.port) as client:
        for _ in range(3):
            client.send(b"DELETE /v1/responses/r HTTP/1.1\r\nHost: a\r\n\r\n")
            head = client.read_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204")
            assert b"content-length" not in head.lower()


@pytest.mark.parametrize(
    "field",
    [
        '"max_tokens":-1',
        '"max_tokens":1e308',
        '"max_tokens":"10"',
        '"max_tokens":true',
        '"max_tokens":9223372036854775808',
        '"n":1000000000',
        '"n":-5',
        '"n":0',
    ],
)
def test_hostile_numbers_never_crash_and_never_overspend(glassline: Glassline, field: str) -> None:
    body = f'{{"model":"gpt-4o-mini",{field},"messages":[]}}'.encode()
    answer = exchange(glassline.port, post("/v1/chat/completions", body, key=LIMITED))
    assert answer.status in (200, 400, 429)
    me = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {LIMITED}"}).json()
    assert me["budgets"][0]["spent_usd"] + me["budgets"][0]["reserved_usd"] <= 5


@pytest.mark.case(20)
def test_a_slow_reader_is_held_back_by_the_wire_and_not_by_memory(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    total = 100 * 1024 * 1024

    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        piece = b"x" * (1024 * 1024)
        for _ in range(total // len(piece)):
            connection.send(piece)

    upstream.script = script
    [gateway] = glassline.pids_of("gateway")
    before = _rss_mb(gateway)
    with RawClient(glassline.port, timeout_s=20) as client:
        client.send(post("/v1/chat/completions", BODY, headers=("x-glassline-session: slow",)))
        received = len(client.socket.recv(1024))
        peak = 0.0
        for _ in range(8):
            time.sleep(0.05)
            received += len(client.socket.recv(65536))
            peak = max(peak, _rss_mb(gateway))
        while received < total:
            data = client.socket.recv(1 << 20)
            if not data:
                break
            received += len(data)
            peak = max(peak, _rss_mb(gateway)) if received % 50 == 0 else peak
    assert received > total
    assert peak - before < 40, f"{before} MB grew to {peak} MB"
    [row] = glassline.wait_for_rows(1, "session = 'slow'")
    assert row["response_bytes"] == total


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def test_a_reader_that_stops_is_cut_and_recorded(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
        for _ in range(100):
            connection.send(b"x" * 999_999)

    upstream.script = script
    with RawClient(glassline.port) as client:
        client.send(post("/v1/chat/completions", BODY, headers=("x-glassline-session: stopped",)))
        [row] = glassline.wait_for_rows(1, "session = 'stopped'")
    assert row["outcome"] == "client_closed"


def test_the_upstream_is_cancelled_when_the_client_leaves(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        if connection.wait_closed(5):
            closed.set()

    upstream.script = script
    with RawClient(glassline.port) as client:
        client.send(post("/v1/chat/completions", BODY, headers=("x-glassline-session: left",)))
        client.read_until(b"one")
    assert closed.wait(1), "the upstream still waits"
    [row] = glassline.wait_for_rows(1, "session = 'left'")
    assert row["outcome"] == "client_closed"


def test_a_draining_upstream_is_read_to_the_end_for_its_usage(start_glassline: StartGlassline) -> None:
    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        time.sleep(0.5)
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}}\n\n'
        connection.send(b"%x\r\n%b\r\n" % (len(usage), usage) + b"0\r\n\r\n")

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {"upstreams": {"openai": {"on_disconnect": "drain"}}})
        with RawClient(glassline.port) as client:
            client.send(post("/v1/chat/completions", BODY))
            client.read_until(b"one")
        [row] = glassline.wait_for_rows(1)
    assert (row["output_tokens"], row["usage_source"]) == (7, "provider")


@pytest.mark.timeout(240)
def test_a_thousand_clients_that_leave_at_random_leave_a_thousand_settled_records(
    start_simulator: StartSimulator, start_glassline: StartGlassline
) -> None:
    simulator = start_simulator()
    key = "sk-leaving-0123456789"
    config = {"keys": [{"name": "leaving", "key": key, "budgets": [{"limit_usd": 50, "window": "total"}]}]}
    glassline = start_glassline(simulator.url, config)
    rng = random.Random(7)

    def leave(plan: tuple[int, bool, float, bool]) -> None:
        number, is_streaming, patience_s, is_rude = plan
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": "gpt-4o-mini", "stream": is_streaming, "max_tokens": 60, "messages": messages}
        request = post(
            "/v1/chat/completions",
            json.dumps(body).encode(),
            key=key,
            headers=("x-simulate: pace=300;ttft=0.05;tokens=60", f"x-glassline-session: n{number}"),
        )
        with RawClient(glassline.port) as client:
            client.send(request)
            client.socket.settimeout(max(0.001, patience_s))
            until = time.monotonic() + patience_s
            try:
                while time.monotonic() < until and client.socket.recv(4096):
                    pass
            except TimeoutError:
                pass
            if is_rude:
                client.reset()

    plans = [(n, rng.random() < 0.5, rng.random() * 0.4, rng.random() < 0.5) for n in range(1000)]
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(leave, plans))

    rows = glassline.wait_for_rows(1000, timeout_s=60)
    assert len({row["session"] for row in rows}) == len(rows) == 1000
    assert {row["outcome"] for row in rows} == {"client_closed", "completed"}
    assert {row["status"] for row in rows} <= {200, None}

    def settled() -> Any:
        me = httpx.get(f"{glassline.url}/-/me", headers={"authorization": f"Bearer {key}"}).json()["budgets"][0]
        return me if me["reserved_usd"] == 0 else None

    account = wait_until(settled, "settlement of every reservation", timeout_s=30)
    total = sum(round((row["cost_usd"] or 0) * 1e9) for row in rows)
    unknown = [row for row in rows if row["cost_usd"] is None]
    spent = round(account["spent_usd"] * 1e9)
    assert spent >= total > 0, "what was dispatched and not answered is spent at its reservation"
    if not unknown:
        assert spent == total
    left = sum(row["outcome"] == "client_closed" for row in rows)
    print(
        f"1000 records, {left} clients left early, {len(unknown)} unknown costs, spent {spent}, rows {total} nano-USD"
    )
    glassline.stop()
