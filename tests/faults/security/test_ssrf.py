"""Nobody makes Glassline connect where it should not: no base URL, no header, no body, no redirect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from proxy.config import parse_config
from proxy.errors import ConfigError
from proxy.gateway.routing import build_targets
from proxy.gateway.upstream import Pool
from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.upstream import CHAT, Connection, ScriptedUpstream, with_length

LENT = "sk-lent-0123456789abcdefghij"
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()

REFUSED_BY_CONFIG = (
    "http://user@127.0.0.1:{port}/v1",
    "http://user:password@127.0.0.1:{port}/v1",
    "http://api.openai.com@127.0.0.1:{port}/v1",
    "http://127.0.0.1:{port}#@api.openai.com/v1",
    "http://127.0.0.1:{port}?x=api.openai.com",
    "http:///v1",
    "http://:{port}/v1",
    "http:/127.0.0.1:{port}/v1",
    "http:127.0.0.1:{port}",
    "//127.0.0.1:{port}/v1",
    "127.0.0.1:{port}/v1",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/v1",
    "ftp://127.0.0.1:{port}/v1",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/v1",
    "http://127.0.0.1:{port}\r\nHost: x/v1",
    "http://127.0.0.1 :{port}/v1",
    "http://127.0.0.1\t:{port}/v1",
    "http://127.0.0.1:99999/v1",
    "http://127.0.0.1:x/v1",
    "http://127.0.0.1:-1/v1",
    "http://[::1/v1",
    "http://[127.0.0.1]:{port}/v1",
    "http://127.0.0.1\\@api.openai.com:{port}/v1",
)
LOOPBACK = (
    "http://127.0.0.1:{port}/v1",
    "http://127.1:{port}/v1",
    "http://127.0.1:{port}/v1",
    "http://127.1.2.3:{port}/v1",
    "http://127.0.0.1.:{port}/v1",
    "http://2130706433:{port}/v1",
    "http://0x7f000001:{port}/v1",
    "http://0x7f.0.0.1:{port}/v1",
    "http://0x7f.1:{port}/v1",
    "http://017700000001:{port}/v1",
    "http://0177.0.0.1:{port}/v1",
    "http://127.0x0.0.01:{port}/v1",
    "http://0:{port}/v1",
    "http://0.0.0.0:{port}/v1",
    "http://localhost:{port}/v1",
    "http://LOCALHOST:{port}/v1",
    "http://localhost.:{port}/v1",
    "http://ip6-localhost:{port}/v1",
    "http://[::1]:{port}/v1",
    "http://[::]:{port}/v1",
    "http://[0:0:0:0:0:0:0:1]:{port}/v1",
    "http://[0000::0001]:{port}/v1",
    "http://[::ffff:127.0.0.1]:{port}/v1",
    "http://[::ffff:7f00:1]:{port}/v1",
    "http://[::127.0.0.1]:{port}/v1",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/v1",
    "http://127\u30020\u30020\u30021:{port}/v1",
    "https://127.0.0.1:{port}/v1",
    "https://localhost:{port}/v1",
)
"""Spellings of this machine: a listener there shows that nobody comes."""
ELSEWHERE = (
    "http://[64:ff9b::7f00:1]:{port}/v1",
    "http://[64:ff9b:1::7f00:1]:{port}/v1",
    "http://[2002:7f00:1::]:{port}/v1",
    "http://[fe80::1%25lo]:{port}/v1",
    "http://[fe80::1%lo]:{port}/v1",
    "http://[fec0::1]:{port}/v1",
    "http://[fd00::1]:{port}/v1",
    "http://[ff02::1]:{port}/v1",
    "http://10.0.0.1:{port}/v1",
    "http://172.16.0.1:{port}/v1",
    "http://192.168.0.1:{port}/v1",
    "http://100.64.0.1:{port}/v1",
    "http://169.254.169.254/latest",
    "http://[fd00:ec2::254]/latest",
    "http://2852039166/latest",
    "http://100.100.100.200/latest",
    "http://168.63.129.16/latest",
    "http://224.0.0.1:{port}/v1",
    "http://255.255.255.255:{port}/v1",
)
"""Spellings of what is not this machine: only ever tried where nothing can leave it."""
HEADERS = (
    "Helicone-Target-Url: http://{place}",
    "Helicone-OpenAI-API-Base: http://{place}",
    "Helicone-Target-Provider: http://{place}",
    'Helicone-Fallbacks: [{{"target-url": "http://{place}"}}]',
    "x-portkey-custom-host: http://{place}/v1",
    'x-portkey-config: {{"custom_host": "http://{place}/v1", "provider": "openai"}}',
    "x-portkey-provider: http://{place}",
    "x-litellm-api-base: http://{place}",
    "x-litellm-base-url: http://{place}",
    "x-bf-base-url: http://{place}",
    'x-bf-network-config: {{"base_url": "http://{place}"}}',
    "cf-aig-custom-url: http://{place}",
    "cf-aig-endpoint: http://{place}",
    "x-bt-endpoint-name: http://{place}",
    "x-bt-use-custom-url: http://{place}",
    "x-glassline-upstream: http://{place}",
    "x-glassline-base-url: http://{place}",
    "x-base-url: http://{place}",
    "x-api-base: http://{place}",
    "openai-base-url: http://{place}",
    "x-forwarded-host: {place}",
    "x-forwarded-server: {place}",
    "x-original-host: {place}",
    "x-original-url: http://{place}/v1",
    "x-rewrite-url: http://{place}/v1",
    "x-http-destinationurl: http://{place}",
    "forwarded: host={place};proto=http",
    "x-host: {place}",
    "proxy-connection: keep-alive",
    "destination: http://{place}/",
    "referer: http://{place}/",
    "origin: http://{place}",
    "location: http://{place}/",
)
FIELDS = (
    {"api_base": "http://{place}"},
    {"base_url": "http://{place}"},
    {"custom_host": "http://{place}"},
    {"api_endpoint": "http://{place}"},
    {"target_url": "http://{place}"},
    {"litellm_params": {"api_base": "http://{place}"}},
    {"metadata": {"api_base": "http://{place}", "base_url": "http://{place}"}},
    {"extra_headers": {"Host": "{place}"}},
    {"extra_body": {"base_url": "http://{place}"}},
    {"fallbacks": [{"model": "x", "api_base": "http://{place}"}]},
    {"model": "openai/http://{place}/gpt-4o"},
    {"user": "http://{place}"},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://{place}/i.png"}}]}]},
    {"tools": [{"type": "mcp", "server_url": "http://{place}/mcp"}]},
    {"webhook_url": "http://{place}/hook"},
)
TARGETS = (
    "http://{place}/v1/chat/completions",
    "//{place}/v1/chat/completions",
    "/http://{place}/v1/chat/completions",
    "/{place}/v1/chat/completions",
    "/v1/http://{place}/chat/completions",
    "/v1/../http:/{place}/chat",
    "/v1/%2e%2e/%2f{place}/chat",
    "/t/upstream:{place}/v1/chat/completions",
    "/openai@{place}/v1/chat/completions",
    "@{place}/v1/chat/completions",
    "/vertex/v1/projects/p/locations/evil-place1@{place}#/publishers/google/models/gemini:generateContent",
)


class Forbidden:
    """Listens where nothing may connect."""

    def __init__(self) -> None:
        self.connections = 0
        first = socket.create_server(("127.0.0.1", 0))
        self.port = int(first.getsockname()[1])
        self._listeners = [first]
        for family, address in ((socket.AF_INET, "127.1.2.3"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError):  # a machine may have no IPv6
                self._listeners.append(socket.create_server((address, self.port), family=family))
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture
def forbidden() -> Iterator[Forbidden]:
    with contextlib.closing(Forbidden()) as forbidden:
        yield forbidden


@pytest.mark.parametrize("url", REFUSED_BY_CONFIG)
def test_a_base_url_that_can_be_read_in_two_ways_is_no_configuration(url: str) -> None:
    text = json.dumps({"upstreams": {"openai": {"base_url": url.format(port=8000), "api_key": LENT}}})
    with pytest.raises(ConfigError, match=r"upstreams\.openai\.base_url") as caught:
        parse_config(text)
    assert "password" not in str(caught.value)


def test_no_spelling_of_a_private_address_is_connected_to(
    start_glassline: StartGlassline, forbidden: Forbidden
) -> None:
    urls = [url.format(port=forbidden.port) for url in LOOPBACK]
    upstreams = {
        f"u{index}": {"base_url": url, "wire": "openai", "api_key": LENT, "auth": "bearer"}
        for index, url in enumerate(urls)
    }
    glassline = start_glassline(None, {"upstreams": upstreams, "timeouts": {"connect": 2}})
    for name, url in zip(upstreams, urls, strict=True):
        answer = exchange(glassline.port, post(f"/{name}/chat/completions", BODY))
        assert answer.status == 502, url
        assert b"x-glassline-error: upstream_unreachable" in answer.head
    assert forbidden.connections == 0
    rows = glassline.wait_for_rows(len(urls))
    assert {row["outcome"] for row in rows} == {"upstream_error"}
    reasons = {row["error_message"].partition(": ")[2] or row["error_message"] for row in rows}
    assert all("private address" in reason or "cannot be resolved" in reason for reason in reasons), reasons


class _Walled(asyncio.SelectorEventLoop):
    """An event loop that resolves as ever and connects to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[str] = []

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]  # noqa: ARG002
        self.reached.append(str(host))
        raise ConnectionRefusedError


