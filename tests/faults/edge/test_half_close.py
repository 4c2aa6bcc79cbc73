"""A client that closes its sending side: one that waits gets its answer, one that has left is noticed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.harness import Glassline
from tests.harness.client import Answer, RawClient, post
from tests.harness.stage import with_upstream
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


class Waiting:
    """A script that answers nothing, and notes who came and who left."""

    def __init__(self) -> None:
        self.arrived, self.cancelled = threading.Event(), threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.arrived.set()
        if connection.wait_closed(5):
            self.cancelled.set()


@pytest.mark.parametrize("version", ["keep-alive", "close", "1.0"])
def test_who_closes_its_side_and_waits_gets_the_answer(
    glassline: Glassline, upstream: ScriptedUpstream, version: str
) -> None:
    def slowly(connection: Connection) -> None:
        time.sleep(0.5)
        connection.send(with_length(CHAT))

    upstream.script = slowly
    session = f"half-{version}"
    with RawClient(glassline.port) as client:
        client.send(http_1_0(session) if version == "1.0" else http_1_1(session, close=version == "close"))
        client.socket.shutdown(socket.SHUT_WR)
        raw = client.read_all().raw
    answer = Answer(raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"), is_reset=False)
    assert (answer.status, answer.body) == (200, CHAT)
    assert (answer.raw == raw) is (version == "1.0"), "HTTP/1.0 knows no interim answer"
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    assert row["outcome"] == "completed"


def test_a_stream_goes_on_for_a_client_that_has_closed_its_side(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    noticed = threading.Event()

    def stream(connection: Connection) -> None:
        assert noticed.wait(10), "after the head of an answer an end of the client's side means that it has left"
        connection.send(STREAM_HEAD)
        for word in ("one", "two", "three"):
            time.sleep(0.2)
            connection.send(event(word))
        connection.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    upstream.script = stream
    with RawClient(glassline.port) as client:
        client.send(http_1_1("half-stream"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        noticed.set()
        assert b"three" in client.read_all().body
    [row] = glassline.wait_for_rows(1, "session = 'half-stream'")
    assert row["outcome"] == "completed"


@pytest.mark.parametrize("is_last", [False, True], ids=["keep-alive", "close"])
def test_who_closes_altogether_has_left_and_the_upstream_is_cancelled_at_once(
    glassline: Glassline, upstream: ScriptedUpstream, is_last: bool
) -> None:
    upstream.script = waiting = Waiting()
    session = f"left-{is_last}"
    with RawClient(glassline.port) as client:
        client.send(http_1_1(session, close=is_last))
        assert waiting.arrived.wait(5)
    assert waiting.cancelled.wait(2)
    [row] = glassline.wait_for_rows(1, f"session = '{session}'")
    assert row["outcome"] == "client_closed"


def test_who_leaves_after_having_closed_its_side_is_noticed_too(
    glassline: Glassline, upstream: ScriptedUpstream
) -> None:
    upstream.script = waiting = Waiting()
    with RawClient(glassline.port) as client:
        client.send(http_1_1("left-later", close=False))
        client.socket.shutdown(socket.SHUT_WR)
        assert waiting.arrived.wait(5)
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert not waiting.cancelled.wait(0.5), "it waits"
    assert waiting.cancelled.wait(2)


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
