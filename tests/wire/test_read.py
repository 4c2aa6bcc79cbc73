from __future__ import annotations

import gzip
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import Exchange, Reading, Timeline
from proxy.wire import read, token_times
from tests.wire.exchanges import CAPTURES, DONE, SSE_TYPE, captured, delta, make_exchange, sse

PATHS = ["/chat/completions", "/completions", "/responses", "/embeddings", "/models", "/files"]
NAMES = sorted(path.name.removesuffix(".response.http") for path in CAPTURES.glob("*.response.http"))


@pytest.mark.parametrize(
    ("method", "path", "reader", "endpoint"),
    [
        ("POST", "/chat/completions", "openai_chat/1", "chat"),
        ("POST", "/v1/chat/completions", "openai_chat/1", "chat"),
        ("POST", "/openai/v1/chat/completions/?beta=true&x=/models", "openai_chat/1", "chat"),
        ("POST", "chat/completions", "openai_chat/1", "chat"),
        ("POST", "/completions", "openai_completions/1", "completions"),
        ("POST", "/v1/completions?x=1", "openai_completions/1", "completions"),
        ("POST", "/v1/responses?beta=true", "openai_responses/3", "responses"),
        ("POST", "/embeddings", "openai_embeddings/1", "embeddings"),
        ("GET", "/v1/models/openai/gpt-5", "openai_other/1", "models"),
        ("DELETE", "/files/f-1", "openai_other/1", "files"),
        ("GET", "/chat/completions", "openai_other/1", "chat_stored"),
        ("POST", "/chat/completions/c-1", "openai_other/1", "chat_stored"),
        ("GET", "/FILES/f-1/content", "openai_batch_output/1", "files_content"),
        ("POST", "/xcompletions", "none", "other"),
        ("POST", "/supermodels", "none", "other"),
        ("POST", "", "none", "other"),
    ],
)
def test_a_reader_is_found_by_method_and_end_of_path(method: str, path: str, reader: str, endpoint: str) -> None:
    reading = read(make_exchange({}, b"", method=method, path=path))
    assert (reading.reader, reading.endpoint) == (reader, endpoint)


def test_a_wire_that_nobody_reads_gives_an_empty_reading() -> None:
    reading = read(make_exchange({"model": "m"}, {"usage": {}}, wire="none"))
    assert reading == Reading(reader="none", endpoint="other")


def test_a_dialect_that_is_not_the_upstreams_own_is_read_by_its_path() -> None:
    reading = read(make_exchange({"model": "m", "messages": []}, {"model": "m-1"}, wire="anthropic"))
    assert (reading.reader, reading.model) == ("openai_chat/1", "m-1")


def test_a_request_that_got_no_answer_is_read_as_far_as_it_goes() -> None:
    reading = read(make_exchange({"model": "m", "messages": [{"content": "x"}]}, b"", status=None, content_type=b""))
    assert (reading.model_requested, reading.input_text, reading.problems) == ("m", "x", ())
    assert reading.usage is None


def with_body(request: bytes, response: bytes, path: str, status: int | None, content_type: bytes) -> Exchange:
    return make_exchange(request, response, path=path, status=status, content_type=content_type)


BODIES = st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(
    BODIES | st.just(b'{"model":"m","stream":true}'),
    BODIES | BODIES.map(lambda body: b"data: " + body + b"\n\n" + DONE),
    st.sampled_from(PATHS),
    st.sampled_from([200, 404, None]),
    st.sampled_from([b"", SSE_TYPE, b"application/json", b"text/html"]),
)
def test_arbitrary_bytes_never_raise(
    request: bytes, response: bytes, path: str, status: int | None, kind: bytes
) -> None:
    reading = read(with_body(request, response, path, status, kind))
    assert "reader" not in reading.problems  # the outermost border caught nothing
    msgspec.json.encode(reading)


FIELDS = st.sampled_from(
    [
        "id",
        "model",
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "index",
        "function",
        "name",
        "arguments",
        "usage",
        "error",
        "finish_reason",
        "type",
        "output",
        "item",
        "response",
        "summary",
        "text",
        "status",
        "service_tier",
        "messages",
        "input",
        "prompt",
        "stream",
        "user",
        "n",
        "data",
        "x_groq",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4))
OBJECTS = st.dictionaries(FIELDS, TREES, max_size=6)


