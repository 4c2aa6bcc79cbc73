"""Cases 16 to 19: how an exchange can break, on either side. Case 20 is shown with the faults of clients."""

from __future__ import annotations

import threading

import httpx
import openai
import pytest

from tests.cases.stage import KEY, SSE, Stage, then_reset
from tests.cases.test_streams import ASKING, CHAT_PATH, LINES, lay_out
from tests.harness.client import RawClient, post
from tests.harness.process import wait_until
from tests.harness.upstream import CHAT, Connection, chunk

STREAM_START = b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % SSE
THREE = chunk(lay_out(LINES[:3]))


@pytest.mark.case(16)
def test_a_reset_upstream_is_a_reset_to_the_client_and_a_partial_record(stage: Stage) -> None:
    stage.upstream.script = then_reset(STREAM_START + THREE)
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, ASKING, key=KEY, headers=("x-glassline-session: cut",)))
        answer = client.read_all()
    assert answer.body == THREE, "a last chunk that the upstream never sent would look like an end"
    row = stage.row("cut")
    assert (row["outcome"], row["finish_reason"], row["usage_source"]) == ("upstream_reset", None, "estimated")


@pytest.mark.case(16)
def test_the_sdk_raises_when_the_upstream_is_reset(stage: Stage) -> None:
    stage.upstream.script = then_reset(STREAM_START + THREE)
    with openai.OpenAI(base_url=f"{stage.glassline.url}/v1", api_key=KEY, max_retries=0) as client:
        stream = client.chat.completions.create(model="gpt-4o-mini", messages=[], stream=True)
        texts: list[str] = []
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            texts.extend(chunk.choices[0].delta.content or "" for chunk in stream)


@pytest.mark.case(17)
def test_a_body_shorter_than_declared_is_as_short_for_the_client(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n" + CHAT[:200]
        )
        connection.socket.close()

    stage.upstream.script = script
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, b'{"model":"gpt-4o-mini"}', key=KEY, headers=("x-glassline-session: short",)))
        answer = client.read_all()
    assert b"content-length: 500" in answer.head
    assert answer.body == CHAT[:200]
    row = stage.row("short")
    assert row["outcome"] in ("truncated", "upstream_reset")
    assert row["response_bytes"] == 200


@pytest.mark.case(18)
def test_a_client_that_leaves_in_the_middle_ends_the_upstream_and_is_recorded(stage: Stage) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_START + THREE)
        if connection.wait_closed(5):
            closed.set()

    stage.upstream.script = script
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, ASKING, key=KEY, headers=("x-glassline-session: left",)))
        client.read_until(THREE[-20:])
    assert closed.wait(5), "the upstream still sends to nobody"
    row = stage.row("left")
    assert (row["outcome"], row["usage_source"]) == ("client_closed", "estimated")
    assert row["output_tokens"] > 0
    wait_until(lambda: in_flight(stage) == 0, "the gateway to let go of the request")


@pytest.mark.case(19)
def test_a_client_that_leaves_before_the_answer_cancels_it_and_is_recorded(stage: Stage) -> None:
    asked, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        asked.set()
        if connection.wait_closed(5):
            closed.set()

    stage.upstream.script = script
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, ASKING, key=KEY, headers=("x-glassline-session: early",)))
        assert asked.wait(5)
    assert closed.wait(5), "the upstream still works for nobody"
    row = stage.row("early")
    assert (row["outcome"], row["status"], row["response_bytes"]) == ("client_closed", None, 0)


def in_flight(stage: Stage) -> float:
    """Return how many requests the gateway says are under way."""
    text = httpx.get(f"{stage.glassline.admin_url}/metrics").text
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith("glassline_in_flight_requests{")
    )
