"""What could be read in two ways is refused on both ports before anything is routed; each in the same words of HTTP."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import StartGlassline
from tests.e2e.test_lifecycle import make_certificate
from tests.faults.edge.metrics import counted
from tests.faults.edge.payloads import PAYLOADS, get, post
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream

OVER_TLS = (
    "length and chunks",
    "gzip, chunked",
    "a chunk longer than its size",
    "a folded line",
    "two hosts",
    "HTTP/0.9",
    "CONNECT",
    "the path /v1/..%2fadmin",
    "a header of 128 KB",
    "a URL of 100 KB",
)


def test_there_are_enough_payloads() -> None:
    assert len(PAYLOADS) >= 100


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_data_port_refuses(edge: Glassline, echo: ScriptedUpstream, name: str) -> None:
    before = len(echo.requests)
    answer = exchange(edge.port, PAYLOADS[name].request)
    assert answer.status in PAYLOADS[name].data
    _is_a_refusal(answer)
    assert b"x-glassline-error: " in answer.head
    assert not any(b"/v1/" in request for request in echo.requests[before:]), "it was forwarded"


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_admin_port_refuses(edge: Glassline, name: str) -> None:
    answer = exchange(edge.admin_port, PAYLOADS[name].request)
    assert answer.status in PAYLOADS[name].admin
    _is_a_refusal(answer)
    assert b"x-content-type-options: nosniff" in answer.head


def _is_a_refusal(answer: Answer) -> None:
    assert not answer.is_reset, "the client could not read why"
    assert b"connection: close" in answer.head
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer.raw)) == 1, "a second request was served"
    assert b"server:" not in answer.head


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, echo: ScriptedUpstream) -> Iterator[Glassline]:
    directory = tmp_path_factory.mktemp("secure")
    cert, key = make_certificate(directory)
    config = with_upstream({"listen": {"tls": {"cert": str(cert), "key": str(key)}}}, echo.url)
    with closing(Glassline(directory / "glassline", config)) as made:
        yield made.start()


@pytest.mark.parametrize("name", OVER_TLS)
def test_the_data_port_refuses_over_tls(secure: Glassline, echo: ScriptedUpstream, name: str) -> None:
    before = len(echo.requests)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = b""
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as connection,
        context.wrap_socket(connection) as tls,
    ):
        tls.sendall(PAYLOADS[name].request)
        while b"\r\n\r\n" not in raw and (data := tls.recv(65536)):
            raw += data
    answer = Answer(raw, is_reset=False)
    assert answer.status in PAYLOADS[name].data
    assert b"connection: close" in answer.head
    assert not any(b"/v1/" in request for request in echo.requests[before:])


def test_a_handshake_that_does_not_come_ends_with_the_time_for_a_head(
    start_glassline: StartGlassline, tmp_path: Path, echo: ScriptedUpstream
) -> None:
    cert, key = make_certificate(tmp_path)
    config = {"listen": {"tls": {"cert": str(cert), "key": str(key)}}, "timeouts": {"header": 1, "drain": 1}}
    glassline = start_glassline(echo.url, config)
    with RawClient(glassline.port, timeout_s=20) as silent:
        assert silent.read_all().raw == b""


def test_handshakes_under_way_count_and_those_that_fail_give_their_place_back(
    start_glassline: StartGlassline, tmp_path: Path, echo: ScriptedUpstream
) -> None:
    cert, key = make_certificate(tmp_path)
    config = {
        "listen": {"tls": {"cert": str(cert), "key": str(key)}},
        "limits": {"connections": 10},
        "timeouts": {"header": 60, "drain": 1},
    }
    glassline = start_glassline(echo.url, config)
    [gateway] = glassline.pids_of("gateway")
    for _ in range(30):
        assert exchange(glassline.port, get()).status == 0
    with ExitStack() as stack:
        silent = [stack.enter_context(RawClient(glassline.port, timeout_s=20)) for _ in range(10)]
        for _ in range(20):
            assert stack.enter_context(RawClient(glassline.port, timeout_s=20)).read_all().raw == b""
        wait_until(lambda: counted(glassline, "glassline_shed_total", "gateway-0") >= 20, "the count of the shed")
        assert len(list(Path(f"/proc/{gateway}/fd").iterdir())) < 60
        silent[0].reset()
        wait_until(lambda: _greets(glassline.port), "the free place")
    wait_until(lambda: _greets(glassline.port), "the others")


def _greets(port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as tls:
            tls.sendall(get(b"Connection: close", target=b"/healthz"))
            return b"200 OK" in tls.recv(65536)
    except OSError:
        return False


def test_clear_text_on_the_tls_port_gets_no_answer_and_no_upstream(secure: Glassline, echo: ScriptedUpstream) -> None:
    before = len(echo.requests)
    assert exchange(secure.port, get()).status == 0
    assert len(echo.requests) == before


def test_what_is_no_request_is_counted_and_a_refused_request_is_recorded(
    start_glassline: StartGlassline, echo: ScriptedUpstream
) -> None:
    edge = start_glassline(echo.url)
    for name in ("length and chunks", "no host", "HTTP/0.9", "the path //v1/x", "5,000 headers"):
        exchange(edge.port, PAYLOADS[name].request)
    wait_until(lambda: counted(edge, "glassline_bad_requests_total", "gateway-0") == 5, "five refusals in the metrics")
    exchange(
        edge.port, post(b"Transfer-Encoding: chunked", b"x-glassline-session: broken-chunk", body=b"2\r\nab\r\n0x2\r\n")
    )
    [row] = edge.wait_for_rows(1, "session = 'broken-chunk'")
    assert (row["outcome"], row["status"], row["error_code"]) == ("refused", 400, "bad_request")


def test_what_the_admin_port_refuses_is_counted_there(start_glassline: StartGlassline, echo: ScriptedUpstream) -> None:
    glassline = start_glassline(echo.url)
    for name in ("length and chunks", "no host", "HTTP/0.9", "a chunk size with 0x"):
        exchange(glassline.admin_port, PAYLOADS[name].request)
    assert counted(glassline, "glassline_bad_requests_total", "admin") == 4
    assert counted(glassline, "glassline_bad_requests_total", "gateway-0") == 0


def test_ten_megabytes_of_header_cost_no_memory(edge: Glassline) -> None:
    for role, port in (("gateway", edge.port), ("admin", edge.admin_port)):
        [pid] = edge.pids_of(role)
        exchange(port, PAYLOADS["a header of 10 MB"].request)
        before = resident_mb(pid)
        for _ in range(10):
            assert exchange(port, PAYLOADS["a header of 10 MB"].request).status == 431
        assert resident_mb(pid) - before < 10, role


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
