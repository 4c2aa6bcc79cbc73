from __future__ import annotations

import random
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.sse import Event, SseParser

TWO = [(b"", b"A\xe2\x98\x83"), (b"", b"B")]


def parse(pieces: Iterable[bytes]) -> list[Event]:
    parser = SseParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.close()


def contents(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(event.name, event.data) for event in parse([body])]


@pytest.mark.parametrize(
    "body",
    [
        "data: A☃\n\ndata: B\n\n",
        "data: A☃\r\n\r\ndata: B\r\n\r\n",
        "data: A☃\r\rdata: B\r\r",
        "data: A☃\r\n\ndata: B\n\r\n",
        ": keep-alive\n\ndata: A☃\n\n: OPENROUTER PROCESSING\ndata: B\n\n",
        "data:A☃\n\ndata:B\n\n",
        "id: 1\ndata: A☃\nretry: 5\n\nid: 2\ndata: B\n\n",
        "\ufeffdata: A☃\n\ndata: B\n\n",
        "\n\n\ndata: A☃\n\n\n\ndata: B\n\n",
        "data: A☃\n\ndata: B",
        "data: A☃\n\ndata: B\n",
        "unknown: 1\nnonsense\ndata: A☃\n\ndata: B\n\n",
    ],
)
def test_every_legal_way_to_write_two_events_gives_the_same_two(body: str) -> None:
    assert contents(body.encode()) == TWO


def test_lines_of_data_are_joined_by_newlines() -> None:
    assert contents(b"data: one\ndata:two\ndata\ndata:  three\n\n") == [(b"", b"one\ntwo\n\n three")]


def test_a_name_belongs_to_one_event_only() -> None:
    body = b"event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n"
    assert contents(body) == [(b"a", b"1"), (b"", b"2"), (b"", b"3")]


def test_a_bom_later_in_the_stream_is_part_of_the_line() -> None:
    assert contents(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n") == [(b"", b"1")]


@pytest.mark.parametrize(("line_end", "offsets"), [(b"\n", [9, 18]), (b"\r", [9, 18]), (b"\r\n", [10, 21])])
def test_an_offset_stands_just_after_the_byte_that_completed_the_event(line_end: bytes, offsets: list[int]) -> None:
    # With CRLF that byte is the CR of the empty line: whether its LF has come yet must make no difference.
    body = b"data: 1" + line_end * 2 + b"data: 2" + line_end * 2
    assert [event.end_offset for event in parse([body])] == offsets


def test_the_middle_of_a_stream_is_joined_at_its_first_whole_event() -> None:
    parser = SseParser(start=100, is_torn=True)
    tail = b'ent":"x"}\n\ndata: 1\n\ndata: 2\n\n'
    events = parser.feed(tail)
    assert [(event.data, event.end_offset) for event in events] == [(b"1", 100 + 20), (b"2", 100 + 29)]


def test_the_end_of_a_torn_event_is_not_taken_for_an_event() -> None:
    parser = SseParser(start=100, is_torn=True)
    assert [event.data for event in parser.feed(b'data: [DONE]", said the model"}\n\ndata: 1\n\n')] == [b"1"]


LINES = st.sampled_from([b"data: x", b"data:", b"data: \xe2\x98\x83", b"event: e", b": c", b"id: 3", b"", b"", b"\xff"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=30).map(lambda rows: b"".join(a + b for a, b in rows))


@given(STREAMS | st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=20), st.booleans())
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int], has_bom: bool) -> None:
    body = b"\xef\xbb\xbf" * has_bom + body
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(bounds)]
    whole = parse([body])
    assert parse(pieces) == whole
    assert parse(bytes([byte]) for byte in body) == whole


def seconds(pieces: list[bytes]) -> float:
    start = time.perf_counter()
    parse(pieces)
    return time.perf_counter() - start


def test_work_is_linear_in_one_byte_pieces() -> None:
    line = b"data: " + b"x" * 100_000
    small, large = [bytes([byte]) for byte in line], [bytes([byte]) for byte in line * 8]
    # Quadratic work would take 64 times as long; the second is for a busy machine.
    assert seconds(large) < 24 * seconds(small) + 1


def test_a_line_of_fifty_megabytes_takes_linear_time() -> None:
    pieces = [b"data: ", *[b"x" * 65536] * 800, b"\n\n"]
    start = time.perf_counter()
    (event,) = parse(pieces)
    assert len(event.data) == 800 * 65536
    assert time.perf_counter() - start < 5  # 0.1 s here; copying the line for each piece would move 20 GB


def test_many_small_events_in_random_pieces_all_arrive() -> None:
    body = b"".join(b"data: %d\r\n\r\n" % number for number in range(20_000))
    random_source = random.Random(7)
    pieces, position = [], 0
    while position < len(body):
        step = random_source.randint(1, 50)
        pieces.append(body[position : position + step])
        position += step
    assert [event.data for event in parse(pieces)] == [b"%d" % number for number in range(20_000)]
