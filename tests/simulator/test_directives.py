"""Each directive does to the bytes exactly what it says, seen from a raw socket."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.simulator import Directives, Span, read_directives
from tests.harness import Simulator
from tests.simulator.raw import CHAT, STREAM, connect, exchange
from tests.wire.coders import UNPACKERS


def test_a_whole_stream_ends_with_done_and_a_last_chunk(provider: Simulator) -> None:
    whole = exchange(provider.port, STREAM, x_simulate="tokens=20")
    assert whole.status == 200
    assert b"content-type: text/event-stream" in whole.head
    assert len(whole.events) == 23  # the role, 20 tokens, the finish reason, [DONE]
    assert whole.events[-1] == b"data: [DONE]"
    assert whole.received.endswith(b"0\r\n\r\n")
    assert len(whole.chunks) == 23  # every event is flushed on its own


def test_padding_can_be_declined(provider: Simulator) -> None:
    assert exchange(provider.port, STREAM).body.count(b'"obfuscation"') > 10
    bare = exchange(provider.port, STREAM | {"stream_options": {"include_obfuscation": False}})
    assert b"obfuscation" not in bare.body


def test_cut_resets_the_connection_after_so_many_events(provider: Simulator) -> None:
    cut = exchange(provider.port, STREAM, x_simulate="cut=5")
    assert cut.ending == "rst"
    assert len(cut.events) == 5
    assert not cut.received.endswith(b"0\r\n\r\n")


def test_cut_zero_resets_before_the_head(provider: Simulator) -> None:
    for body in (CHAT, STREAM):
        cut = exchange(provider.port, body, x_simulate="cut=0")
        assert (cut.ending, cut.received) == ("rst", b"")


def test_fin_closes_in_the_middle_of_the_body(provider: Simulator) -> None:
    closed = exchange(provider.port, STREAM, x_simulate="fin=5")
    assert closed.ending == "fin"
    assert len(closed.events) == 5
    assert not closed.received.endswith(b"0\r\n\r\n")


def test_eof_ends_politely_without_done(provider: Simulator) -> None:
    with connect(provider.port) as opened:
        opened.post(STREAM, x_simulate="eof=5")
        opened.read_to_end()
        assert len(opened.events) == 5
        assert b"[DONE]" not in opened.body
        assert opened.received.endswith(b"0\r\n\r\n")
        # The connection is still good for another request.
        opened.received = b""
        opened.post(CHAT)
        opened.read_to_end()
        assert opened.status == 200


def test_stall_sends_nothing_more_and_keeps_the_connection(provider: Simulator) -> None:
    with connect(provider.port) as opened:
        opened.post(STREAM, x_simulate="stall=5")
        opened.read_until(b'"logprobs":null')
        opened.read_for(0.3)
        assert len(opened.events) == 5
        assert opened.ending == "open"


def test_header_stall_answers_nothing(provider: Simulator) -> None:
    with connect(provider.port) as opened:
        opened.post(CHAT, x_simulate="header-stall")
        assert opened.read_for(0.3) == b""
        assert opened.ending == "open"


def test_error_puts_an_error_event_into_the_stream(provider: Simulator) -> None:
    failed = exchange(provider.port, STREAM, x_simulate="error=5")
    assert len(failed.events) == 6
    assert json.loads(failed.events[-1].removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert failed.received.endswith(b"0\r\n\r\n")
    assert exchange(provider.port, CHAT, x_simulate="error=5").status == 500


def test_error_in_responses_is_flat_and_numbered(provider: Simulator) -> None:
    body = {"model": "gpt-4o", "input": "Hello", "stream": True}
    failed = exchange(provider.port, body, "/v1/responses", x_simulate="error=6")
    name, _, data = failed.events[-1].partition(b"\ndata: ")
    assert name == b"event: error"
    assert json.loads(data)["sequence_number"] == 6


@pytest.mark.parametrize(("directive", "ending"), [("cut=1", "rst"), ("fin=1", "fin")])
def test_a_plain_answer_breaks_in_the_middle_of_its_announced_length(
    provider: Simulator, directive: str, ending: str
) -> None:
    whole = exchange(provider.port, CHAT)
    broken = exchange(provider.port, CHAT, x_simulate=directive)
    assert broken.ending == ending
    assert b"content-length: %d" % len(whole.body) in broken.head
    assert broken.body == whole.body[: len(whole.body) // 2]


def test_a_plain_answer_ended_early_is_polite_and_unreadable(provider: Simulator) -> None:
    ended = exchange(provider.port, CHAT, x_simulate="eof=1")
    assert ended.received.endswith(b"0\r\n\r\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(ended.body)


def test_no_usage_leaves_it_out_everywhere(provider: Simulator) -> None:
    assert b"usage" not in exchange(provider.port, CHAT, x_simulate="no-usage").body
    asked = STREAM | {"stream_options": {"include_usage": True}}
    assert b"usage" not in exchange(provider.port, asked, x_simulate="no-usage").body
    response = {"model": "gpt-4o", "input": "Hello"}
    assert b'"usage":null' in exchange(provider.port, response, "/v1/responses", x_simulate="no-usage").body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_every_coding_packs_the_same_bytes_event_by_event(
    provider: Simulator, body: dict[str, Any], coding: str
) -> None:
    plain = exchange(provider.port, body).body
    packed = exchange(provider.port, body, x_simulate=f"coding={coding}")
    assert f"content-encoding: {coding}".encode() in packed.head
    unpack = UNPACKERS[coding]()
    pieces = [unpack(piece) for piece in (packed.chunks or [packed.body])]
    assert b"".join(pieces) == plain
    if body is STREAM:
        # What came of each chunk is whole events.
        assert all(piece.endswith(b"\n\n") for piece in pieces if piece)


def test_gzip_encodes_the_same_bytes_and_flushes_every_event(provider: Simulator) -> None:
    plain, packed = exchange(provider.port, CHAT), exchange(provider.port, CHAT, x_simulate="gzip")
    assert b"content-encoding: gzip" in packed.head
    assert gzip.decompress(packed.body) == plain.body
    plain, packed = exchange(provider.port, STREAM), exchange(provider.port, STREAM, x_simulate="gzip")
    assert gzip.decompress(packed.body) == plain.body
    reader = zlib.decompressobj(wbits=31)
    read = [reader.decompress(chunk) for chunk in packed.chunks]
    assert read[: len(plain.chunks)] == plain.chunks


def test_chunk_splits_the_same_bytes_into_small_writes(provider: Simulator) -> None:
    plain, split = exchange(provider.port, STREAM), exchange(provider.port, STREAM, x_simulate="chunk=7")
    assert split.body == plain.body
    assert {len(chunk) for chunk in split.chunks[:-1]} <= set(range(1, 8))
    assert len(split.chunks) >= len(plain.body) // 7
    assert exchange(provider.port, CHAT, x_simulate="chunk=1").body == exchange(provider.port, CHAT).body


def test_close_announces_and_closes(provider: Simulator) -> None:
    with connect(provider.port) as opened:
        opened.post(CHAT, x_simulate="close")
        opened.read_for(5)
        assert b"connection: close" in opened.head
        assert opened.ending == "fin"


def test_ttft_and_pace_take_their_time(provider: Simulator) -> None:
    began = time.monotonic()
    with connect(provider.port) as opened:
        opened.post(STREAM, x_simulate="ttft=0.2; pace=100; tokens=30")
        opened.read_until(b"\r\n\r\n")
        to_head = time.monotonic() - began
        opened.read_to_end()
        to_end = time.monotonic() - began
    # Upper bounds would test the machine; a scheduler may be late, a timer is never early.
    assert to_head >= 0.2
    assert to_end >= 0.2 + 30 / 100


def test_hidden_reasoning_takes_time_before_the_first_token(provider: Simulator) -> None:
    body = STREAM | {"model": "gpt-5"}
    with connect(provider.port) as opened:
        opened.post(body, x_simulate="pace=100; hidden-reasoning=30; tokens=3")
        opened.read_until(b'"role":"assistant"')
        began = time.monotonic()
        opened.read_until(b'{"content":')
        assert time.monotonic() - began >= 0.25


def test_a_plain_answer_takes_as_long_as_its_tokens(provider: Simulator) -> None:
    began = time.monotonic()
    exchange(provider.port, CHAT, x_simulate="pace=100; tokens=30")
    assert time.monotonic() - began >= 0.3


def test_an_unknown_directive_is_refused(provider: Simulator) -> None:
    refused = exchange(provider.port, CHAT, x_simulate="tokens=3; cutt=5")
    assert refused.status == 400
    assert b"cutt" in refused.body


def test_a_repeated_header_adds_up(provider: Simulator) -> None:
    answer = exchange(provider.port, CHAT, x_simulate="tokens=3", X_Simulate="no-usage")
    assert b"usage" not in answer.body
    assert answer.status == 200


def test_directives_are_read_with_or_without_blanks() -> None:
    assert read_directives(" status = 429 ;retry-after=2;; tools;gzip") == Directives(
        status=429, retry_after="2", tools=1, gzip=True
    )
    assert read_directives("ttft=0.1..0.5; pace=50") == Directives(ttft=Span(0.1, 0.5), pace=Span(50, 50))
    assert read_directives("") == Directives()


@pytest.mark.parametrize(
    "header", ["cut", "cut=-1", "cut=x", "status=700", "chunk=0", "ttft=2..1", "ttft=nan", "gzip=maybe", "retry-after"]
)
def test_a_value_without_sense_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        read_directives(header)


@given(st.text())
def test_any_header_is_read_or_refused(header: str) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(read_directives(header), Directives)


def test_an_upper_layer_overrides_what_it_sets_and_nothing_else() -> None:
    lower, upper = Directives(tokens=5, gzip=True, cut=3), Directives(tokens=0, gzip=False)
    assert lower.under(upper) == Directives(tokens=0, gzip=False, cut=3)
