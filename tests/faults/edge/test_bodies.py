"""Bodies that are strange, or framed strangely: relayed and recorded byte for byte, at a bounded price."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.faults.edge.payloads import post as framed
from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.stage import with_upstream
from tests.harness.upstream import ScriptedUpstream, answer_chat

KEY = "sk-limited-0123456789"
STRANGE = {
    "broken JSON": b'{"model": "gpt-4o-mini", ',
    "broken UTF-8": b'{"model":"\xff\xfe","a":"\xc3\x28"}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"gpt-4o-mini","messages":[]}',
    "UTF-16": '{"model":"gpt-4o-mini"}'.encode("utf-16"),
    "UTF-32": '{"model":"gpt-4o-mini"}'.encode("utf-32"),
    "a lone surrogate": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\\ud800"}]}',
    "an encoded surrogate": b'{"model":"gpt-4o-mini","user":"\xed\xa0\x80"}',
    "an escaped NUL": b'{"model":"gpt-4o-mini\\u0000","messages":[]}',
    "a NUL": b'{"model":"gpt-4o-mini","user":"a\0b"}',
    "NaN": b'{"model":"gpt-4o-mini","temperature":NaN}',
    "Infinity": b'{"model":"gpt-4o-mini","max_tokens":Infinity}',
    "5,000 digits": b'{"model":"gpt-4o-mini","seed":' + b"9" * 5000 + b"}",
    "an exponent": b'{"model":"gpt-4o-mini","max_tokens":1e400}',
    "100,000 brackets": b'{"model":"gpt-4o-mini","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 open brackets": b"[" * 100_000,
    "the same field twice": b'{"model":"gpt-4o-mini","model":"gpt-5"}',
    "two bodies in one": b'{"model":"gpt-4o-mini"}{"model":"gpt-5"}',
    "terminal escapes": b'{"model":"gpt-4o-mini","user":"\x1b[31m\xe2\x80\xa8\xe2\x80\xae"}',
    "every byte": bytes(range(256)) * 4,
    "an array": b"[]",
    "escaped letters and blanks behind": b'{"model":"\\u0067pt-4o-mini","a":1e400,"b":1.0}   \r\n',
    "one byte": b"{",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(answer_chat) as made:
        yield made


@pytest.fixture(scope="module")
def glassline(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Glassline]:
    config = {
        "limits": {"body_mb": 20},
        "keys": [{"name": "limited", "key": KEY, "budgets": [{"limit_usd": 500, "window": "total"}]}],
    }
    with closing(Glassline(tmp_path_factory.mktemp("bodies"), with_upstream(config, upstream.url))) as made:
        yield made.start()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def session_of(name: str) -> str:
    """Return a session that a header can carry."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_body_passes_and_is_recorded_byte_for_byte(
    glassline: Glassline, upstream: ScriptedUpstream, name: str
) -> None:
    session = session_of(name)
    [gateway] = glassline.pids_of("gateway")
    before = cpu_s(gateway)
    request = post("/v1/chat/completions", STRANGE[name], headers=(f"x-glassline-session: {session}",))
    assert exchange(glassline.port, request).status == 200
    assert cpu_s(gateway) - before < 0.5
    assert upstream.requests[-1].partition(b"\r\n\r\n")[2] == STRANGE[name]
    _is_recorded(glassline, session, STRANGE[name])


@pytest.mark.parametrize("name", STRANGE)
def test_under_a_budget_a_strange_body_is_refused_or_understood_and_recorded_byte_for_byte(
    glassline: Glassline, name: str
) -> None:
    session = "limited-" + session_of(name)
    [gateway] = glassline.pids_of("gateway")
    before = cpu_s(gateway)
    request = post("/v1/chat/completions", STRANGE[name], key=KEY, headers=(f"x-glassline-session: {session}",))
    answer = exchange(glassline.port, request)
    assert cpu_s(gateway) - before < 0.5
    assert answer.status in (200, 400, 429)
    _is_recorded(glassline, session, STRANGE[name])


def _is_recorded(glassline: Glassline, session: str, body: bytes) -> None:
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    recorded = httpx.get(f"{glassline.admin_url}/api/requests/{row['id']}/request_body")
    assert recorded.content == body


@pytest.mark.parametrize("field", ["model", "stream", "max_tokens", "max_completion_tokens", "n"])
def test_under_a_budget_a_deciding_field_that_stands_twice_is_a_400(
    glassline: Glassline, upstream: ScriptedUpstream, field: str
) -> None:
    before = len(upstream.requests)
    values = {"model": ('"gpt-4o-mini"', '"gpt-5"'), "stream": ("true", "false")}
    first, second = values.get(field, ("1", "100000"))
    others = "" if field == "model" else '"model":"gpt-4o-mini",'
    body = f'{{{others}"{field}":{first},"{field}":{second}}}'.encode()
    answer = exchange(glassline.port, post("/v1/chat/completions", body, key=KEY))
    assert answer.status == 400
    assert field.encode() in answer.body
    assert len(upstream.requests) == before


def test_a_million_keys_stop_nobody_for_long(glassline: Glassline) -> None:
    body = b'{"model":"gpt-4o-mini",' + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}"
    [gateway] = glassline.pids_of("gateway")
    before = cpu_s(gateway)
    assert exchange(glassline.port, post("/v1/chat/completions", body), timeout_s=30).status == 200
    assert cpu_s(gateway) - before < 1
    assert exchange(glassline.port, post("/v1/chat/completions", body, key=KEY), timeout_s=30).status in (200, 400)


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed on"])
def test_hundreds_of_thousands_of_one_byte_chunks_cost_little(glassline: Glassline, path: bytes) -> None:
    [gateway] = glassline.pids_of("gateway")
    body = b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n"
    session = "tiny-" + path.decode().rpartition("/")[2]
    lines = (b"Transfer-Encoding: chunked", b"Connection: close", b"x-glassline-session: " + session.encode())
    before = cpu_s(gateway)
    answer = exchange(glassline.port, framed(*lines, body=body).replace(b"/v1/x", path))
    assert answer.status == 400
    assert cpu_s(gateway) - before < 0.5
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    assert (row["outcome"], row["error_code"]) == ("refused", "bad_request")


def test_thousands_of_tiny_chunks_pass_and_arrive_as_one_body(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    body = b"".join(b"1;a=b\r\n%c\r\n" % (97 + number % 26) for number in range(9_000)) + b"0\r\nX-Trailer: 1\r\n\r\n"
    request = framed(b"Transfer-Encoding: chunked", b"Connection: close", body=body)
    assert exchange(glassline.port, request.replace(b"/v1/x", b"/v1/chat/completions")).status == 200
    sent = upstream.requests[-1].partition(b"\r\n\r\n")[2]
    assert sent == b"".join(b"%c" % (97 + number % 26) for number in range(9_000))


def test_one_byte_chunks_to_the_admin_port_cost_little(glassline: Glassline) -> None:
    [admin] = glassline.pids_of("admin")
    body = b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n"
    before = cpu_s(admin)
    began = time.monotonic()
    request = framed(b"Content-Type: application/json", b"Transfer-Encoding: chunked", body=body)
    assert exchange(glassline.admin_port, request.replace(b"/v1/x", b"/api/keys")).status == 413
    assert cpu_s(admin) - before < 0.5
    assert time.monotonic() - began < 5
