"""Routes, credentials, errors and addresses as real processes handle them, against an upstream that shows what it got."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from botocore.session import Session

from tests.gateway.test_signature import ACCESS, SECRET, verify
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange, post
from tests.harness.upstream import Connection, ScriptedUpstream, chunk, with_length

VIRTUAL, LENT = "sk-glassline-0123456789abcdef", "sk-of-the-provider-0123456789"
POOR = "sk-glassline-poor-0123456789"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":8}'


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as made:
        yield made


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Glassline]:
    """A Glassline that lends its providers' keys; all of them are the same scripted upstream."""
    root = f"http://127.0.0.1:{upstream.port}"
    row = {"base_url": root, "allow_private": True, "api_key": LENT}
    upstreams = {name: dict(row) for name in ("anthropic", "gemini", "azure", "vertex", "ollama")}
    upstreams["openai"] = row | {"base_url": f"{root}/v1"}
    upstreams["bedrock"] = {
        "base_url": root,
        "allow_private": True,
        "region": "eu-central-1",
        "aws": {"access_key": ACCESS, "secret_key": SECRET},
    }
    keys = [
        {"name": "app", "key": VIRTUAL},
        {"name": "poor", "key": POOR, "budgets": [{"limit_usd": 0, "window": "total"}]},
    ]
    config = {"auth": "virtual", "upstreams": upstreams, "keys": keys}
    with ExitStack() as stack:
        glassline = Glassline(tmp_path_factory.mktemp("guarded"), config)
        stack.enter_context(closing(glassline))
        yield glassline.start()


def ask(glassline: Glassline, upstream: ScriptedUpstream, request: bytes, answer: bytes) -> tuple[Answer, bytes]:
    """Send `request`, let the upstream send `answer`; return what the client and what the upstream got."""

    def script(connection: Connection) -> None:
        connection.send(answer)

    upstream.script = script
    before = len(upstream.requests)
    got = exchange(glassline.port, request)
    return got, upstream.requests[before] if len(upstream.requests) > before else b""


def get(path: str, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in ("Host: proxy.local:8080", "Connection: close", *headers))
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def recorded(glassline: Glassline, session: str) -> dict[str, object]:
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    return row


def test_a_batch_of_anthropic_is_read_to_its_results_without_the_proxys_key_leaving(
    guarded: Glassline, upstream: ScriptedUpstream
) -> None:
    theirs = b"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"
    batch = b'{"id":"msgbatch_1","type":"message_batch","processing_status":"ended","results_url":"%b"}' % theirs
    headers = ("anthropic-version: 2026-10-21", f"Authorization: Bearer {VIRTUAL}", "Accept-Encoding: gzip")
    asked = get("/t/team:a/anthropic/v1/messages/batches/msgbatch_1", *headers, "x-glassline-session: batch")
    got, sent = ask(guarded, upstream, asked, with_length(batch))
    assert b"accept-encoding: identity" in sent.lower()
    assert LENT.encode() in sent
    payload = got.body.split(b"\r\n")[1]
    ours = json.loads(payload)["results_url"]
    assert ours == "http://proxy.local:8080/t/team:a/anthropic/v1/messages/batches/msgbatch_1/results"
    assert payload == batch.replace(theirs, ours.encode())
    row = recorded(guarded, "batch")
    assert row["mutated"] == "results_url"
    assert row["response_bytes"] == len(batch), "the record holds the upstream's bytes"
    # The SDK goes on with its key, as it does.
    path = ours.removeprefix("http://proxy.local:8080")
    got, sent = ask(guarded, upstream, get(path, *headers), with_length(b"{}\n"))
    assert got.status == 200
    assert sent.startswith(b"GET /v1/messages/batches/msgbatch_1/results HTTP/1.1\r\n")
    assert (VIRTUAL.encode() in sent, LENT.encode() in sent) == (False, True)


