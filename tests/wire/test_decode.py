from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.decode import ContentDecoder, OffsetMap, content_codings, decode


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


ENCODERS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"x-gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"zstd", zstd),
]


@given(st.binary(max_size=3000), st.sampled_from(ENCODERS), st.lists(st.integers(0, 3000), max_size=10))
def test_every_coding_is_undone_however_the_body_is_split(
    data: bytes, encoder: tuple[bytes, Callable[[bytes], bytes]], ends: list[int]
) -> None:
    coding, encode = encoder
    body = encode(data)
    decoded = decode(body, [coding], ends=sorted(ends))
    assert (decoded.data, decoded.problem) == (data, None)
    assert decode(body, [coding], ends=range(len(body))).data == data
    assert decoded.offsets.relayed(len(data)) <= len(body)


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
def test_a_cut_body_gives_what_came_before_the_cut(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    data = b"".join(b"line %d of many\n" % number for number in range(60_000))
    body = encode(data)
    decoded = decode(body[: len(body) // 2], [coding])
    assert decoded.problem == "encoding_truncated"
    assert len(decoded.data) > len(data) // 4
    assert data.startswith(decoded.data)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"zstd"])
def test_what_is_not_encoded_at_all_is_a_problem_and_no_exception(coding: bytes) -> None:
    decoded = decode(b"data: this is plain text\n\n", [coding])
    assert (decoded.data, decoded.problem) == (b"", "encoding_broken")


def test_several_members_and_their_padding_make_one_body() -> None:
    assert decode(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 9, [b"gzip"]).data == b"one two"
    assert decode(zstd(b"one ") + zstd(b"two"), [b"zstd"]).data == b"one two"


def test_two_codings_are_undone_in_reverse_order() -> None:
    decoded = decode(zstd(gzip.compress(b"twice")), [b"gzip", b"zstd"])
    assert (decoded.data, decoded.problem) == (b"twice", None)


@pytest.mark.parametrize("body", [gzip.compress(bytes(200_000_000), 9), zstd(bytes(200_000_000))])
def test_a_bomb_is_defused_at_the_limit(body: bytes) -> None:
    coding = b"gzip" if body.startswith(b"\x1f\x8b") else b"zstd"
    decoded = decode(body, [coding], limit=1_000_000)
    assert (len(decoded.data), decoded.problem) == (1_000_000, "encoding_too_large")


@pytest.mark.parametrize("body", [gzip.compress(bytes(200_000_000), 9), zstd(bytes(200_000_000))], ids=["gzip", "zstd"])
def test_a_bomb_costs_no_more_than_two_megabytes(body: bytes) -> None:
    decoded = decode(body, [b"gzip" if body.startswith(b"\x1f\x8b") else b"zstd"])
    assert decoded.problem == "encoding_too_large"
    assert 1 << 20 <= len(decoded.data) <= 2 << 20


def test_a_large_body_that_shrinks_as_bodies_do_is_decoded_to_its_end() -> None:
    data = b"".join(b"%d," % (number * number) for number in range(2_000_000)) + b'"usage"'
    assert len(data) > 20_000_000
    decoded = decode(gzip.compress(data, 1), [b"gzip"])
    assert (len(decoded.data), decoded.problem) == (len(data), None)


def test_a_hundred_thousand_tiny_members_take_linear_time() -> None:
    body = gzip.compress(b"") * 100_000
    start = time.perf_counter()
    assert decode(body, [b"gzip"]).problem is None
    assert time.perf_counter() - start < 10


def test_an_unknown_coding_is_named_and_the_body_stays_unread() -> None:
    decoded = decode(b"abc", [b"compress"])
    assert (decoded.data, decoded.problem) == (b"", "encoding_compress")


def test_brotli_is_read_in_bounded_memory() -> None:
    data = b"".join(b"line %d of many\n" % number for number in range(60_000))
    body = brotli.compress(data)
    decoded = decode(body, [b"br"], ends=range(0, len(body), 100))
    assert (decoded.data, decoded.problem) == (data, None)
    assert decode(body[:1000], [b"br"]).problem == "encoding_truncated"
    assert decode(b"\xff" * 100, [b"br"]).problem == "encoding_broken"
    assert decode(brotli.compress(bytes(10**8)), [b"br"], limit=1000).problem == "encoding_too_large"


def test_an_offset_maps_to_the_piece_that_completed_it() -> None:
    compressor = zlib.compressobj()
    texts = (b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n")
    pieces = [compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH) for text in texts]
    decoder = ContentDecoder([b"deflate"])
    for piece in pieces:
        decoder.feed(piece)
    first, second = len(pieces[0]), len(pieces[0]) + len(pieces[1])
    assert [decoder.offsets.relayed(offset) for offset in (1, 9, 10, 18)] == [first, first, second, second]
    assert OffsetMap().relayed(7) == 7


def test_codings_are_read_from_every_header_line() -> None:
    headers = ((b"Content-Encoding", b"GZIP, identity"), (b"content-encoding", b" zstd "), (b"x", b"br"))
    assert content_codings(headers) == (b"gzip", b"zstd")