class _Waiting:
    is_over = False

    def __init__(self) -> None:
        self.heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connect_failed(self, why: str) -> None:
        self.heard.set_result(why)


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_spelling_of_an_address_that_is_not_of_the_internet_gets_as_far_as_a_connection(url: str) -> None:
    config = parse_config(json.dumps({"upstreams": {"elsewhere": {"base_url": url.format(port=9), "wire": "openai"}}}))
    origin = build_targets(config)["elsewhere"].origin

    async def ask(loop: _Walled) -> str:
        relay = _Waiting()
        pool = Pool(origin, loop, connect_timeout=5, keep_alive=5, max_connections=1)
        pool.connect(cast("Any", relay))
        return await relay.heard

    with contextlib.closing(_Walled()) as loop:
        why = loop.run_until_complete(ask(loop))
    assert loop.reached == []
    assert "private address" in why or "credentials" in why or "cannot be resolved" in why


def test_the_table_is_long_enough() -> None:
    assert len({*REFUSED_BY_CONFIG, *LOOPBACK, *ELSEWHERE}) >= 60


def caller(start_glassline: StartGlassline, upstream: ScriptedUpstream) -> Glassline:
    """Return a Glassline that lends its key to a virtual one."""
    return start_glassline(
        upstream.url,
        {
            "auth": "virtual",
            "upstreams": {"openai": {"api_key": LENT}},
            "keys": [{"name": "team", "key": "gl-team-0123456789abcdef"}],
        },
    )