@given(OBJECTS, st.lists(OBJECTS, max_size=4), st.sampled_from(PATHS), st.booleans(), st.integers(0, 400))
def test_any_json_in_the_place_of_any_field_never_raises(
    request: dict[str, Any], objects: list[dict[str, Any]], path: str, is_stream: bool, cut: int
) -> None:
    body = sse(*objects) if is_stream else json.dumps(objects[0] if objects else {}).encode()
    exchange = make_exchange(request, body[: cut or None], path=path, content_type=SSE_TYPE if is_stream else b"a/json")
    reading = read(exchange)
    assert "reader" not in reading.problems
    msgspec.json.encode(reading)


def in_pieces(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    start = 0
    for end in [*sorted(min(cut, len(body)) for cut in cuts), len(body)]:
        if end > start:
            yield body[start:end]
            start = end


ENCODE: dict[bytes | None, Callable[[bytes], bytes]] = {
    None: bytes,
    b"gzip": gzip.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
}


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 4000), max_size=12), st.sampled_from([None, b"gzip", b"zstd"]))
def test_any_split_of_the_bytes_gives_the_same_reading(name: str, cuts: list[int], coding: bytes | None) -> None:
    exchange = captured(name)
    body = ENCODE[coding](exchange.response.head)
    ends = list(accumulate(len(piece) for piece in in_pieces(body, cuts)))
    split = captured(name, coding=coding)
    split = msgspec.structs.replace(
        split,
        response=msgspec.structs.replace(split.response, head=body, size=len(body)),
        timeline=Timeline(tuple((end, end * 10) for end in ends)),
    )
    reading = read(split)
    assert reading == read(exchange)
    first, _, last = token_times(split, reading)
    assert (first is None) is (reading.first_token_offset is None)
    if first is not None and last is not None:
        assert 0 < first <= last <= len(body) * 10


def test_token_times_of_an_encoded_stream_come_from_the_pieces_as_relayed() -> None:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    events = [sse(delta({"role": "assistant"})), sse(delta({"content": "a"})), sse(delta({"content": "b"})), DONE]
    body, times = b"", []
    for number, event in enumerate(events, 1):
        body += compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        times.append((len(body), number * 100))
    body += compressor.flush()
    times.append((len(body), 900))
    exchange = make_exchange({"stream": True}, body, coding=b"gzip", content_type=SSE_TYPE, times=tuple(times))
    assert token_times(exchange, read(exchange)) == (200, 200, 300)


def test_a_body_in_an_unknown_coding_keeps_what_the_request_says() -> None:
    reading = read(make_exchange({"model": "m"}, b"\x0b\x02\x80abc\x03", coding=b"compress"))
    assert (reading.model_requested, reading.problems) == ("m", ("response_encoding_compress",))


def store(reading: Reading) -> str:
    """Put every text of a reading into SQLite and back."""
    text = msgspec.json.encode(reading).decode()
    connection = sqlite3.connect(":memory:")
    try:
        (back,) = connection.execute("SELECT ?", (reading.output_text,)).fetchone()
    finally:
        connection.close()
    assert back == reading.output_text
    return text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'"a\\udc00\\ud83d\\ude00"', "a\ufffd\N{GRINNING FACE}"),
        (b'"a\\u0000b"', "a\ufffdb"),
        (b'"a\x00b"', "a\ufffdb"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\nb"', "a\nb"),
    ],
)
def test_every_text_can_be_stored(content: bytes, expected: str) -> None:
    for body in (
        b'{"model":' + content + b',"choices":[{"message":{"content":' + content + b"}}]}",
        b'data: {"choices":[{"delta":{"content":' + content.replace(b"\n", b"\\n") + b"}}]}\n\n",
    ):
        reading = read(make_exchange({"stream": body.startswith(b"data")}, body))
        store(reading)
        assert reading.output_text == expected