def test_an_upload_to_google_goes_on_through_us_without_a_key_in_the_second_request(
    guarded: Glassline, upstream: ScriptedUpstream
) -> None:
    secret = f"http://127.0.0.1:{upstream.port}/upload/v1beta/files?upload_id=ABC&upload_protocol=resumable"
    began = b"HTTP/1.1 200 OK\r\nX-Goog-Upload-URL: %b\r\ncontent-length: 0\r\n\r\n" % secret.encode()
    start = post("/upload/v1beta/files", b"{}", headers=(f"x-goog-api-key: {VIRTUAL}",)).replace(
        b"Authorization: Bearer sk-raw-0123456789abcdef\r\n", b""
    )
    got, sent = ask(guarded, upstream, start, began)
    assert b"x-goog-api-key: " + LENT.encode() in sent
    line = next(line for line in got.raw.split(b"\r\n") if line.lower().startswith(b"x-goog-upload-url"))
    ours = line.partition(b": ")[2].decode()
    assert ours.startswith("http://localhost")
    assert VIRTUAL not in ours
    path = "/" + ours.split("/", 3)[3]
    finish = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc".encode()
    got, sent = ask(guarded, upstream, finish, with_length(b"{}"))
    assert got.status == 200
    want = b"POST /upload/v1beta/files?upload_id=ABC&upload_protocol=resumable HTTP/1.1\r\n"
    assert sent.startswith(want)
    assert sent.endswith(b"\r\n\r\nabc")
    # The address opens this upload and nothing else.
    for other in (finish.replace(b"upload_id=ABC", b"upload_id=ABD"), finish.replace(b"/upload/", b"/gemini/")):
        got, sent = ask(guarded, upstream, other, with_length(b"{}"))
        assert (got.status, sent) == (400, b"")
    rows = guarded.wait_for_rows(3, "path LIKE '%upload_id=***%'")
    assert all("glassline_ticket=***" in str(row["path"]) for row in rows)
    assert {row["key"] for row in rows if row["status"] == 200} == {"app"}


def test_a_call_of_realtime_is_continued_through_us(guarded: Glassline, upstream: ScriptedUpstream) -> None:
    made = b"HTTP/1.1 201 Created\r\nLocation: /v1/realtime/calls/rtc_1\r\ncontent-type: application/sdp\r\n"
    made += b"content-length: 3\r\n\r\nv=0"
    for path, want in (
        ("/v1/realtime/calls", b"/v1/realtime/calls/rtc_1"),
        ("/openai/realtime/calls", b"/openai/realtime/calls/rtc_1"),
    ):
        got, _ = ask(guarded, upstream, post(path, b"v=0", key=VIRTUAL), made)
        assert got.status == 201
        assert b"\r\nlocation: " + want + b"\r\n" in got.raw.replace(b"Location", b"location")
        assert got.body == b"v=0"


@pytest.mark.parametrize("place", ["access key", "session token", "header"])
def test_bedrock_gets_a_signature_of_the_operator_for_a_virtual_key(
    guarded: Glassline, upstream: ScriptedUpstream, place: str
) -> None:
    access = VIRTUAL if place == "access key" else "AKIDNOBODY"
    signature = (
        f"AWS4-HMAC-SHA256 Credential={access}/20261120/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature=" + "0" * 64
    )
    headers = [f"Authorization: {signature}", "X-Amz-Date: 20261120T120000Z", "X-Amz-Content-Sha256: beef"]
    headers += [f"X-Amz-Security-Token: {VIRTUAL}"] if place == "session token" else []
    headers += [f"x-glassline-key: {VIRTUAL}"] if place == "header" else []
    request = post("/bedrock/model/amazon.nova-lite-v1%3A0/converse", BODY, headers=tuple(headers))
    request = request.replace(b"Authorization: Bearer sk-raw-0123456789abcdef\r\n", b"")
    answer = with_length(b'{"output":{},"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}')
    got, sent = ask(guarded, upstream, request, answer)
    assert got.status == 200
    assert {"host", "x-amz-date"} <= set(verify(sent, region="eu-central-1"))
    assert sent.endswith(BODY)
    lowered = sent.lower()
    assert (lowered.count(b"\r\nauthorization:"), lowered.count(b"\r\nx-amz-date:")) == (1, 1)
    assert b"beef" not in sent
    assert VIRTUAL.encode() not in sent


