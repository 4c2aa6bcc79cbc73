"""A client that closes its sending side: with a last request it waits for the answer, otherwise it has left."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.conftest import with_upstream
from tests.harness import Glassline
from tests.harness.client import RawClient, post
from tests.harness.upstream import CHAT, STREAM_HEAD, Connection, ScriptedUpstream, chunk, event, with_length

BODY = b'{"model":"gpt-4o-mini","messages":[]}'


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as made:
        yield made


@pytest.fixture(scope="module")
def glassline(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Glassline]:
    with closing(Glassline(tmp_path_factory.mktemp("half"), with_upstream({}, upstream.url))) as made:
        yield made.start()


def http_1_0(session: str) -> bytes:
    """Return the chat request in HTTP/1.0."""
    request = post("/v1/chat/completions", BODY, headers=(f"x-glassline-session: {session}",), close=False)
    return request.replace(b"HTTP/1.1", b"HTTP/1.0", 1)


def http_1_1(session: str, *, close: bool = True) -> bytes:
    """Return the chat request in HTTP/1.1."""
    return post("/v1/chat/completions", BODY, headers=(f"x-glassline-session: {session}",), close=close)


@pytest.mark.parametrize("version", ["close", "1.0"])
def test_who_said_that_this_is_the_last_request_gets_the_answer(
    glassline: Glassline, upstream: ScriptedUpstream, version: str
) -> None:
    def slowly(connection: Connection) -> None:
        time.sleep(0.5)
        connection.send(with_length(CHAT))

    upstream.script = slowly
    session = f"half-{version}"
    with RawClient(glassline.port) as client:
        client.send(http_1_0(session) if version == "1.0" else http_1_1(session))
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.read_all()
    assert (answer.status, answer.body) == (200, CHAT)
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    assert row["outcome"] == "completed"


def test_a_stream_goes_on_for_a_client_that_has_closed_its_side(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    def stream(connection: Connection) -> None:
        connection.send(STREAM_HEAD)
        for word in ("one", "two", "three"):
            time.sleep(0.2)
            connection.send(event(word))
        connection.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    upstream.script = stream
    with RawClient(glassline.port) as client:
        client.send(http_1_1("half-stream"))
        client.socket.shutdown(socket.SHUT_WR)
        assert b"three" in client.read_all().body
    [row] = glassline.wait_for_rows(1, "session = 'half-stream'")
    assert row["outcome"] == "completed"


def test_who_would_go_on_and_closes_has_left_and_the_upstream_is_cancelled(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    arrived, cancelled = threading.Event(), threading.Event()

    def wait(connection: Connection) -> None:
        arrived.set()
        if connection.wait_closed(5):
            cancelled.set()

    upstream.script = wait
    with RawClient(glassline.port) as client:
        client.send(http_1_1("left", close=False))
        assert arrived.wait(5)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_all().raw == b""
    assert cancelled.wait(2)
    [row] = glassline.wait_for_rows(1, "session = 'left'")
    assert row["outcome"] == "client_closed"


def test_who_said_so_and_left_all_the_same_is_noticed_by_what_it_does_not_take(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    arrived, left, cancelled = threading.Event(), threading.Event(), threading.Event()

    def stream(connection: Connection) -> None:
        arrived.set()
        left.wait(5)
        connection.send(STREAM_HEAD)
        for _ in range(100):
            connection.send(event("word"))
            if connection.wait_closed(0.05):
                cancelled.set()
                return

    upstream.script = stream
    with RawClient(glassline.port) as client:
        client.send(http_1_1("gone"))
        assert arrived.wait(5)
    left.set()
    assert cancelled.wait(3)
    [row] = glassline.wait_for_rows(1, "session = 'gone'")
    assert row["outcome"] == "client_closed"


def test_who_closes_while_the_answer_comes_has_left_at_once(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    cancelled = threading.Event()

    def begin(connection: Connection) -> None:
        connection.send(STREAM_HEAD + event("word"))
        if connection.wait_closed(5):
            cancelled.set()

    upstream.script = begin
    with RawClient(glassline.port) as client:
        client.send(http_1_1("left-in-it"))
        client.read_until(b"word")
    assert cancelled.wait(2), "nothing more is written that could fail"
    [row] = glassline.wait_for_rows(1, "session = 'left-in-it'")
    assert row["outcome"] == "client_closed"


def test_half_a_body_and_a_close_reach_nobody(glassline: Glassline, upstream: ScriptedUpstream) -> None:
    before = len(upstream.requests)
    with RawClient(glassline.port) as client:
        client.send(http_1_1("half-body")[:-5])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_all().raw == b""
    [row] = glassline.wait_for_rows(1, "session = 'half-body'")
    assert (row["outcome"], row["status"], row["cost_usd"]) == ("client_closed", None, 0)
    assert len(upstream.requests) == before


def test_the_admin_port_answers_a_client_that_has_closed_its_side(glassline: Glassline) -> None:
    with RawClient(glassline.admin_port) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_all().body == b"ok\n"
