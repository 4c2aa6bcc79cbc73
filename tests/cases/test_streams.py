"""Cases 9 to 15: event streams, however they are cut, encoded, laid out and ended."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases.stage import KEY, SSE, Stage, split, streamed
from tests.harness.client import RawClient, post
from tests.harness.tee import bodies
from tests.harness.upstream import Connection, chunk

CHAT_PATH = "/v1/chat/completions"
ASKING = json.dumps(
    {"model": "gpt-4o-mini", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
).encode()
TEXTS = ["Grüße ", "aus ", "東京 ", "😀"]
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


def piece(choices: list[dict[str, object]], **more: object) -> str:
    """Return the JSON of one chunk of a chat stream."""
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18"}
    return json.dumps({**whole, "choices": choices, **more}, ensure_ascii=False)


def delta(text: str) -> str:
    """Return the chunk that adds `text`."""
    return piece([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


FINISH = piece([{"index": 0, "delta": {}, "finish_reason": "stop"}])
LAST = piece([], usage=USAGE)
LINES = [*map(delta, TEXTS), FINISH, LAST, "[DONE]"]


def lay_out(lines: list[str], end: str = "\n") -> bytes:
    """Return the events with `end` behind every line."""
    return "".join(f"data: {line}{end}{end}" for line in lines).encode()


def assert_read(row: dict[str, Any]) -> None:
    """Assert that the record has all that the stream says."""
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (12, 7, "provider")
    assert (row["finish_reason"], row["outcome"], row["status"]) == ("stop", "completed", 200)
    assert row["ttft_ms"] is not None


@pytest.mark.case(9)
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_every_event_of_a_compressed_stream_is_passed_on_when_it_is_flushed(stage: Stage, coding: str) -> None:
    compressor = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    flushed = [compressor.compress(lay_out([line])) + compressor.flush(zlib.Z_SYNC_FLUSH) for line in LINES[:-1]]
    flushed.append(compressor.compress(lay_out(LINES[-1:])) + compressor.flush())
    go_on = [threading.Event() for _ in flushed]

    def script(connection: Connection) -> None:
        head = SSE + b"content-encoding: %b\r\n" % coding.encode()
        connection.send(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % head)
        for data, gate in zip(flushed, go_on, strict=True):
            connection.send(chunk(data))
            assert gate.wait(10)
        connection.send(b"0\r\n\r\n")

    stage.upstream.script = script
    headers = (f"accept-encoding: {coding}", f"x-glassline-session: flushed-{coding}")
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, ASKING, key=KEY, headers=headers))
        received = b""
        for data, gate in zip(flushed, go_on, strict=True):
            while data not in received:  # the next event is sent only after this one arrived
                received += client.socket.recv(65536)
            gate.set()
        received += client.read_all().raw
    [body] = bodies(received)
    row = stage.row(f"flushed-{coding}")
    assert hashlib.sha256(body).hexdigest() == stage.digests(row)[1]
    assert hashlib.sha256(b"".join(flushed)).hexdigest() == stage.digests(row)[1]
    assert_read(row)
    assert row["ttft_ms"] < row["duration_ms"]


@pytest.mark.case(10)
def test_a_stream_of_single_bytes_is_the_same_stream(stage: Stage) -> None:
    whole = lay_out(LINES)
    played = stage.play(CHAT_PATH, ASKING, streamed(split(whole)))
    played.assert_response_is(whole)
    assert_read(played.row)


@pytest.mark.case(10)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(lay_out(LINES))), max_size=12))
def test_a_stream_may_be_cut_anywhere_even_within_a_character(stage: Stage, cuts: list[int]) -> None:
    whole = lay_out(LINES)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[first:last] for first, last in pairwise(edges)]
    played = stage.play(CHAT_PATH, ASKING, streamed(pieces))
    played.assert_response_is(whole)
    assert_read(played.row)


LAYOUTS = {
    "CRLF": [lay_out(LINES, "\r\n")],
    "CR": [lay_out(LINES, "\r")],
    "mixed": [b"".join(lay_out([line], end) for line, end in zip(LINES, ["\r\n", "\n", "\r"] * 3, strict=False))],
    "CR, then LF in the next piece": [part for line in LINES for part in (f"data: {line}\r".encode(), b"\n\r", b"\n")],
}


@pytest.mark.case(11)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_line_end_of_the_standard_is_read_and_kept(stage: Stage, layout: str) -> None:
    pieces = LAYOUTS[layout]
    played = stage.play(CHAT_PATH, ASKING, streamed(pieces))
    played.assert_response_is(b"".join(pieces))
    assert_read(played.row)


@pytest.mark.case(12)
def test_comments_are_passed_on_at_once_and_are_no_token(stage: Stage) -> None:
    comment, rest = b": OPENROUTER PROCESSING\n\n", b": keep-alive\n" + lay_out(LINES)
    seen = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % SSE + chunk(comment))
        assert seen.wait(10), "the comment was held back"
        connection.wait_closed(0.3)  # nothing closes it: this is the time until the first token
        connection.send(chunk(rest) + b"0\r\n\r\n")

    stage.upstream.script = script
    with RawClient(stage.glassline.port) as client:
        client.send(post(CHAT_PATH, ASKING, key=KEY, headers=("x-glassline-session: comments",)))
        received = client.read_until(comment)
        seen.set()
        received += client.read_all().raw
    [body] = bodies(received)
    row = stage.row("comments")
    assert body == comment + rest
    assert stage.digests(row)[1] == hashlib.sha256(body).hexdigest()
    assert_read(row)
    assert row["ttft_ms"] >= 300, "the comment counted as a token"


@pytest.mark.case(13)
def test_every_field_of_the_standard_is_passed_on_and_the_data_read(stage: Stage) -> None:
    first, *others = LINES
    over_lines = "\n".join(f"data:{line}" for line in json.dumps(json.loads(first), indent=1).splitlines())
    whole = f"retry: 3000\nid: 1\nevent: message\n{over_lines}\n\nid\nunknown: x\n\n".encode()
    whole += "".join(f"id:{number}\ndata:{line}\n\n" for number, line in enumerate(others)).encode()
    played = stage.play(CHAT_PATH, ASKING, streamed([whole]))
    played.assert_response_is(whole)
    assert_read(played.row)


@pytest.mark.case(14)
def test_without_its_marker_a_stream_that_finished_is_complete(stage: Stage) -> None:
    whole = lay_out([*LINES[:-1]])
    played = stage.play(CHAT_PATH, ASKING, streamed([whole]))
    played.assert_response_is(whole)
    assert_read(played.row)


@pytest.mark.case(14)
def test_a_stream_that_ends_before_it_finished_is_truncated_and_ends_as_the_upstream_ended_it(stage: Stage) -> None:
    whole = lay_out(LINES[:3])
    played = stage.play(CHAT_PATH, ASKING, streamed([whole]))
    played.assert_response_is(whole)
    assert (played.row["outcome"], played.row["finish_reason"]) == ("truncated", None)
    assert played.row["usage_source"] == "estimated"


@pytest.mark.case(15)
def test_a_last_event_without_its_blank_line_counts_and_gets_none(stage: Stage) -> None:
    whole = lay_out(LINES[:-1]).rstrip(b"\n")
    played = stage.play(CHAT_PATH, ASKING, streamed([whole]))
    played.assert_response_is(whole)
    assert_read(played.row)


@pytest.mark.case(9)
def test_a_stream_compressed_as_a_whole_is_read_as_well(stage: Stage) -> None:
    whole = gzip.compress(lay_out(LINES))
    played = stage.play(
        CHAT_PATH, ASKING, streamed(split(whole, 7), SSE + b"content-encoding: gzip\r\n"), "accept-encoding: gzip"
    )
    played.assert_response_is(whole)
    assert_read(played.row)
