"""Frames: any split of the bytes gives the same messages, and an independent implementation agrees on every byte."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame
from websockets.frames import Opcode as TheirOpcode

from proxy.websocket import (
    Deflate,
    FrameParser,
    Message,
    Opcode,
    close_frame,
    encode_frame,
    read_extensions,
    unmask,
)

MASK = b"\x11\xa2\xf3\x44"
masks = st.none() | st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=300) | st.integers(0, 70_000).map(lambda size: bytes(range(256)) * (size // 256 + 1))


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[Opcode, list[bytes], list[bytes]]]:
    """Messages as (opcode, fragments, pings that come between the fragments)."""
    fragments = st.lists(payloads, min_size=1, max_size=4)
    pings = st.lists(st.binary(max_size=125), max_size=2)
    kinds = st.sampled_from([Opcode.TEXT, Opcode.BINARY])
    return draw(st.lists(st.tuples(kinds, fragments, pings), max_size=5))


def on_the_wire(
    conversation: list[tuple[Opcode, list[bytes], list[bytes]]], mask: bytes | None
) -> tuple[bytes, list[tuple[Opcode, bytes]]]:
    """Return the bytes, and what they say in the order in which it is complete."""
    wire, said = b"", []
    for opcode, fragments, pings in conversation:
        for index, fragment in enumerate(fragments):
            is_last = index == len(fragments) - 1
            kind = Opcode.CONTINUATION if index else opcode
            wire += encode_frame(kind, fragment, mask=mask, is_final=is_last)
            for ping in pings if not is_last else []:
                wire += encode_frame(Opcode.PING, ping, mask=mask)
                said.append((Opcode.PING, ping))
        said.append((opcode, b"".join(fragments)))
    return wire, said


def fed(parser: FrameParser, wire: bytes, cuts: list[int]) -> list[Message]:
    """Feed the bytes cut at these places."""
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [m for start, end in itertools.pairwise(places) for m in parser.feed(wire[start:end])]


@given(conversations(), masks, st.lists(st.integers(0, 10**6), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_messages(
    conversation: list[tuple[Opcode, list[bytes], list[bytes]]], mask: bytes | None, cuts: list[int]
) -> None:
    wire, said = on_the_wire(conversation, mask)
    parser = FrameParser()
    messages = fed(parser, wire, cuts)
    assert [(message.opcode, message.head) for message in messages] == said
    assert all(message.is_whole for message in messages)
    assert parser.is_between_messages
    assert not messages or messages[-1].end_offset == len(wire)


@given(st.lists(st.text(max_size=200).map(str.encode), min_size=1, max_size=5), st.integers(1, 40))
def test_bytes_one_at_a_time_are_read_and_offsets_point_behind_each_message(texts: list[bytes], size: int) -> None:
    wire = b"".join(encode_frame(Opcode.TEXT, text, mask=MASK) for text in texts)
    parser = FrameParser(start=size)
    messages = [message for byte in wire for message in parser.feed(bytes([byte]))]
    assert [message.head for message in messages] == texts
    ends = [
        size + len(b"".join(encode_frame(Opcode.TEXT, t, mask=MASK) for t in texts[: n + 1])) for n in range(len(texts))
    ]
    assert [message.end_offset for message in messages] == ends


@given(payloads, masks, st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION]), st.booleans())
def test_our_frames_are_those_of_another_implementation(
    payload: bytes, mask: bytes | None, opcode: Opcode, is_final: bool
) -> None:
    ours = encode_frame(opcode, payload, mask=mask, is_final=is_final)
    theirs = _parsed_by_websockets(ours, is_masked=mask is not None)
    assert (theirs.opcode, bytes(theirs.data), theirs.fin) == (TheirOpcode(opcode), payload, is_final)


@given(st.binary(max_size=1000), st.binary(min_size=4, max_size=4), st.integers(0, 1000))
def test_masking_twice_gives_the_bytes_back_wherever_it_begins(data: bytes, mask: bytes, cut: int) -> None:
    masked = unmask(data[:cut], mask) + unmask(data[cut:], mask, len(data[:cut]))
    assert masked == bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    assert unmask(masked, mask) == data


@pytest.mark.parametrize("keeps_context", [True, False])
@given(
    st.lists(st.binary(max_size=3000) | st.just(b"the same again " * 500), max_size=6),
    st.lists(st.integers(0, 10**6), max_size=9),
)
def test_compressed_messages_are_inflated_with_and_without_a_kept_context(
    keeps_context: bool, texts: list[bytes], cuts: list[int]
) -> None:
    extension = PerMessageDeflate(not keeps_context, not keeps_context, 15, 15)
    wire = b""
    for text in texts:
        frame = extension.encode(Frame(TheirOpcode.BINARY, text))
        wire += encode_frame(Opcode.BINARY, bytes(frame.data), mask=MASK, is_compressed=True)
    parser = FrameParser(deflate=Deflate(keeps_context=keeps_context))
    assert [message.head for message in fed(parser, wire, cuts)] == texts
    assert parser.problem is None


def test_of_a_long_message_both_ends_are_kept_and_the_size_of_all() -> None:
    text = bytes(range(256)) * 4096
    wire = encode_frame(Opcode.BINARY, text)
    (message,) = fed(FrameParser(keep_head=1000, keep_tail=500), wire, [77, 5000, 700_000])
    assert (message.head, message.tail, message.size) == (text[:1000], text[-500:], len(text))
    assert not message.is_whole


def test_a_message_a_little_longer_than_its_head_is_complete_in_head_and_tail() -> None:
    (message,) = FrameParser(keep_head=10, keep_tail=10).feed(encode_frame(Opcode.TEXT, b"0123456789abc"))
    assert message.head + message.tail == b"0123456789abc"


def test_a_small_bomb_does_not_fill_the_memory() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(bytes(80 * 1024 * 1024)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    parser = FrameParser(deflate=Deflate(), keep_head=1024)
    assert parser.feed(encode_frame(Opcode.TEXT, bomb[:-4], is_compressed=True)) == []
    assert parser.problem == "message_too_large"


BROKEN = {
    "an unknown opcode": b"\x83\x00",
    "a reserved bit": b"\xa1\x00",
    "compression nobody agreed on": encode_frame(Opcode.TEXT, b"x", is_compressed=True),
    "a continuation of nothing": encode_frame(Opcode.CONTINUATION, b"x"),
    "a message within a message": encode_frame(Opcode.TEXT, b"x", is_final=False) + encode_frame(Opcode.TEXT, b"y"),
    "a fragmented ping": encode_frame(Opcode.PING, b"x", is_final=False),
    "a long close": b"\x88\x7e\x01\x00" + bytes(256),
    "an impossible length": b"\x82\x7f" + b"\xff" * 8,
}


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_frame_ends_the_watching_without_an_exception(wire: bytes) -> None:
    parser = FrameParser()
    parser.feed(wire)
    assert parser.problem is not None
    assert not parser.is_between_frames
    assert parser.feed(encode_frame(Opcode.TEXT, b"later")) == []


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_parser_raise(data: bytes, is_compressed: bool) -> None:
    FrameParser(deflate=Deflate() if is_compressed else None, keep_head=10, keep_tail=10).feed(data)


def test_it_says_where_a_frame_of_ours_could_stand() -> None:
    parser = FrameParser()
    frame = encode_frame(Opcode.TEXT, b"abc", is_final=False)
    pieces = (b"", frame[:1], frame[1:], encode_frame(Opcode.CONTINUATION, b""))
    states = []
    for piece in pieces:
        parser.feed(piece)
        states.append((parser.is_between_frames, parser.is_between_messages))
    assert states == [(True, True), (False, False), (True, False), (True, True)]


def test_the_code_and_the_reason_of_a_close_frame_are_read() -> None:
    frame = close_frame(1008, "the budget is used up " * 20, mask=MASK)
    (message,) = FrameParser().feed(frame)
    theirs = Close.parse(bytes(_parsed_by_websockets(frame, is_masked=True).data))
    assert (message.close_code, message.close_reason) == (theirs.code, theirs.reason)
    assert message.close_code == 1008
    assert len(frame) <= 6 + 125


def test_a_close_frame_without_a_code_has_none() -> None:
    (message,) = FrameParser().feed(encode_frame(Opcode.CLOSE, b""))
    assert message.close_code is None


def test_extensions_are_read_for_each_side() -> None:
    value = b"permessage-deflate; server_no_context_takeover; client_max_window_bits=12"
    assert read_extensions(value, is_server=True) == Deflate(keeps_context=False)
    assert read_extensions(value, is_server=False) == Deflate(keeps_context=True)
    assert read_extensions(b"", is_server=True) is None
    with pytest.raises(ValueError, match="x-webkit"):
        read_extensions(b"x-webkit-deflate-frame", is_server=True)


def _parsed_by_websockets(data: bytes, *, is_masked: bool) -> Frame:
    position = 0

    def read_exact(size: int) -> Generator[None, None, bytes]:
        nonlocal position
        yield from ()
        piece = data[position : position + size]
        position += size
        return piece

    parsing = Frame.parse(read_exact, mask=is_masked)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert position == len(data)
    frame = done.value.value
    assert isinstance(frame, Frame)
    return frame
