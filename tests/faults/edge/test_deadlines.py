"""Clients that send nothing, too little or too slowly are not waited for, on neither port."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.conftest import StartGlassline
from tests.faults.edge.payloads import get, post
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange
from tests.harness.kernel import established
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream, with_length

TIMEOUTS = {"header": 1, "body_idle": 2, "body_pace": 1, "write_stall": 1, "keep_alive": 1}
PORTS = {"data": lambda glassline: glassline.port, "admin": lambda glassline: glassline.admin_port}
PATHS = {"data": b"/v1/chat/completions", "admin": b"/api/keys"}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, echo: ScriptedUpstream) -> Iterator[Glassline]:
    config = with_upstream({"timeouts": TIMEOUTS, "limits": {"body_bytes_per_second": 1000}}, echo.url)
    with closing(Glassline(tmp_path_factory.mktemp("hasty"), config)) as made:
        yield made.start()


@pytest.fixture(params=PORTS)
def port(request: pytest.FixtureRequest, hasty: Glassline) -> int:
    choose: Callable[[Glassline], int] = PORTS[request.param]
    return choose(hasty)


def drip(port: int, first: bytes, piece: bytes, every_s: float, *, most_s: float = 8.0) -> tuple[Answer, float]:
    """Send `first`, then `piece` again and again until there is an answer; return it with the seconds it took."""
    began = time.monotonic()
    with RawClient(port) as client:
        client.send(first)
        client.socket.settimeout(every_s)
        raw = b""
        while b"\r\n\r\n" not in raw and time.monotonic() - began < most_s:
            try:
                data = client.socket.recv(65536)
                if not data:
                    break
                raw += data
            except TimeoutError:
                client.send(piece)
            except ConnectionResetError:
                break
    return Answer(raw, is_reset=False), time.monotonic() - began


@pytest.mark.parametrize(
    "start",
    [b"", b"\r\n", b"G", b"POST /v1/x HT", b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nX: 1"],
    ids=["silent", "an empty line", "one byte", "half a line", "half a head"],
)
def test_a_head_that_does_not_come_is_not_waited_for(port: int, start: bytes) -> None:
    began = time.monotonic()
    answer = exchange(port, start)
    assert 0.5 < time.monotonic() - began < 5
    assert answer.status in (0, 408)
    assert bool(start.strip()) == (answer.status == 408)


@pytest.mark.parametrize("piece", [b"X: 1\r\n", b"a"], ids=["a line at a time", "a byte at a time"])
def test_a_dripped_head_is_not_waited_for(port: int, piece: bytes) -> None:
    answer, took_s = drip(port, b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nX: ", piece, 0.1)
    assert answer.status == 408
    assert took_s < 5


@pytest.mark.parametrize("kind", PORTS)
def test_a_body_that_stalls_is_a_408(hasty: Glassline, kind: str) -> None:
    request = post(b"Content-Type: application/json", b"Content-Length: 100", body=b"{")
    answer = exchange(PORTS[kind](hasty), request.replace(b"/v1/x", PATHS[kind]))
    assert answer.status == 408
    assert b"connection: close" in answer.head


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"], ids=["length", "chunks"]
)
@pytest.mark.parametrize("kind", PORTS)
def test_a_body_slower_than_the_least_speed_is_a_408_however_regularly_it_comes(
    hasty: Glassline, kind: str, framing: bytes
) -> None:
    session = f"slow-{kind}-{framing[:4].decode()}"
    lines = (b"Content-Type: application/json", framing, b"x-glassline-session: " + session.encode())
    piece = b"10\r\n" + b" " * 16 + b"\r\n" if b"chunked" in framing else b" " * 16
    first = post(*lines).replace(b"/v1/x", PATHS[kind])
    answer, took_s = drip(PORTS[kind](hasty), first, piece, 0.1)
    assert answer.status == 408
    assert took_s < 6
    if kind == "data":
        [row] = hasty.wait_for_rows(1, f"session = '{session}'")
        assert (row["outcome"], row["status"], row["error_code"]) == ("timeout", 408, "bad_request")


def test_a_burst_buys_no_time_for_dripping_afterwards(hasty: Glassline) -> None:
    first = post(b"Content-Length: 1000000", body=b"x" * 300_000)
    answer, took_s = drip(hasty.port, first, b"x", 0.1)
    assert answer.status == 408
    assert took_s < 6


def test_a_body_at_a_fair_speed_is_taken_however_long_it_is(hasty: Glassline, echo: ScriptedUpstream) -> None:
    body = json.dumps({"model": "gpt-4o-mini", "x": "y" * 12_000}).encode()
    size = len(body)
    with RawClient(hasty.port) as client:
        client.send(post(b"Content-Length: %d" % size, b"Connection: close").replace(b"/v1/x", PATHS["data"]))
        for start in range(0, size, 400):
            client.send(body[start : start + 400])
            time.sleep(0.1)
        assert client.read_all().status == 200
    assert echo.requests[-1].endswith(body)


def test_a_client_that_we_make_wait_is_not_slow(start_glassline: StartGlassline) -> None:
    body = b"x" * 40_000_000
    received = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept_late() -> None:
            nonlocal received
            connection, _ = listener.accept()
            with connection:
                time.sleep(4)  # longer than body_idle and body_pace: buffers are full, so the client is held back
                while received < len(body):
                    received += len(connection.recv(1 << 20))
                connection.sendall(with_length(b"{}"))

        thread = threading.Thread(target=accept_late)
        thread.start()
        config = {"timeouts": TIMEOUTS, "limits": {"body_bytes_per_second": 1000}}
        glassline = start_glassline(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", config)
        request = post(b"Content-Length: %d" % len(body), b"Connection: close", body=body)
        answer = exchange(glassline.port, request.replace(b"/v1/x", b"/v1/files"), timeout_s=25)
        thread.join(10)
    assert answer.status == 200


def test_an_idle_kept_connection_is_closed(port: int) -> None:
    with RawClient(port) as client:
        client.send(get(target=b"/healthz"))
        began = time.monotonic()
        answer = client.read_all()
    assert answer.status == 200
    assert 0.5 < time.monotonic() - began < 5


def test_an_answer_that_nobody_takes_does_not_hold_the_admin_port(hasty: Glassline) -> None:
    with RawClient(hasty.admin_port, timeout_s=20) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            client.send(get(target=b"/api/openapi.json") * 3000)
        assert established(hasty.admin_port) == 1
        wait_until(lambda: established(hasty.admin_port) == 0, "the end of the connection", timeout_s=20)
