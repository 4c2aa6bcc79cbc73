"""Cases 37 to 40: errors and retries, budgets, and what must never leak."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import openai
import pytest

from tests.cases.stage import KEY, SSE, Sink, Stage, plain, streamed
from tests.harness import Glassline
from tests.harness.client import exchange, post
from tests.harness.stage import with_upstream
from tests.harness.tee import bodies
from tests.harness.upstream import CHAT, Connection, ScriptedUpstream, answer_chat

CHAT_PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}).encode()
VIRTUAL, PROVIDERS_KEY = "sk-glassline-0123456789abcdef", "sk-of-the-provider-0123456789"
POOR = "sk-poor-0123456789abcdef"


@pytest.mark.case(37)
def test_a_429_passes_with_its_headers_and_the_sdks_retries_are_linked(stage: Stage) -> None:
    body = b'{"error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    headers = (
        b"content-type: application/json\r\nretry-after-ms: 5\r\nretry-after: 1\r\nx-ratelimit-limit-requests: 60\r\n"
        b"x-ratelimit-remaining-requests: 0\r\nx-request-id: req_upstream\r\n"
    )

    def script(connection: Connection) -> None:
        connection.send(plain(body, headers, status=b"429 Too Many Requests"))

    stage.upstream.script = script
    before = len(stage.upstream.requests)
    extra = {"x-glassline-session": "retried"}
    with (
        openai.OpenAI(base_url=f"{stage.glassline.url}/v1", api_key=KEY, default_headers=extra) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=[])
    got = caught.value.response
    assert got.content == body
    for name, value in (line.decode().split(": ") for line in headers.split(b"\r\n") if line):
        assert got.headers[name] == value
    assert len(stage.upstream.requests) - before == 3
    rows = stage.glassline.wait_for_rows(3, "session = 'retried'")
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    assert {(row["status"], row["error_code"], row["cost_usd"]) for row in rows} == {(429, "rate_limit_exceeded", 0)}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A Glassline that lends its provider's key to two virtual keys, one of them without money."""
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        keys = [
            {"name": "app", "key": VIRTUAL},
            {"name": "poor", "key": POOR, "budgets": [{"limit_usd": 0.0000001, "window": "total"}]},
        ]
        lent = {"upstreams": {"openai": {"api_key": PROVIDERS_KEY}}, "auth": "virtual", "keys": keys}
        glassline = Glassline(tmp_path_factory.mktemp("guarded"), with_upstream(lent, upstream.url))
        stack.enter_context(closing(glassline))
        sink = Sink()
        stack.callback(sink.close)
        yield Stage(glassline.start(), upstream, sink)


@pytest.mark.case(38)
def test_without_money_the_sdk_raises_its_own_exception_after_one_request(guarded: Stage) -> None:
    before = len(guarded.upstream.requests)
    extra = {"x-glassline-session": "poor"}
    with (
        openai.OpenAI(base_url=f"{guarded.glassline.url}/v1", api_key=POOR, default_headers=extra) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "project_spend_limit_exceeded"
    assert len(guarded.upstream.requests) == before
    assert guarded.row("poor")["attempt"] == 1, "more than one attempt"


def everything(glassline: Glassline) -> bytes:
    """Return every byte that Glassline keeps on disk and said on stderr, its config left out."""
    files = [path for path in glassline.data_dir.rglob("*") if path.is_file()]
    assert any(path.name == "records.db" for path in files)
    return b"".join(path.read_bytes() for path in files) + glassline.stderr.encode()


@pytest.mark.case(40)
def test_no_key_crosses_to_the_other_side_or_into_a_file(guarded: Stage) -> None:
    guarded.upstream.script = answer_chat
    wanted = [
        post(CHAT_PATH, BODY, key=VIRTUAL),
        post(CHAT_PATH, BODY, key="nobody").replace(b"Authorization: Bearer nobody", b"api-key: " + VIRTUAL.encode()),
        post("/openai/chat/completions", BODY, key="nobody").replace(
            b"Authorization: Bearer", b"x-goog-api-key: " + VIRTUAL.encode() + b"\r\nx: "
        ),
        post(f"{CHAT_PATH}?key={VIRTUAL}&a=b", BODY, key=VIRTUAL),
    ]
    before = len(guarded.upstream.requests)
    for request in wanted:
        assert exchange(guarded.glassline.port, request).status == 200, request
    sent = guarded.upstream.requests[before:]
    assert all(VIRTUAL.encode() not in request and PROVIDERS_KEY.encode() in request for request in sent)
    guarded.glassline.wait_for_rows(len(wanted), "status = 200")
    kept = everything(guarded.glassline)
    for secret in (VIRTUAL, PROVIDERS_KEY, POOR):
        assert secret.encode() not in kept


@pytest.mark.case(40)
def test_a_redirect_is_passed_on_and_never_followed_with_a_key(guarded: Stage) -> None:
    with ScriptedUpstream() as elsewhere:
        location = elsewhere.url.encode()
        moved = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location
        guarded.upstream.script = lambda connection: connection.send(moved)
        answer = exchange(guarded.glassline.port, post(CHAT_PATH, BODY, key=VIRTUAL))
        assert (answer.status, elsewhere.connections) == (307, 0)
        assert b"location: " + location in answer.head
        # No HTTP client takes `Authorization` to another host, but every one takes this header.
        carrying = post("/openai/chat/completions", BODY, key="x").replace(
            b"Authorization: Bearer x", b"x-api-key: " + VIRTUAL.encode()
        )
        answer = exchange(guarded.glassline.port, carrying)
        assert (answer.status, b"location" in answer.head, elsewhere.connections) == (307, False, 0)
        [row] = guarded.glassline.wait_for_rows(1, "mutated LIKE '%location_withheld%'")
        assert row["status"] == 307


@pytest.mark.case(40)
def test_a_header_that_connection_names_stays_on_its_hop_in_both_directions(stage: Stage) -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\nx-end: 2\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(CHAT)
    )
    request = post(CHAT_PATH, BODY, key=KEY, close=False, headers=("Connection: close, x-foo", "x-foo: 1", "x-bar: 2"))
    played = stage.play("", b"", response + CHAT, request=request)
    asked = played.asked.lower()
    assert (b"x-foo" in asked, b"x-bar: 2" in asked) == (False, True)
    assert (b"x-hop" in played.answer.head, b"x-end: 2" in played.answer.head) == (False, True)


