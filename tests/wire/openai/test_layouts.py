"""The same answer reads the same, however a server laid it out, compressed it, or a network cut it up.

The answers are those of the golden files: every operation that is read, plain and streamed.
"""

from __future__ import annotations

import hashlib
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.records import Body, Exchange, Reading, Timeline, join_headers
from proxy.wire import read, token_times
from tests.golden.golden import golden_files, load
from tests.wire.coders import CODINGS, UNPACKERS, pack

ANSWERS = {
    name: load(path).exchange() for name, path in golden_files().items() if name.startswith(("openai/", "azure/"))
}
STREAMS = sorted(name for name, exchange in ANSWERS.items() if b"text/event-stream" in exchange.end.head)
OBJECTS = sorted(name for name, exchange in ANSWERS.items() if exchange.response.head.startswith(b"{"))
FORMS = sorted(name for name, exchange in ANSWERS.items() if exchange.request.head.startswith(b"--"))


def body_of(data: bytes) -> Body:
    return Body(data, len(data), hashlib.sha256(data).digest())


def answered(exchange: Exchange, body: bytes, coding: str | None = None, times: Timeline | None = None) -> Exchange:
    """Return the exchange with another answer."""
    end = exchange.end
    if coding is not None:
        end = msgspec.structs.replace(end, head=end.head + join_headers(((b"content-encoding", coding.encode()),)))
    timeline = exchange.timeline if times is None else times
    return msgspec.structs.replace(exchange, end=end, response=body_of(body), timeline=timeline)


def meaning(exchange: Exchange) -> Reading:
    """Read an exchange, but for where in its body things stood."""
    offsets = {"first_token_offset": None, "first_visible_offset": None, "last_token_offset": None}
    return msgspec.structs.replace(read(exchange), **offsets)


@st.composite
def layouts(draw: st.DrawFn, stream: bytes) -> bytes:
    """Write a stream with other line ends, comments between and inside its events, and spaces left out."""
    lines = stream.decode().split("\n")
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    # After a lone CR an empty line that ends with LF would be no line of its own.
    end, is_mixed = draw(ends), draw(st.booleans())
    out = [draw(st.sampled_from(["", "\ufeff"]))]
    for line in lines[:-1]:
        if draw(st.integers(0, 3)) == 0:
            out.append(
                draw(st.sampled_from([": keep-alive", ":", "id: 7", "retry: 10"])) + (end if end != "\r" else "\n")
            )
        text = line.replace("data: ", "data:", 1) if draw(st.booleans()) else line
        out.append(text + (draw(st.sampled_from(["\n", "\r\n"])) if is_mixed else end))
    return "".join(out).encode()


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_stream_reads_the_same_however_it_is_laid_out(name: str, data: st.DataObject) -> None:
    exchange = ANSWERS[name]
    body = data.draw(layouts(exchange.response.head))
    assert meaning(answered(exchange, body)) == meaning(exchange)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_needs_neither_its_last_blank_line_nor_its_done(name: str) -> None:
    exchange = ANSWERS[name]
    body = re.sub(rb"(event: done\n)?data: \[DONE\]\n*$", b"", exchange.response.head)
    without = meaning(answered(exchange, body.rstrip(b"\n")))
    whole = meaning(exchange)
    # Whether it ended is what only a last line can say where nothing else does.
    assert without == msgspec.structs.replace(whole, has_ended=without.has_ended)
    assert without.usage == whole.usage


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", ANSWERS)
def test_a_compressed_answer_reads_the_same(name: str, coding: str) -> None:
    exchange = ANSWERS[name]
    assert meaning(answered(exchange, pack(coding, exchange.response.head), coding)) == meaning(exchange)


@pytest.mark.parametrize("name", OBJECTS)
@settings(max_examples=10)
@given(before=st.text(" \t\r\n", max_size=30), after=st.text(" \r\n", max_size=5))
def test_an_object_may_come_after_blank_lines(name: str, before: str, after: str) -> None:
    exchange = ANSWERS[name]
    body = before.encode() + exchange.response.head + after.encode()
    assert meaning(answered(exchange, body)) == meaning(exchange)


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=25)
@given(data=st.data(), coding=st.sampled_from([None, *CODINGS]))
def test_a_token_is_timed_by_the_piece_that_brought_its_last_byte(
    name: str, data: st.DataObject, coding: str | None
) -> None:
    exchange = ANSWERS[name]
    plain = exchange.response.head
    body = plain if coding is None else pack(coding, plain)
    step = data.draw(st.integers(1, 64), "bytes of a piece")
    ends = [*range(step, len(body), step), len(body)]
    timeline = Timeline(tuple((end, 1000 + 10 * index) for index, end in enumerate(ends)))
    timed = answered(exchange, body, coding, timeline)
    reading = read(timed)
    assert msgspec.structs.replace(reading, problems=()) == msgspec.structs.replace(read(exchange), problems=())
    decoder = bytes if coding is None else UNPACKERS[coding]()
    times: dict[int, int] = {}
    decoded = 0
    for (end, time), start in zip(timeline.pairs, [0, *ends], strict=False):
        before, decoded = decoded, decoded + len(decoder(body[start:end]))
        times |= dict.fromkeys(range(before + 1, decoded + 1), time)
    seen = (reading.first_token_offset, reading.first_visible_offset, reading.last_token_offset)
    assert token_times(timed, reading) == tuple(None if offset is None else times[offset] for offset in seen)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=10)
@given(content=st.binary(max_size=3000), limit=st.integers(400, 700))
def test_a_form_reads_the_same_around_a_file_too_long_to_keep(name: str, content: bytes, limit: int) -> None:
    exchange = ANSWERS[name]
    request = re.sub(rb"\r\n\r\n(RIFF|PNG)\r\n", lambda _match: b"\r\n\r\n" + content + b"\r\n", exchange.request.head)
    digest = hashlib.sha256(request).digest()
    if len(request) > 2 * limit:
        kept = Body(request[:limit], len(request), digest, request[-limit:])
    else:
        kept = Body(request, len(request), digest)
    reading = read(msgspec.structs.replace(exchange, request=kept))
    assert set(reading.problems) <= {"request_cut"}
    expected = read(exchange)
    assert (reading.model_requested, reading.input_text) == (expected.model_requested, expected.input_text)


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=25)
@given(data=st.data())
def test_an_answer_that_breaks_off_or_is_damaged_is_read_without_raising(name: str, data: st.DataObject) -> None:
    exchange = ANSWERS[name]
    body = bytearray(exchange.response.head)
    size = data.draw(st.integers(0, len(body)), "size")
    for position in data.draw(st.lists(st.integers(0, max(0, size - 1)), max_size=8), "damaged"):
        if position < size:
            body[position] = data.draw(st.integers(0, 255))
    reading = read(answered(exchange, bytes(body[:size])))
    assert "reader" not in reading.problems
    assert reading.endpoint == read(exchange).endpoint
