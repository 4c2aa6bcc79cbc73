"""Too many connections, too much in memory: whoever comes on top is told so at once, and everybody else is served."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.faults.edge.metrics import counted
from tests.faults.edge.payloads import get
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange, post
from tests.harness.kernel import unread_bytes
from tests.harness.process import wait_until
from tests.harness.upstream import Connection, ScriptedUpstream, answer_chat, with_length

MB = 1024 * 1024
KEY = "sk-limited-0123456789"
LIMITED = {"keys": [{"name": "limited", "key": KEY, "budgets": [{"limit_usd": 5000, "window": "total"}]}]}
"""A key for which bodies are read whole before they go."""
LAST_PROBE = get(b"Connection: close", target=b"/healthz")


def body_of(size: int) -> bytes:
    """Return a chat request of `size` bytes."""
    front = b'{"model":"gpt-4o-mini","max_tokens":1,"messages":[{"role":"user","content":"'
    return front + b"x" * (size - len(front) - 4) + b'"}]}'


def ask(port: int, body: bytes, session: str = "", *, timeout_s: float = 30.0) -> Answer:
    """Send one chat request under the limited key."""
    headers = (f"x-glassline-session: {session}",) if session else ()
    return exchange(port, post("/v1/chat/completions", body, key=KEY, headers=headers), timeout_s=timeout_s)


@pytest.mark.parametrize("is_admin", [False, True], ids=["data", "admin"])
def test_one_connection_too_many_is_told_so_at_once_and_the_others_go_on(
    start_glassline: StartGlassline, echo: ScriptedUpstream, is_admin: bool
) -> None:
    most = 512 if is_admin else 20
    glassline = start_glassline(echo.url, {"limits": {"connections": 20}, "timeouts": {"header": 60}})
    port = glassline.admin_port if is_admin else glassline.port
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(RawClient(port)) for _ in range(most)]
        inside[0].send(get(target=b"/healthz"))
        assert b"200 OK" in inside[0].read_until(b"ok\n")
        began = time.monotonic()
        for request in (b"", LAST_PROBE):
            answer = exchange(port, request)
            assert (answer.status, b"connection: close" in answer.head) == (503, True)
            assert b"overloaded" in answer.raw
        assert time.monotonic() - began < 2
        inside[-1].send(LAST_PROBE)
        assert inside[-1].read_all().status == 200
        wait_until(lambda: exchange(port, LAST_PROBE).status == 200, "the free place")
    process = "admin" if is_admin else "gateway-0"
    wait_until(lambda: _shed(glassline, process) >= 2, "the count of those turned away")


def _shed(glassline: Glassline, process: str) -> float:
    return counted(glassline, "glassline_shed_total", process)


def test_hundreds_too_many_are_closed_without_a_word_and_nobody_hangs(
    start_glassline: StartGlassline, echo: ScriptedUpstream
) -> None:
    glassline = start_glassline(echo.url, {"limits": {"connections": 10}, "timeouts": {"header": 60}})
    [gateway] = glassline.pids_of("gateway")
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(RawClient(glassline.port)) for _ in range(10)]
        inside[0].send(get(target=b"/healthz"))
        inside[0].read_until(b"ok\n")
        outside = [stack.enter_context(RawClient(glassline.port)) for _ in range(600)]
        answers = [client.read_all() for client in outside]
        assert {answer.status for answer in answers} <= {0, 503}
        inside[0].send(LAST_PROBE)
        assert inside[0].read_all().status == 200
    wait_until(lambda: exchange(glassline.port, LAST_PROBE).status == 200, "a free place")
    wait_until(lambda: len(list(Path(f"/proc/{gateway}/fd").iterdir())) < 60, "the end of every descriptor")


def test_bodies_beyond_the_memory_limit_are_refused_and_the_ones_inside_go_through(
    start_glassline: StartGlassline,
) -> None:
    with ScriptedUpstream(answer_chat) as upstream:
        glassline = start_glassline(upstream.url, {**LIMITED, "limits": {"memory_mb": 8}})
        body = body_of(3 * MB)
        head, _, _ = post("/v1/chat/completions", body, key=KEY).partition(b"\r\n\r\n")
        with contextlib.ExitStack() as stack:
            inside = [stack.enter_context(RawClient(glassline.port, timeout_s=30)) for _ in range(2)]
            for client in inside:
                client.send(head + b"\r\n\r\n" + body[:-1])
            wait_until(lambda: not unread_bytes(glassline.port), "the bodies inside")
            answer = ask(glassline.port, body, "over")
            assert b"x-glassline-error: overloaded" in answer.head
            assert b"retry-after: 1" in answer.head
            assert exchange(glassline.port, LAST_PROBE).status == 200
            for client in inside:
                client.send(body[-1:])
                assert client.read_all().status == 200
        wait_until(lambda: ask(glassline.port, body).status == 200, "room for a body")
        row = glassline.wait_for_rows(1, "session = 'over' AND error_code = 'overloaded'")[0]
        assert (row["outcome"], row["status"], row["cost_usd"]) == ("refused", 503, 0)
    assert all(request.endswith(b'"}]}') for request in upstream.requests)


def test_answers_that_nobody_takes_count_as_memory(start_glassline: StartGlassline) -> None:
    size = 8 * MB

    def script(connection: Connection) -> None:
        if b"x-big: 1" in connection.request:
            connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (100 * size))
            connection.send(b"x" * size)
            connection.wait_closed(10)
        else:
            answer_chat(connection)

    with ScriptedUpstream(script) as upstream:
        glassline = start_glassline(upstream.url, {**LIMITED, "limits": {"memory_mb": 0.05}})
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                client = stack.enter_context(RawClient(glassline.port))
                client.send(get(b"x-big: 1", target=b"/v1/models"))
            wait_until(lambda: ask(glassline.port, body_of(500)).status == 503, "a refusal")
            wait_until(lambda: _shed(glassline, "gateway-0") >= 1, "the count of those turned away")
        wait_until(lambda: ask(glassline.port, body_of(500)).status == 200, "room again")


@pytest.mark.slow
def test_twenty_large_bodies_at_once_stay_within_a_bound_of_memory(start_glassline: StartGlassline) -> None:
    together = threading.Barrier(20)
    with swallowing_upstream() as (url, _):
        glassline = start_glassline(url, {**LIMITED, "limits": {"memory_mb": 64}})
        [gateway] = glassline.pids_of("gateway")
        body = body_of(10 * MB)
        before = resident_mb(gateway)
        answers: list[Answer] = []

        def upload() -> None:
            together.wait(20)
            answers.append(ask(glassline.port, body, timeout_s=60))

        with PeakMemory(gateway) as peak, ThreadPoolExecutor(20) as pool:
            for _ in range(20):
                pool.submit(upload)
        statuses = sorted(answer.status for answer in answers)
        print(json.dumps({"statuses": statuses, "before_mb": before, "peak_mb": peak.mb}))
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
        assert peak.mb - before < 3 * 64
        wait_until(lambda: ask(glassline.port, body).status == 200, "room again")


class PeakMemory:
    """Watches the resident memory of a process while its context is open."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self.mb = max(self.mb, resident_mb(self._pid))


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def test_fifty_megabytes_pass_and_two_hundred_are_refused_before_they_are_read(
    start_glassline: StartGlassline,
) -> None:
    body = body_of(50 * MB)
    with swallowing_upstream() as (url, sizes):
        for config, most_mb in (({}, 20), (LIMITED, 2.5 * 50)):  # relayed as it comes; read whole before it goes
            glassline = start_glassline(url, config)
            [gateway] = glassline.pids_of("gateway")
            before = resident_mb(gateway)
            with PeakMemory(gateway) as peak:
                answer = ask(glassline.port, body, timeout_s=60)
            print(json.dumps({"before_mb": before, "peak_mb": peak.mb}))
            assert answer.status == 200
            assert peak.mb - before < most_mb
        assert len(sizes) == 2
        assert all(size > 50 * MB for size in sizes)
        _refuses_two_hundred_megabytes(glassline)
        assert len(sizes) == 2


@contextlib.contextmanager
def swallowing_upstream() -> Iterator[tuple[str, list[int]]]:
    """Yield the address of an upstream that reads one large request a connection, and the sizes it read."""
    sizes: list[int] = []

    def swallow(connection: socket.socket) -> None:
        size, last = 0, b""
        with connection:
            while not last.endswith(b'"}]}') and (data := connection.recv(1 << 20)):
                size += len(data)
                last = (last + data)[-16:]
            if size:
                sizes.append(size)
                connection.sendall(with_length(b"{}"))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=swallow, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", sizes
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _refuses_two_hundred_megabytes(glassline: Glassline) -> None:
    head = b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 209715200\r\n"
    with RawClient(glassline.port) as client:
        client.send(head + b"Expect: 100-continue\r\n\r\n")
        answer = client.read_all()
        assert answer.status == 413
        assert b"100 Continue" not in answer.raw
    with RawClient(glassline.port) as client:
        client.send(head + b"\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 200 * MB:
                sent += client.socket.send(b"x" * MB)
        assert client.read_all().status == 413
        assert sent < 200 * MB