def bedrock(glassline: Glassline, key: str, mode: str) -> Any:
    """Return Amazon's own client, with a virtual key in place of its access key."""
    return Session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{glassline.url}/bedrock",
        aws_access_key_id=key,
        aws_secret_access_key="unused",
        config=BotoConfig(retries={"mode": mode}),
    )


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_amazons_own_client_is_served_under_a_virtual_key_and_tries_once_when_it_is_refused(
    guarded: Glassline, upstream: ScriptedUpstream, mode: str
) -> None:
    answer = (
        b'{"output":{"message":{"role":"assistant","content":[{"text":"Hello."}]}},"stopReason":"end_turn",'
        b'"usage":{"inputTokens":9,"outputTokens":2,"totalTokens":11},"metrics":{"latencyMs":1}}'
    )
    upstream.script = lambda connection: connection.send(with_length(answer))
    asked = {"modelId": "amazon.nova-lite-v1:0", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    before = len(upstream.requests)
    with closing(bedrock(guarded, VIRTUAL, mode)) as client:
        assert client.converse(**asked)["usage"]["totalTokens"] == 11
    [sent] = upstream.requests[before:]
    verify(sent, region="eu-central-1")
    assert VIRTUAL.encode() not in sent
    for key, name, status in (
        (POOR, "ServiceQuotaExceededException", 400),
        ("sk-nobody-knows-0123456789", "UnrecognizedClientException", 403),
    ):
        with closing(bedrock(guarded, key, mode)) as client, pytest.raises(ClientError) as caught:
            client.converse(**asked)
        said = caught.value.response
        assert said["Error"]["Code"] == name
        assert (said["ResponseMetadata"]["HTTPStatusCode"], said["ResponseMetadata"]["RetryAttempts"]) == (status, 0)
    assert len(upstream.requests) == before + 1


def test_a_chunked_request_is_signed_whole(guarded: Glassline, upstream: ScriptedUpstream) -> None:
    request = (
        b"POST /bedrock/model/m/invoke HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nConnection: close\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n3\r\n":1\r\n1\r\n}\r\n0\r\n\r\n' % VIRTUAL.encode()
    )
    got, sent = ask(guarded, upstream, request, with_length(b"{}"))
    assert got.status == 200
    verify(sent, region="eu-central-1")
    assert sent.endswith(b'\r\ncontent-length: 7\r\n\r\n{"a":1}')


@pytest.mark.parametrize(
    ("path", "status", "shape"),
    [
        ("/v1/chat/completions", 401, {"error": {"code": "invalid_api_key"}}),
        ("/anthropic/v1/messages", 401, {"type": "error", "error": {"type": "authentication_error"}}),
        ("/v1beta/models/g:generateContent", 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}),
        ("/openai/deployments/d/chat/completions?api-version=1", 401, {"error": {"code": "invalid_api_key"}}),
        ("/bedrock/model/m/converse", 403, {}),
        ("/ollama/api/chat", 401, {}),
    ],
)
def test_an_unknown_key_is_refused_in_the_clients_own_words(
    guarded: Glassline, upstream: ScriptedUpstream, path: str, status: int, shape: dict[str, object]
) -> None:
    got, sent = ask(guarded, upstream, post(path, BODY, key="sk-nobody-knows-0123456789"), with_length(b"{}"))
    assert (got.status, sent) == (status, b"")
    body = json.loads(got.body)
    for name, value in shape.items():
        assert body[name] == value or value.items() <= body[name].items()  # type: ignore[attr-defined]
    assert isinstance(body.get("error", body.get("message")), str | dict)