@pytest.mark.case(40)
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 3\r\n",
        b"X: a\r\n folded\r\n",
        b"X: a\nY: b\r\n",
    ],
)
def test_what_two_servers_would_read_differently_is_refused(stage: Stage, head: bytes) -> None:
    before = len(stage.upstream.requests)
    answer = exchange(stage.glassline.port, b"POST /v1/x HTTP/1.1\r\nHost: a\r\n" + head + b"\r\nabc")
    assert (answer.status, len(stage.upstream.requests) - before) == (400, 0)


@pytest.mark.case(40)
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", b"200 OK"), ("OPTIONS", b"204 No Content"), ("GET", b"304 Not Modified")]
)
def test_an_answer_that_may_have_no_body_has_none(stage: Stage, method: str, status: bytes) -> None:
    head = b"HTTP/1.1 %b\r\netag: x\r\n%b\r\n" % (status, b"content-length: 5\r\n" if method == "HEAD" else b"")
    request = f"{method} /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    played = stage.play("", b"", head, request=request)
    assert (played.answer.status, played.answer.body) == (int(status[:3]), b"")
    assert played.row["outcome"] == "completed"


@pytest.mark.case(40)
def test_an_unknown_path_and_method_are_forwarded_and_recorded(stage: Stage) -> None:
    request = (
        f"PURGE /v1/nobody/knows?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    )
    played = stage.play("", b"", plain(b"whatever", b"content-type: text/x\r\n"), request=request.encode())
    assert played.asked.startswith(b"PURGE /v1/nobody/knows?x=1 HTTP/1.1\r\n")
    played.assert_response_is(b"whatever")
    assert (played.row["endpoint"], played.row["cost_usd"]) == ("other", None) or played.row["cost_usd"] == 0


@pytest.mark.case(40)
def test_a_realtime_secret_in_an_answer_is_not_kept(stage: Stage) -> None:
    secret = b"ek_68af296e8e408191a1120ab6383263c2"
    body = b'{"value":"%b","expires_at":1756310470,"session":{"type":"realtime","model":"gpt-realtime"}}' % secret
    played = stage.play("/v1/realtime/client_secrets", b'{"session":{"type":"realtime"}}', plain(body))
    assert played.received == body
    recorded = httpx.get(f"{stage.glassline.admin_url}/api/requests/{played.row['id']}/response_body").content
    assert secret not in recorded


@pytest.mark.case(40)
def test_a_stream_runs_on_while_nobody_can_write_a_record(tmp_path: Path) -> None:
    """The recorder is stopped: streams neither break nor wait, and their records come when it runs again."""
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        glassline = Glassline(tmp_path, with_upstream({}, upstream.url))
        stack.enter_context(closing(glassline))
        glassline.start()
        [recorder] = glassline.pids_of("recorder")
        os.kill(recorder, signal.SIGSTOP)
        try:
            events = [b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'] * 20 + [b"data: [DONE]\n\n"]
            upstream.script = lambda connection: connection.send(streamed(events, SSE))
            answers = [exchange(glassline.port, post(CHAT_PATH, BODY)) for _ in range(20)]
        finally:
            os.kill(recorder, signal.SIGCONT)
        assert {bodies(answer.raw)[0] for answer in answers} == {b"".join(events)}
        assert len(glassline.wait_for_rows(20)) == 20
