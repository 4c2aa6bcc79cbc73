"""A provider that fails in every way: the client never sees a false ending, the record says what happened."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.conftest import StartGlassline
from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, exchange, post
from tests.harness.stage import with_upstream
from tests.harness.upstream import (
    CHAT,
    STREAM_HEAD,
    Connection,
    Script,
    ScriptedUpstream,
    answer_chat,
    chunk,
    event,
    with_length,
)

TIMEOUTS = {"connect": 1, "first_byte": 1, "idle": 1, "header": 1, "body_idle": 1, "write_stall": 1}
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM_BODY = json.dumps(
    {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
    }
).encode()


def then_wait(data: bytes) -> Script:
    """Send `data` and wait until the proxy ends the connection."""

    def script(connection: Connection) -> None:
        connection.send(data)
        connection.wait_closed()

    return script


def then_reset(data: bytes) -> Script:
    """Send `data` and reset the connection."""

    def script(connection: Connection) -> None:
        connection.send(data)
        connection.reset()

    return script


class Stage:
    def __init__(self, glassline: Glassline, upstream: ScriptedUpstream) -> None:
        self.glassline = glassline
        self.upstream = upstream
        self._seen = 0

    def ask(self, body: bytes = BODY, *headers: str) -> Answer:
        self._seen += 1
        request = post("/v1/chat/completions", body, headers=(f"x-glassline-session: s{self._seen}", *headers))
        return exchange(self.glassline.port, request)

    def row(self) -> dict[str, Any]:
        [row] = self.glassline.wait_for_rows(1, f"session = 's{self._seen}'")
        return row


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        config = with_upstream({"timeouts": TIMEOUTS}, upstream.url)
        glassline = Glassline(tmp_path_factory.mktemp("faults"), config)
        stack.enter_context(closing(glassline))
        yield Stage(glassline.start(), upstream)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    running.upstream.script = answer_chat
    yield running
    running.upstream.script = answer_chat
    assert running.ask().status == 200, "one fault must not spoil the next request"


def test_a_reset_before_the_head_is_a_502_of_ours(stage: Stage) -> None:
    stage.upstream.script = Connection.reset
    answer = stage.ask()
    assert answer.status == 502
    assert b"x-glassline-error: upstream_unreachable" in answer.head
    assert json.loads(answer.body)["error"]["code"] == "upstream_unreachable"
    row = stage.row()
    assert (row["outcome"], row["status"], row["error_code"]) == ("upstream_reset", 502, "upstream_unreachable")


def test_a_head_that_stalls_is_a_504(stage: Stage) -> None:
    stage.upstream.script = then_wait(b"HTTP/1.1 200 OK\r\n")
    started = time.monotonic()
    answer = stage.ask()
    assert answer.status == 504
    assert time.monotonic() - started < 3
    assert (stage.row()["outcome"], stage.row()["error_code"]) == ("timeout", "upstream_timeout")


def test_a_reset_in_the_middle_of_a_body_breaks_the_client_visibly(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(with_length(CHAT)[:-20])
        time.sleep(0.1)
        connection.reset()

    stage.upstream.script = script
    answer = stage.ask()
    assert answer.status == 200
    assert b"content-length: %d" % len(CHAT) in answer.head
    assert answer.body == CHAT[:-20]
    row = stage.row()
    assert row["outcome"] in ("upstream_reset", "truncated")
    assert row["response_bytes"] == len(CHAT) - 20


def test_a_reset_in_the_middle_of_a_stream_never_looks_like_an_end(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one") + event("two"))
        time.sleep(0.1)
        connection.reset()

    stage.upstream.script = script
    answer = stage.ask(STREAM_BODY)
    assert answer.body == event("one") + event("two")
    row = stage.row()
    assert (row["outcome"], row["usage_source"]) == ("upstream_reset", "estimated")
    assert row["output_tokens"] == 2


def test_a_stream_that_closes_without_a_last_chunk_is_truncated(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        connection.socket.close()

    stage.upstream.script = script
    answer = stage.ask(STREAM_BODY)
    assert not answer.body.endswith(b"0\r\n\r\n")
    assert stage.row()["outcome"] == "truncated"


def test_a_stream_that_ends_politely_without_its_marker_is_passed_on_and_marked(stage: Stage) -> None:
    stage.upstream.script = lambda connection: connection.send(STREAM_HEAD + event("one") + b"0\r\n\r\n")
    answer = stage.ask(STREAM_BODY)
    assert answer.body == event("one") + b"0\r\n\r\n"
    assert stage.row()["outcome"] == "truncated"


def test_a_stream_that_stalls_is_cut_at_the_idle_deadline(stage: Stage) -> None:
    stage.upstream.script = then_wait(STREAM_HEAD + event("one"))
    started = time.monotonic()
    answer = stage.ask(STREAM_BODY)
    assert 0.9 < time.monotonic() - started < 3
    assert not answer.body.endswith(b"0\r\n\r\n")
    assert stage.row()["outcome"] == "timeout"


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"<html>hello</html>" * 5000,
    ],
    ids=["ssh", "999", "two lengths", "70 KB header", "5000 headers", "20000 informational", "control", "html"],
)
def test_an_answer_that_is_not_http_is_a_502(stage: Stage, response: bytes) -> None:
    stage.upstream.script = then_reset(response)
    assert stage.ask().status == 502
    assert stage.row()["outcome"] == "upstream_reset"


def test_bytes_behind_a_response_never_reach_the_next_caller(stage: Stage) -> None:
    stage.upstream.script = lambda connection: connection.send(with_length(CHAT) + with_length(b'{"stolen":true}'))
    for _ in range(20):
        answer = stage.ask()
        assert (answer.status, answer.body) == (200, CHAT)


def test_a_kept_connection_that_the_upstream_closed_costs_no_request(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(with_length(CHAT))
        connection.socket.close()

    stage.upstream.script = script
    for _ in range(30):
        assert stage.ask().status == 200


def test_a_redirect_is_data_and_is_not_followed(stage: Stage) -> None:
    with ScriptedUpstream() as elsewhere:
        location = f"location: {elsewhere.url}/x\r\n".encode()
        stage.upstream.script = lambda connection: connection.send(
            with_length(b"", status="307 Temporary Redirect", headers=location)
        )
        answer = stage.ask()
        assert answer.status == 307
        assert elsewhere.connections == 0


def test_two_hundred_thousand_one_byte_chunks_arrive_whole(stage: Stage) -> None:
    stage.upstream.script = lambda connection: connection.send(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n"
    )
    answer = stage.ask()
    assert answer.body.endswith(b"0\r\n\r\n")
    assert stage.row()["response_bytes"] == 200_000


def test_broken_chunks_break_the_client(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("one"))
        time.sleep(0.1)
        connection.send(b"zz\r\n")
        connection.wait_closed()

    stage.upstream.script = script
    answer = stage.ask(STREAM_BODY)
    assert answer.body == event("one")
    assert stage.row()["outcome"] == "upstream_reset"


def test_broken_chunks_before_anything_was_sent_are_a_502(stage: Stage) -> None:
    stage.upstream.script = then_wait(STREAM_HEAD + b"zz\r\n")
    answer = stage.ask(STREAM_BODY)
    assert answer.status == 502
    assert stage.row()["status"] == 502


def test_the_usage_option_is_taken_back_when_the_upstream_rejects_it(stage: Stage) -> None:
    body = json.dumps({"model": "mistral-x", "stream": True, "messages": []}).encode()

    def script(connection: Connection) -> None:
        if b"stream_options" in connection.request:
            connection.send(with_length(b'{"detail":[{"type":"extra_forbidden"}]}', status="422 Unprocessable Entity"))
        else:
            connection.send(STREAM_HEAD + event("one") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    stage.upstream.script = script
    before = len(stage.upstream.requests)
    assert stage.ask(body).status == 200
    assert "include_usage_rejected" in stage.row()["mutated"]
    assert len(stage.upstream.requests) - before == 2
    assert stage.upstream.requests[-1].endswith(body)
    assert stage.ask(body).status == 200
    assert len(stage.upstream.requests) - before == 3, "the second time it is known"


def test_another_error_to_an_edited_request_is_passed_on(stage: Stage) -> None:
    error = b'{"error":{"message":"max_tokens is too large"}}'
    stage.upstream.script = lambda connection: connection.send(with_length(error, status="400 Bad Request"))
    answer = stage.ask(json.dumps({"model": "m", "stream": True, "messages": []}).encode())
    assert (answer.status, answer.body) == (400, error)


def test_an_unknown_upstream_is_a_404(stage: Stage) -> None:
    answer = exchange(stage.glassline.port, post("/nobody/chat/completions", BODY))
    assert answer.status == 404
    assert b"x-glassline-error: not_found" in answer.head


def test_an_upstream_that_cannot_be_reached_is_a_502_and_costs_nothing(start_glassline: StartGlassline) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    upstreams = {
        "gone": {"base_url": f"http://127.0.0.1:{port}/v1", "allow_private": True},
        "nameless": {"base_url": "http://does-not-exist.invalid/v1"},
        "private": {"base_url": f"http://127.0.0.1:{port}/v1"},
    }
    glassline = start_glassline(None, {"upstreams": upstreams, "timeouts": TIMEOUTS})
    for name in upstreams:
        answer = exchange(glassline.port, post(f"/{name}/chat/completions", BODY))
        assert answer.status == 502, name
        assert b"x-glassline-error: upstream_unreachable" in answer.head
    rows = glassline.wait_for_rows(3)
    assert {row["outcome"] for row in rows} == {"upstream_error"}
    assert {row["cost_usd"] for row in rows} == {0}
    assert "allow_private" in next(row for row in rows if row["upstream"] == "private")["error_message"]


def test_a_full_pool_is_a_502_and_not_a_wait_without_end(start_glassline: StartGlassline) -> None:
    with ScriptedUpstream(then_wait(STREAM_HEAD + event("one"))) as upstream:
        config = {"timeouts": TIMEOUTS | {"idle": 20}, "limits": {"connections_per_upstream": 1}}
        glassline = start_glassline(upstream.url, config)
        with RawClient(glassline.port) as first:
            first.send(post("/v1/chat/completions", STREAM_BODY, close=False))
            first.read_until(b"one")
            answer = exchange(glassline.port, post("/v1/chat/completions", BODY))
            assert answer.status == 502
            assert b"all its connections are in use" in answer.body
        upstream.script = answer_chat
        assert exchange(glassline.port, post("/v1/chat/completions", STREAM_BODY)).status == 200