def test_a_limited_key_is_found_behind_junk_in_every_place(guarded: Glassline, upstream: ScriptedUpstream) -> None:
    junk = post("/anthropic/v1/messages", BODY, key="junk")
    basic = base64.b64encode(f"user:{POOR}".encode()).decode()
    hidden = (
        junk.replace(b"Authorization: Bearer junk", b"x-api-key: junk\r\nx-api-key: " + POOR.encode()),
        junk.replace(b"Authorization: Bearer junk", b"Authorization: Basic " + basic.encode()),
        junk.replace(b"/v1/messages", b"/v1/messages?key=junk&key=" + POOR.encode()),
        junk.replace(b"\r\n\r\n", b"\r\nHelicone-Auth: Bearer " + POOR.encode() + b"\r\n\r\n", 1),
    )
    for request in hidden:
        got, sent = ask(guarded, upstream, request, with_length(b"{}"))
        assert (got.status, sent) == (429, b""), request
        assert json.loads(got.body)["error"]["details"]["error_code"] == "enforced_spend_limit_reached"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/chat/completions", {"error"}),
        ("/anthropic/v1/messages", {"type", "error", "request_id"}),
        ("/bedrock/model/m/converse", {"message"}),
    ],
)
def test_a_bad_request_is_refused_in_the_clients_own_words_too(
    guarded: Glassline, upstream: ScriptedUpstream, path: str, names: set[str]
) -> None:
    request = post(path, BODY, key=VIRTUAL, headers=("x-glassline-timeout: soon",))
    got, sent = ask(guarded, upstream, request, with_length(b"{}"))
    assert (got.status, sent) == (400, b"")
    assert set(json.loads(got.body)) == names


