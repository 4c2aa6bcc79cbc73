from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.eventstream import EventStreamParser, Frame, encode_frame

# The vector `payload_one_str_header` that the AWS SDKs share.
EXAMPLE = bytes.fromhex(
    "0000003d00000020 07fd8396 0c 636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d 8d9c08b1".replace(" ", "")
)
TEXTS = st.text(max_size=30)
HEADERS = st.dictionaries(st.text(min_size=1, max_size=20), TEXTS, max_size=4)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=300)), min_size=1, max_size=6)


def parse(data: bytes, *cuts: int, is_torn: bool = False, start: int = 0) -> tuple[list[Frame], bool]:
    parser = EventStreamParser(is_torn=is_torn, start=start)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    frames = [frame for begin, end in pairwise(edges) for frame in parser.feed(data[begin:end])]
    parser.close()
    return frames, parser.is_damaged


def test_the_specifications_example_is_read() -> None:
    [frame], is_damaged = parse(EXAMPLE)
    assert frame == Frame({"content-type": "application/json"}, b"{'foo':'bar'}", len(EXAMPLE))
    assert not is_damaged
    assert encode_frame(frame.headers, frame.payload) == EXAMPLE


@given(FRAMES, st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_gives_the_same_frames(parts: list[tuple[dict[str, str], bytes]], cuts: list[int]) -> None:
    data = b"".join(encode_frame(headers, payload) for headers, payload in parts)
    frames, is_damaged = parse(data, *cuts)
    assert [(frame.headers, frame.payload) for frame in frames] == parts
    assert (frames[-1].end_offset, is_damaged) == (len(data), False)
    assert parse(data, *range(len(data))) == (frames, False)


@given(FRAMES, st.data())
def test_one_wrong_byte_costs_one_frame_and_is_noted(
    parts: list[tuple[dict[str, str], bytes]], data: st.DataObject
) -> None:
    whole = [encode_frame(headers, payload) for headers, payload in parts]
    number = data.draw(st.integers(0, len(whole) - 1))
    at = data.draw(st.integers(0, len(whole[number]) - 1))
    bad = bytearray(whole[number])
    bad[at] ^= data.draw(st.integers(1, 255))
    stream = b"".join([*whole[:number], bytes(bad), *whole[number + 1 :]])
    frames, is_damaged = parse(stream)
    assert is_damaged
    assert [frame.payload for frame in frames] == [
        payload for index, (_, payload) in enumerate(parts) if index != number
    ]
    assert parse(stream, *range(len(stream))) == (frames, True)


@given(FRAMES, st.integers(0, 400))
def test_reading_may_begin_in_the_middle_of_a_frame(parts: list[tuple[dict[str, str], bytes]], start: int) -> None:
    data = b"".join(encode_frame(headers, payload) for headers, payload in parts)
    all_frames, _ = parse(data)
    frames, is_damaged = parse(data[start:], is_torn=True, start=start)
    begins = [0, *(frame.end_offset for frame in all_frames)]
    assert frames == [frame for begin, frame in zip(begins, all_frames, strict=False) if begin >= start]
    assert not is_damaged


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=6))
def test_noise_is_never_fatal_and_reads_the_same_however_it_was_split(noise: bytes, cuts: list[int]) -> None:
    good = encode_frame({":event-type": "metadata"}, b"{}")
    frames, _ = parse(noise + good, *cuts)
    assert frames == parse(noise + good)[0]
    assert frames[-1].payload == b"{}"


def test_a_stream_that_ends_inside_a_frame_is_noted() -> None:
    assert parse(EXAMPLE[:-1]) == ([], True)


def test_headers_that_are_no_text_are_passed_over() -> None:
    # true, byte, short, integer, long, bytes, timestamp, UUID; then one that is text.
    values = [
        b"\x00",
        b"\x02!",
        b"\x03!!",
        b"\x04!!!!",
        b"\x05" + b"!" * 8,
        b"\x06\x00\x02!!",
        b"\x08" + b"!" * 8,
        b"\x09" + b"!" * 16,
    ]
    odd = b"".join(b"\x01%c%b" % (ord("a") + number, value) for number, value in enumerate(values))
    [frame], is_damaged = parse(with_headers(odd + b"\x01z\x07\x00\x01!"))
    assert (frame.headers, is_damaged) == ({"z": "!"}, False)


@pytest.mark.parametrize("headers", [b"\x05ab", b"\x01a\x07\x00\xffx", b"\x01a\x63", b"\x01a\x05!!"])
def test_broken_headers_keep_the_payload_and_are_noted(headers: bytes) -> None:
    [frame], is_damaged = parse(with_headers(headers))
    assert (frame.payload, is_damaged) == (b"payload", True)


@pytest.mark.parametrize("noise", [b"\0", b"\x00\x00\x01\x00", b"\x01\x00", b"\xff"])
def test_megabytes_of_noise_take_little_time(noise: bytes) -> None:
    data = noise * ((8 << 20) // len(noise))
    began = time.process_time()
    parse(data, *range(0, len(data), 65536))
    assert time.process_time() - began < 5


def test_a_large_frame_in_small_pieces_takes_little_time() -> None:
    data = encode_frame({}, bytes(4 << 20))
    began = time.process_time()
    [frame], _ = parse(data, *range(0, len(data), 64))
    assert time.process_time() - began < 5
    assert len(frame.payload) == 4 << 20


def with_headers(headers: bytes) -> bytes:
    """Return a frame with these header bytes."""
    from zlib import crc32

    lengths = (16 + len(headers) + 7).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    frame = lengths + crc32(lengths).to_bytes(4, "big") + headers + b"payload"
    return frame + crc32(frame).to_bytes(4, "big")
