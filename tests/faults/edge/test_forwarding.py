"""What an upstream sees: one framing, its own host, nothing that was meant for one hop, whatever the client sent."""

from __future__ import annotations

import pytest

from tests.faults.edge.payloads import get
from tests.harness import Glassline
from tests.harness.client import exchange
from tests.harness.upstream import ScriptedUpstream

BODY = b'{"model":"gpt-4o-mini"}'
LENGTH = b"Content-Length: %d" % len(BODY)
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"expect",
}
CURIOUS: dict[str, tuple[bytes, ...]] = {
    "nothing special": (LENGTH,),
    "an underscore twin of the length": (LENGTH, b"Content_Length: 5"),
    "an underscore twin of the coding": (LENGTH, b"Transfer_Encoding: chunked"),
    "an underscore twin of Connection": (LENGTH, b"Proxy_Connection: keep-alive", b"Keep_Alive: 5"),
    "every hop-by-hop header": (
        LENGTH,
        b"Connection: close, TE",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Authorization: Basic eDp5",
        b"TE: trailers",
        b"Trailer: X",
    ),
    "headers named in Connection": (LENGTH, b"Connection: X-Secret, x-OTHER , close", b"X-Secret: 1", b"X-Other: 2"),
    "headers named in a second Connection": (LENGTH, b"Connection: close", b"connection: X-Secret", b"x-SECRET: 1"),
    "the length named in Connection": (LENGTH, b"Connection: close, Content-Length, Host"),
    "chunks": (b"Transfer-Encoding: chunked",),
    "chunks in upper case": (b"TRANSFER-ENCODING: CHUNKED",),
    "an offer of HTTP/2": (LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM"),
    "another protocol": (LENGTH, b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
    "Expect": (LENGTH, b"Expect: 100-continue"),
    "headers that name another path": (
        LENGTH,
        b"X-Original-URL: /admin",
        b"X-Rewrite-URL: /admin",
        b"X-Forwarded-Prefix: /admin",
        b"X_Original_URL: /admin",
    ),
}


@pytest.mark.parametrize("name", CURIOUS)
def test_the_upstream_sees_one_framing_one_host_and_no_hop(edge: Glassline, echo: ScriptedUpstream, name: str) -> None:
    lines = CURIOUS[name]
    is_chunked = any(line.lower().startswith(b"transfer-encoding") for line in lines)
    closes = () if any(b"close" in line for line in lines) else (b"Connection: close",)
    head = b"".join(line + b"\r\n" for line in (b"Host: evil.example", *lines, *closes))
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if is_chunked else BODY
    answer = exchange(edge.port, b"POST /v1/chat/completions HTTP/1.1\r\n" + head + b"\r\n" + body)
    assert b"HTTP/1.1 200 OK" in answer.raw
    seen, _, sent = echo.requests[-1].partition(b"\r\n\r\n")
    first, *fields = seen.split(b"\r\n")
    names = [field.partition(b":")[0].lower() for field in fields]
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert sum(each in (b"content-length", b"transfer-encoding") for each in names) == 1
    assert [field for field in fields if field.lower().startswith(b"host:")] == [b"Host: 127.0.0.1:%d" % echo.port]
    assert not set(names) & (HOP_BY_HOP - {b"transfer-encoding"})
    assert not any(b"secret" in each or b"x-other" in each or b"_" in each for each in names)
    assert b"evil" not in seen
    assert b"admin" not in seen
    assert b"".join(sent.split(b"\r\n")[1::2]) == BODY if b"transfer-encoding" in names else sent == BODY


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-HTTP-Method-Override: DELETE",),
        (b"X-Original-URL: /gemini/v1beta/models",),
        (b"X-Rewrite-URL: /healthz",),
        (b"X-Forwarded-Prefix: /anthropic",),
        (b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https", b"Forwarded: host=evil.example"),
    ],
    ids=lambda lines: lines[0].decode(),
)
def test_no_header_changes_where_a_request_goes(
    edge: Glassline, echo: ScriptedUpstream, lines: tuple[bytes, ...]
) -> None:
    answer = exchange(edge.port, get(b"Connection: close", *lines, target=b"/v1/models"))
    assert answer.status == 200
    assert echo.requests[-1].startswith(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:")
    at_admin = exchange(edge.admin_port, get(b"Connection: close", *lines, target=b"/healthz"))
    assert (at_admin.status, at_admin.body) == (200, b"ok\n")


def test_an_evil_host_reads_nothing_on_the_admin_port(edge: Glassline) -> None:
    for host in (b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example", b"[::2]"):
        request = b"GET /api/requests HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host
        assert exchange(edge.admin_port, request).status == 421


def test_underscore_twins_and_connection_change_nothing_on_the_admin_port(edge: Glassline) -> None:
    request = get(b"Content_Length: 5", b"Transfer_Encoding: chunked", b"Connection: host, close", target=b"/healthz")
    answer = exchange(edge.admin_port, request)
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_options_and_head_are_answered_on_both_ports(edge: Glassline) -> None:
    for method in (b"OPTIONS", b"HEAD"):
        request = method + b" /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert exchange(edge.port, request).status == 200
        at_admin = exchange(edge.admin_port, request.replace(b"/v1/models", b"/healthz"))
        assert at_admin.status in (200, 405)
        assert b"access-control-allow-origin" not in at_admin.head
        if method == b"HEAD":
            assert at_admin.body == b""


def test_http_1_0_is_spoken_on_both_ports(edge: Glassline) -> None:
    assert exchange(edge.port, b"GET /v1/models HTTP/1.0\r\n\r\n").status == 200
    answer = exchange(edge.admin_port, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_an_offer_of_another_protocol_is_refused_on_the_admin_port(edge: Glassline) -> None:
    for protocol in (b"websocket", b"h2c", b"TLS/1.0"):
        request = get(b"Connection: Upgrade", b"Upgrade: " + protocol, b"Sec-WebSocket-Key: eA==", target=b"/healthz")
        assert exchange(edge.admin_port, request).status == 501