def test_a_head_that_ends_an_answer_keeps_the_connection(guarded: Glassline, upstream: ScriptedUpstream) -> None:
    lines = f"Host: a\r\nAuthorization: Bearer {VIRTUAL}\r\n"
    for first, answer in (
        ("/v1/models", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("/v1/models", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("/-/me", b""),
    ):
        pipelined = f"HEAD {first} HTTP/1.1\r\n{lines}\r\nGET /healthz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
        got, _ = ask(guarded, upstream, pipelined.encode(), answer)
        heads = got.raw.split(b"\r\n\r\n")
        assert heads[1].startswith(b"HTTP/1.1 200 OK\r\n"), got.raw
        assert heads[2] == b"ok\n"


def test_a_virtual_key_is_in_no_file_wherever_its_owner_wrote_it(
    guarded: Glassline, upstream: ScriptedUpstream
) -> None:
    secret = VIRTUAL.encode()
    unknown = post("/v1/chat/completions", BODY, key="junk", headers=(f"x_api_key: {VIRTUAL}", f"token: {VIRTUAL}"))
    said = (
        f"x-glassline-user: {VIRTUAL}",
        f"Referer: http://a/{VIRTUAL}",
        f"Cookie: {VIRTUAL}",
        "x-glassline-session: said",
    )
    known = post(f"/t/key:{VIRTUAL}/v1/chat/completions", BODY, key=VIRTUAL, headers=said)
    assert ask(guarded, upstream, unknown, with_length(b"{}"))[0].status == 401
    got, sent = ask(guarded, upstream, known, with_length(b"{}"))
    assert (got.status, secret in sent) == (200, False)
    row = recorded(guarded, "said")
    assert row["user"] == "***"
    for file in guarded.data_dir.rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), file
    assert VIRTUAL not in guarded.stderr


def test_two_keys_at_once_are_refused(guarded: Glassline, upstream: ScriptedUpstream) -> None:
    request = post("/v1/chat/completions", BODY, key=VIRTUAL, headers=(f"x-api-key: {POOR}",))
    got, sent = ask(guarded, upstream, request, with_length(b"{}"))
    assert (got.status, sent) == (400, b"")


def test_azure_gets_its_key_in_its_own_header_and_both_families_of_paths_work(
    guarded: Glassline, upstream: ScriptedUpstream
) -> None:
    for path, want in (
        (
            "/openai/deployments/d/chat/completions?api-version=1",
            b"/openai/deployments/d/chat/completions?api-version=1",
        ),
        ("/azure/openai/v1/chat/completions", b"/openai/v1/chat/completions"),
    ):
        request = post(path, BODY, key="x").replace(b"Authorization: Bearer x", b"api-key: " + VIRTUAL.encode())
        got, sent = ask(guarded, upstream, request, with_length(b"{}"))
        assert got.status == 200
        assert sent.startswith(b"POST %b HTTP/1.1\r\n" % want)
        assert b"\r\napi-key: " + LENT.encode() in sent
        assert VIRTUAL.encode() not in sent


def test_headers_of_other_gateways_become_a_record_and_stay_here(
    guarded: Glassline, upstream: ScriptedUpstream
) -> None:
    headers = (
        "Helicone-User-Id: ann",
        "Helicone-Session-Id: dialects",
        "Helicone-Property-Feature: search",
        'cf-aig-metadata: {"team": "a"}',
        "x-portkey-trace-id: t-1",
        "x-bf-never-heard: of",
    )
    got, sent = ask(
        guarded, upstream, post("/v1/chat/completions", BODY, key=VIRTUAL, headers=headers), with_length(b"{}")
    )
    assert got.status == 200
    assert not any(name in sent.lower() for name in (b"helicone", b"cf-aig", b"x-portkey", b"x-bf-"))
    row = recorded(guarded, "dialects")
    assert (row["user"], row["trace_id"]) == ("ann", "t-1")
    assert json.loads(str(row["tags"])) == {"feature": "search", "team": "a"}


CUTS = {
    "/v1/chat/completions": (b"text/event-stream", b'data: {"choices":[]}\n\n', b'data: {"error":{'),
    "/v1/responses": (
        b"text/event-stream",
        b'data: {"type":"response.created"}\n\n',
        b'event: error\ndata: {"type":"error","error":{',
    ),
    "/anthropic/v1/messages": (
        b"text/event-stream",
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b"event: error\ndata: {",
    ),
    "/ollama/api/chat": (b"application/x-ndjson", b'{"message":{"content":"a"},"done":false}\n', b'{"error":"'),
    "/bedrock/model/m/converse-stream": (b"application/vnd.amazon.eventstream", b"", b":exception-type"),
    "/v1beta/models/g:streamGenerateContent?alt=sse": (b"text/event-stream", b'data: {"candidates":[]}\n\n', b""),
    "/v1/audio/speech": (b"audio/mpeg", b"\xff\xfb\x90", b""),
}


@pytest.mark.parametrize("path", CUTS)
def test_a_stream_that_we_cut_ends_in_the_words_of_its_api_or_breaks(path: str, tmp_path: Path) -> None:
    kind, first, last = CUTS[path]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    names = ("openai", "anthropic", "gemini", "ollama", "bedrock")
    with ScriptedUpstream(lambda connection: _stall(connection, head + (chunk(first) if first else b""))) as slow:
        row = {"base_url": slow.url.removesuffix("/v1"), "allow_private": True}
        config = {"upstreams": dict.fromkeys(names, row), "timeouts": {"drain": "200ms"}}
        glassline = Glassline(tmp_path, json.dumps(config))
        with closing(glassline):
            rest = _cut(glassline.start(), post(path, BODY, close=False), first[-8:] or b"\r\n\r\n")
    if not last:
        assert rest.raw == b"", "nothing is added that the client could take for an ending"
        return
    assert last in rest.raw
    assert b"the proxy is stopping" in rest.raw
    assert rest.raw.endswith(b"0\r\n\r\n")


def _cut(glassline: Glassline, request: bytes, mark: bytes) -> Answer:
    """Send `request`, stop Glassline when `mark` has come, and return what came then."""
    with RawClient(glassline.port, timeout_s=20) as client:
        client.send(request)
        assert b"200 OK" in client.read_until(mark)
        glassline.process.send_signal(signal.SIGTERM)
        rest = client.read_all()
    glassline.process.wait(timeout_s=30)
    return rest


def _stall(connection: Connection, data: bytes) -> None:
    connection.send(data)
    connection.wait_closed(20)