CHAT = b'"model":"m-1","choices":[{"index":0,"message":{"content":"text"},"finish_reason":"stop"}]'
USED = b'"usage":{"prompt_tokens":3,"completion_tokens":4}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"odd":' + b"9" * 5000 + b"," + CHAT + b"," + USED + b"}",
        b'{"odd":' + b"[" * 100_000 + b"]" * 100_000 + b"," + CHAT + b"," + USED + b"}",
        b'{"odd":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"," + CHAT + b"," + USED + b"}",
        b'{"model":"first",' + CHAT + b"," + USED + b"}",
        b"\xef\xbb\xbf{" + CHAT + b"," + USED + b"}",
        b"\n\n\r\n  {" + CHAT + b"," + USED + b"}\n",
        b'{"odd":NaN,"odder":"\\ud800",' + CHAT + b"," + USED + b"}",
        b'{"id":7,"service_tier":[],' + CHAT + b"," + USED + b"}",
        b"{" + CHAT + b"," + USED,
        b"{" + CHAT + b"," + USED + b',"system_finger',
        b"{" + CHAT + b"," + USED + b"} and more",
    ],
)
def test_odd_json_loses_nothing_that_stands_beside_it(body: bytes) -> None:
    reading = read(make_exchange({}, body))
    assert (reading.model, reading.output_text, reading.finish_reasons) == ("m-1", "text", ("stop",))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"null", b"[]", b'"x"', b"<html></html>", b"{", b'{"a', b"\xff\xfe", b"0"]
)
def test_what_is_no_object_is_a_problem_or_nothing(body: bytes) -> None:
    for path in PATHS[:4]:
        reading = read(make_exchange({"model": "m"}, body, path=path, content_type=b"application/json"))
        assert reading.model_requested == "m"
        assert reading.problems == (("response_json",) if body else ())


@pytest.mark.parametrize("path", PATHS[:4])
def test_an_odd_request_does_not_hide_the_response(path: str) -> None:
    for request in (b"", b"--boundary\r\n", b'{"model":["odd"],"stream":"yes","n":"x","user":5}', b'{"model":"m"'):
        reading = read(make_exchange(request, b'{"model":"m-1",' + USED + b"}", path=path))
        assert (reading.model, reading.usage is not None) == ("m-1", True)


def test_a_long_request_cut_at_the_limit_still_names_its_model() -> None:
    exchange = make_exchange(b'{"model":"m","user":"u","messages":[{"content":"' + b"x" * 500)
    exchange = msgspec.structs.replace(exchange, request=msgspec.structs.replace(exchange.request, size=10_000))
    reading = read(exchange)
    assert (reading.model_requested, reading.user, reading.input_text) == ("m", "u", "x" * 500)
    assert reading.problems == ("request_cut", "request_json")


def test_names_that_callers_choose_are_bounded() -> None:
    reading = read(make_exchange({"model": "m" * 5_000_000}, {"error": {"message": "e" * 100_000}}, status=400))
    assert (len(reading.model_requested or ""), len(reading.error_message or "")) == (256, 4096)


MEGABYTES = b"x" * 10_000_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":"' + MEGABYTES + b'"}}]}',
        b'{"choices":[{"message":{"content":"\\ud800' + MEGABYTES + b'"}}]}',
        b'{"choices":[{"message":{"content":"' + MEGABYTES,
        b'data: {"choices":[{"delta":{"content":"' + MEGABYTES + b'"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"' + MEGABYTES,
        b'data: {"choices":[{"delta":{"content":"xxxxxxxx"}}]}\n\n' * 200_000,
        b'{"choices":[' + b'{"message":{"content":"x"}},' * 300_000 + b'"\\ud800"]}',
        b'{"choices":[' + b"[" * 5_000_000,
        b'{"choices":' + b'{"choices":' * 900_000,
        b'{"choices":[{"message":{"content":' + b'[{"thinking":' * 700_000,
        b'{"' * 5_000_000,
        b'{"a":"' + b"\\" * 9_999_999,
    ],
)  # fmt: skip
def test_ten_megabytes_of_anything_take_seconds_at_most(body: bytes) -> None:
    started = time.process_time()
    reading = read(make_exchange({}, body))
    assert time.process_time() - started < 60  # a few seconds; anything quadratic would take hours
    assert "reader" not in reading.problems


def test_a_stream_of_absurdly_many_events_is_read_in_bounded_time_and_its_end_still_counts() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7}}\n\n' + DONE
    body = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n' + b"data:1\n\n" * 4_000_000 + usage
    started = time.process_time()
    reading = read(make_exchange({"model": "m", "stream": True}, body))
    assert time.process_time() - started < 15
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.output_text) == (9, 7, "x")


def test_what_stands_at_a_cut_of_the_reading_is_read_once() -> None:
    body = b"".join(
        b'data: {"choices":[{"index":0,"delta":{"content":"%d "}}]}\n\n' % number for number in range(60_000)
    )
    reading = read(make_exchange({"model": "m", "stream": True}, body + DONE))
    assert reading.output_text == "".join(f"{number} " for number in range(60_000))