def test_a_caller_cannot_name_an_upstream(start_glassline: StartGlassline, forbidden: Forbidden) -> None:
    place = f"127.0.0.1:{forbidden.port}"
    with ScriptedUpstream() as upstream:
        glassline = caller(start_glassline, upstream)
        requests = [_post(headers=(header.format(place=place),)) for header in HEADERS]
        for fields in FIELDS:
            body: dict[str, Any] = json.loads(json.dumps(fields).replace("{place}", place))
            requests.append(_post(body=json.dumps({**json.loads(BODY), **body}).encode()))
        requests += (_post(target=target.format(place=place)) for target in TARGETS)
        requests.append(_post().replace(b"Host: localhost", b"Host: " + place.encode()))
        statuses = [exchange(glassline.port, request).status for request in requests]
        reached = upstream.requests[:]
    assert forbidden.connections == 0
    assert statuses.count(200) >= len(HEADERS) - 3, "most are ordinary requests with a header that means nothing"
    assert all(200 <= status < 300 or 400 <= status < 500 for status in statuses), statuses
    assert len(reached) == statuses.count(200), "what was answered came from the one upstream there is"
    for request in reached:
        head = request.partition(b"\r\n\r\n")[0].lower()
        assert f"\r\nhost: 127.0.0.1:{upstream.port}\r\n".encode() in head + b"\r\n"


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Choices"]
)
def test_a_redirect_is_an_answer_and_is_not_followed(
    start_glassline: StartGlassline, forbidden: Forbidden, status: str
) -> None:
    def redirect(connection: Connection) -> None:
        location = f"location: http://127.0.0.1:{forbidden.port}/v1\r\n".encode()
        connection.send(with_length(CHAT, status=status, headers=location))

    with ScriptedUpstream(redirect) as upstream:
        answer = exchange(caller(start_glassline, upstream).port, _post())
        assert answer.status == int(status[:3])
        assert len(upstream.requests) == 1
    assert forbidden.connections == 0


def _post(target: str = "/v1/chat/completions", body: bytes = BODY, headers: tuple[str, ...] = ()) -> bytes:
    return post(target, body, key="gl-team-0123456789abcdef", headers=headers)
