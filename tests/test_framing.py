"""HTTP/1.1 framing: what is accepted, what is refused, and how chunks are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest, BadResponse
from proxy.framing import (
    LAST_CHUNK,
    ChunkDecoder,
    encode_chunks,
    find_head_end,
    has_no_body,
    is_normal_path,
    read_request_head,
    read_response_head,
)

GOOD = b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: api\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\n"


def test_a_request_head_keeps_order_spelling_and_duplicates() -> None:
    head = read_request_head(GOOD)
    assert head.headers == [(b"Host", b"api"), (b"X-A", b"1"), (b"X-A", b"2"), (b"Content-Length", b"5")]
    assert (head.method, head.target, head.content_length) == (b"POST", b"/v1/chat/completions?x=1", 5)
    assert head.keep_alive
    assert not head.is_chunked


REFUSED = {
    "content length and chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        400,
    ),
    "two equal content lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2", 400),
    "two transfer codings": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        400,
    ),
    "a list of content lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2", 400),
    "a signed content length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2", 400),
    "a negative content length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", 400),
    "an empty content length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", 400),
    "a content length beyond 64 bits": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999", 400),
    "a space before the colon": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2", 400),
    "another transfer coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", 400),
    "obs-fold": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c", 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nHost: a\nX: b", 400),
    "a bare carriage return": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc", 400),
    "a NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c", 400),
    "no host": (b"GET / HTTP/1.1\r\nX: b", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
    "a host that is a path": (b"GET / HTTP/1.1\r\nHost: a/v1/models?", 400),
    "HTTP/0.9": (b"GET /x", 400),
    "HTTP/1.9": (b"GET / HTTP/1.9\r\nHost: a", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0", 505),
    "the absolute form": (b"GET http://evil/admin HTTP/1.1\r\nHost: a", 400),
    "the asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: a", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a", 405),
    "CONNECT in a head that cannot be read": (b"CONNECT a:443 HTTP/1.1\r\nHost a", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a", 405),
    "two authorizations": (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nauthorization: Bearer b", 401),
    "another expectation": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea", 417),
    "a long URL": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: a", 414),
    "a long URL in a head that cannot be read": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost a", 414),
    "a head that cannot be read for a long line": (b"GET / HTTP/1.1\r\nHost a\r\nX: " + b"a" * 9000, 400),
    "many header lines": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join(b"X: 1" for _ in range(100)), 431),
    "a non-ASCII target": ("GET /\u00fc HTTP/1.1\r\nHost: a".encode(), 400),
}


@pytest.mark.parametrize(
    "line",
    [
        b"X: b\r\n c",
        b"X: b\r\n\tc",
        b"X: b\nY: c",
        b"X: b\rc",
        b"X: b\n\rc",
        b"X: \0",
        b"X: \x01",
        b"X: \x1f",
        b"X: \x7f",
    ],
)
def test_what_two_servers_read_in_two_ways_is_refused_before_a_parser_sees_it(line: bytes) -> None:
    with pytest.raises(BadRequest, match="bare CR or LF"):
        read_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line)
    with pytest.raises(BadResponse, match=r"bare CR or LF|no name"):
        read_response_head(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % line)


def test_tabs_and_bytes_beyond_ascii_may_stand_in_a_header() -> None:
    lines = b"Host: a\r\nX: \tb\t\x80 \xff\t\r\n\r\n"
    assert read_request_head(b"GET / HTTP/1.1\r\n" + lines).headers == [(b"Host", b"a"), (b"X", b"b\t\x80 \xff")]
    assert read_response_head(b"HTTP/1.1 200 OK\r\n" + lines).kept == b"\r\n" + lines[:-4]


def test_a_client_waits_for_a_word_only_where_it_says_so() -> None:
    expecting = b"POST / HTTP/%b\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n"
    assert read_request_head(expecting % b"1.1").expects_continue
    assert not read_request_head(expecting % b"1.0").expects_continue
    assert not read_request_head(GOOD).expects_continue


CODES = {401: "invalid_key", 414: "too_large", 431: "too_large"}
"""By status; others are `bad_request`."""


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_an_ambiguous_request_head_is_refused(case: str) -> None:
    head, status = REFUSED[case]
    with pytest.raises(BadRequest) as caught:
        read_request_head(head + b"\r\n\r\n")
    assert (caught.value.status, caught.value.code) == (status, CODES.get(status, "bad_request"))


def test_a_request_head_may_be_as_large_as_its_limits() -> None:
    head = read_request_head(b"GET /1234 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n", max_lines=2, max_url=5)
    assert (head.target, len(head.headers)) == (b"/1234", 2)


def test_headers_named_in_connection_are_known() -> None:
    head = read_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Foo\t,\tclose\r\nconnection: X-Bar\r\n\r\n")
    assert head.named_in_connection == {b"x-foo", b"close", b"x-bar"}
    assert not head.keep_alive


def test_http_1_0_closes_unless_it_asks() -> None:
    assert not read_request_head(b"GET / HTTP/1.0\r\n\r\n").keep_alive
    assert read_request_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
    ],
)
def test_a_broken_response_head_is_refused(head: bytes) -> None:
    with pytest.raises(BadResponse):
        read_response_head(head)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 599 Odd\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 100 + b"\r\n",
    ],
)
def test_a_response_head_within_every_rule_is_read_and_kept(head: bytes) -> None:
    response = read_response_head(head)
    assert b"HTTP/1.%c %d" % (head[7], response.status) == head[:12]
    assert response.kept == response.lines == head[head.index(b"\r\n") : -4]


@pytest.mark.parametrize(
    ("version", "lines", "is_kept_open"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: x-hop ,\tclose\r\n", False),
        (b"1.1", b"Connection: close\r\nConnection: keep-alive\r\n", False),
        (b"1.1", b"Connection: x-disclosed\r\n", True),
        (b"1.1", b"X-Connection: close\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: x-hop\r\n", False),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_an_upstreams_connection_is_used_again_only_where_it_says_so(
    version: bytes, lines: bytes, is_kept_open: bool
) -> None:
    response = read_response_head(b"HTTP/%b 200 OK\r\n%bContent-Length: 0\r\n\r\n" % (version, lines))
    assert response.keep_alive is is_kept_open


def test_head_204_and_304_have_no_body() -> None:
    assert has_no_body(b"HEAD", 200)
    assert has_no_body(b"GET", 204)
    assert has_no_body(b"GET", 304)
    assert not has_no_body(b"GET", 200)


@pytest.mark.parametrize("host", ["a", "a.b:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a_b-c~1", ""])
def test_a_host_with_or_without_a_port_is_one(host: str) -> None:
    assert read_request_head(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()).target == b"/"


@pytest.mark.parametrize(
    "host", ["a:b", "a:80:81", "a/b", "a?b", "a#b", "a@b", "a,b", "a b", "[::1", "::1", "a:123456"]
)
def test_what_could_be_more_than_a_host_is_none(host: str) -> None:
    with pytest.raises(BadRequest):
        read_request_head(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())


def test_who_asks_for_a_websocket_sends_no_second_request() -> None:
    lines = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    assert not read_request_head(b"GET / HTTP/1.1\r\n" + lines).keep_alive
    assert read_request_head(b"GET / HTTP/1.1\r\n" + lines.replace(b"WebSocket", b"h2c")).keep_alive
    assert read_request_head(b"GET / HTTP/1.1\r\n" + lines.replace(b"Upgrade: WebSocket", b"X: 1")).keep_alive


HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def test_the_end_of_a_head_is_found_however_it_comes() -> None:
    for length in range(len(HEAD)):
        assert find_head_end(HEAD[:length], max_head=100, max_url=50) is None
    assert find_head_end(HEAD + b"body\r\n\r\n" * 100, max_head=100, max_url=50) == len(HEAD)


def test_a_head_may_be_as_long_as_its_limits_and_no_longer() -> None:
    line = b"GET /".ljust(50 + 64 - 10, b"a") + b" HTTP/1.1\r"
    assert find_head_end(line + b"\n", max_head=100, max_url=50) is None
    head = HEAD[:-4].ljust(100 + 50, b"a")
    assert find_head_end(head, max_head=100, max_url=50) is None
    assert find_head_end(head + b"\r\n\r\n", max_head=100, max_url=50) == 154
    for longer, status in ((b"a" + line + b"\n", 414), (head + b"a", 431), (head + b"a\r\n\r\n", 431)):
        with pytest.raises(BadRequest) as caught:
            find_head_end(longer, max_head=100, max_url=50)
        assert (caught.value.status, caught.value.code) == (status, "too_large")


@pytest.mark.parametrize(
    ("buffer", "status"),
    [
        (b"GET /" + b"a" * 120, 414),
        (b"GET /" + b"a" * 120 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 150, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 150 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\nHost: a", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET /\r\n", 400),
        (b"\n", 400),
    ],
)
def test_what_can_no_longer_become_a_head_is_not_waited_for(buffer: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        find_head_end(buffer, max_head=100, max_url=50)
    assert caught.value.status == status


@pytest.mark.parametrize("path", [b"/", b"/v1/x", b"/v1/x/", b"/v1/a%20b", b"/v1/.well-known", b"/v1/x..y", b"/v1/a:b"])
def test_a_path_that_everybody_reads_alike_is_normal(path: bytes) -> None:
    assert is_normal_path(path)


@given(st.lists(st.binary(max_size=50), max_size=20), st.data())
def test_chunks_survive_any_split(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces)
    wire = encode_chunks(pieces) + b"0\r\nX-Trailer: t\r\n\r\nnext"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=30)))
    decoder = ChunkDecoder()
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += b"".join(decoder.feed(wire[start:end]))
        if decoder.is_done:
            break
    assert got == body
    assert b"next".startswith(decoder.leftover)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from((b"%x", b"%X", b"0%x", b"%x;a=b"))), max_size=8
    ),
    st.data(),
)
def test_chunks_pass_as_they_came_only_where_we_would_write_the_same(
    chunks: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    wire = b"".join(size % len(piece) + b"\r\n" + piece + b"\r\n" for piece, size in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    decoder = ChunkDecoder()
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        pieces = decoder.feed(wire[start:end])
        assert decoder.wire in (None, encode_chunks(pieces))


def test_a_chunk_as_we_would_write_it_passes_as_it_came() -> None:
    decoder = ChunkDecoder()
    for _ in range(2):
        assert decoder.feed(b"a\r\n0123456789\r\n") == [b"0123456789"]
        assert decoder.wire == b"a\r\n0123456789\r\n"
    decoder.feed(b"A\r\n0123456789\r\n")
    assert decoder.wire is None


def feed(decoder: ChunkDecoder, wire: bytes, size: int) -> list[bytes]:
    return [piece for start in range(0, len(wire), size) for piece in decoder.feed(wire[start : start + size])]


def test_what_looks_like_a_chunk_of_its_own_is_one_only_where_a_chunk_may_begin() -> None:
    alike = b"3\r\nabc\r\n"
    decoder = ChunkDecoder()
    assert decoder.feed(b"10\r\n") == []
    assert [decoder.feed(alike), decoder.feed(alike)] == [[alike], [alike]], "the body of a chunk"
    assert decoder.feed(b"\r\n1") == []
    assert decoder.feed(alike) == [b"abc\r\n"], "the end of a size"
    assert decoder.feed(b"x" * 14) == [b"x" * 14]
    with pytest.raises(ValueError, match="longer than its size"):
        decoder.feed(alike)
    decoder = ChunkDecoder()
    assert decoder.feed(b"0\r\n") == decoder.feed(alike) == [], "trailers"
    assert not decoder.is_done
    assert decoder.feed(b"\r\n") == []
    assert (decoder.is_done, decoder.wire) == (True, None)


def test_a_chunk_of_any_size_ends_where_it_says() -> None:
    for size in range(1, 300):
        decoder = ChunkDecoder()
        assert decoder.feed(encode_chunks([b"x" * size]) + LAST_CHUNK) == [b"x" * size]
        assert decoder.is_done


@pytest.mark.parametrize(
    "wire",
    [
        b"0x2\r\nab\r\n",
        b"-1\r\n",
        b"\r\n",
        b"g\r\n",
        b"2\nab\r\n",
        b"2\r\nabc\r\n",
        b"2 \r\nab\r\n",
        b"2;a\rb\r\nab\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"1" * 258,
        b"1;" + b"x" * 241 + b"\r\na\r\n0\r\n\r\n",
        b"0\r\n" + b"x" * 257 + b"\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nX: a\r\r\n\r\n",
        b"0\r\n" + (b"x" * 62 + b"\r\n") * 127 + b"x" * 61 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_broken_chunk_is_an_error_however_it_comes(wire: bytes, size: int) -> None:
    decoder = ChunkDecoder()
    with pytest.raises(ValueError, match=r"chunk|trailers"):
        feed(decoder, wire, size)
    assert not decoder.is_done


@pytest.mark.parametrize(
    "wire",
    [
        b"1".zfill(15) + b";" + b"x" * 240 + b"\r\na\r\n0\r\n\r\n",
        b"1\r\na\r\n0\r\n" + b"x" * 256 + b"\r\n\r\n",
        b"1\r\na\r\n0\r\n" + (b"x" * 62 + b"\r\n") * 127 + b"x" * 60 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_chunks_with_the_longest_lines_and_trailers_are_read(wire: bytes, size: int) -> None:
    decoder = ChunkDecoder()
    assert (feed(decoder, wire, size), decoder.is_done, decoder.leftover) == ([b"a"], True, b"")


def test_three_hundred_thousand_one_byte_chunks_are_linear() -> None:
    decoder = ChunkDecoder()
    wire = b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n"
    size = 0
    for start in range(0, len(wire), 65_536):
        size += sum(map(len, decoder.feed(wire[start : start + 65_536])))
    assert decoder.is_done
    assert size == 300_000


def test_headers_that_a_responses_connection_names_stay_on_their_hop() -> None:
    head = read_response_head(
        b"HTTP/1.1 200 OK\r\nX-End: 1\r\nX-Hop: 2:3\r\nConnection: keep-alive, X-Hop\r\nconnection:\tx-other , close\r\n"
        b"X-Other: 3\r\nX-Hop-Not: 4\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.kept == b"\r\nX-End: 1\r\nX-Hop-Not: 4"
    assert b"X-Hop: 2:3" in head.lines


def test_a_response_head_says_what_must_be_known_of_its_body() -> None:
    head = read_response_head(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nLocation: /x\r\nContent-Type: Text/Event-Stream \r\n\r\n"
    )
    assert (head.is_encoded, head.has_addresses, head.is_event_stream) == (True, True, True)
    assert (head.content_type, head.sets_cookies) == (b"text/event-stream", False)
    assert head.kept == head.lines
    head = read_response_head(b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nX-Location: /x\r\n\r\n")
    assert (head.is_encoded, head.has_addresses, head.content_type) == (False, False, b"")
    head = read_response_head(b"HTTP/1.1 200 OK\r\nContent-Encoding:\r\nSet-Cookie: a=1\r\n\r\n")
    assert (head.is_encoded, head.sets_cookies) == (False, True)


def test_how_long_a_response_is_stands_in_its_head() -> None:
    head = read_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5 \t\r\n\r\n")
    assert (head.content_length, head.is_chunked, head.is_encoded) == (5, False, False)
    head = read_response_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n")
    assert (head.content_length, head.is_chunked) == (None, True)
