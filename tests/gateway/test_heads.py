"""The heads we write: what is dropped, what is kept, whose credential goes out."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config
from proxy.errors import BadRequest
from proxy.framing import has_no_body, read_request_head, read_response_head
from proxy.gates.budgets import Budgets
from proxy.gates.keys import KeyRing
from proxy.gateway.capture import Capture
from proxy.gateway.credentials import credential_line
from proxy.gateway.gate import Gate
from proxy.gateway.heads import request_head, response_head
from proxy.gateway.opening import Openings
from proxy.gateway.routing import Router, build_targets
from proxy.records import Begin, BeginTemplate
from proxy.secrets import Secret


@pytest.fixture
def openings() -> Openings:
    config = Config()
    gate = Gate(config, KeyRing((), (), Secret(b"p" * 32)), Budgets(), owner="test")
    return Openings(gate, Router(build_targets(config), "openai"), config.limits)


def request(lines: bytes, *, credential: bytes | None = None) -> bytes:
    head = read_request_head(b"POST /v1/x HTTP/1.1\r\nHost: proxy\r\n" + lines + b"\r\n")
    return request_head(head, path=b"/v1/x", host=b"api.openai.com", credential=credential)


def test_hop_by_hop_and_private_headers_are_dropped() -> None:
    sent = request(
        b"Connection: close, X-Foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: a\r\n"
        b"X-Glassline-User: u\r\nContent_Length: 9\r\nAccept-Encoding: gzip\r\n"
    )
    assert sent == b"POST /v1/x HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: gzip\r\n"


def test_the_callers_credential_is_kept_or_replaced_whole() -> None:
    lines = b"Authorization: Bearer caller\r\nx-api-key: caller\r\n"
    assert b"Bearer caller" in request(lines)
    replaced = request(lines, credential=credential_line("x-api-key", b"ours"))
    assert b"caller" not in replaced
    assert b"x-api-key: ours\r\n" in replaced
    assert b"caller" not in request(lines, credential=b"")


def test_a_head_is_known_again_when_only_its_length_differs(openings: Openings) -> None:
    lines = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX: 1\r\n\r\n"
    first, length = openings.find(lines % 5)
    second, other = openings.find(lines % 70)
    assert first is second
    assert (length, other) == (5, 70)


def test_a_length_beside_chunks_is_refused_even_if_the_chunked_head_is_known(openings: Openings) -> None:
    chunked = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert openings.find(chunked)[0].head.is_chunked
    with pytest.raises(BadRequest):
        openings.find(chunked.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"))


def test_a_head_without_a_length_is_not_taken_for_one_with(openings: Openings) -> None:
    bare = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"
    with_length = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    for _ in range(2):
        assert openings.find(with_length)[1] == 3
        assert openings.find(bare)[1] is None


def test_two_lengths_are_refused_whatever_is_known(openings: Openings) -> None:
    openings.find(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    for _ in range(2):
        with pytest.raises(BadRequest):
            openings.find(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n")


def test_an_encoded_template_is_the_same_as_the_begin_it_stands_for() -> None:
    begin = Begin("id", 123, "openai", "openai", None, False, "POST", "/x", ((b"a", b"b"),), tags={"a": "b"}, attempt=3)
    made = BeginTemplate(begin).fill("other", 456, is_reserved=True, mutated=("include_usage",))
    want = msgspec.structs.replace(begin, id="other", started_at_ms=456, is_reserved=True, mutated=("include_usage",))
    assert msgspec.msgpack.decode(made, type=Begin) == want


def test_a_template_says_the_length_of_each_request() -> None:
    headers = ((b"a", b"b"), (b"Content-Length", b"5"), (b"c", b"d"))
    begin = Begin("id", 123, "openai", "openai", None, False, "POST", "/x", headers)
    template = BeginTemplate(begin)
    for length in (5, 123_456):
        made = msgspec.msgpack.decode(
            template.fill("id", 123, is_reserved=False, mutated=(), length=length), type=Begin
        )
        assert made.headers == ((b"a", b"b"), (b"Content-Length", b"%d" % length), (b"c", b"d"))
    assert msgspec.msgpack.decode(template.fill("id", 123, is_reserved=False, mutated=()), type=Begin) == begin


def test_a_response_head_loses_only_what_belongs_to_the_hop() -> None:
    head = read_response_head(
        b"HTTP/1.1 200 Fine\r\nConnection: keep-alive\r\nX-Request-Id: r\r\nalt-svc: h3\r\n"
        b"Strict-Transport-Security: max-age=1\r\nContent-Length: 5\r\nx-glassline-request-id: forged\r\n\r\n"
    )
    sent, chunked = response_head(
        head, has_body=True, is_http_1_0=False, keeps_length=True, own=b"x-own: 1\r\n", connection=b""
    )
    assert sent == b"HTTP/1.1 200 Fine\r\nX-Request-Id: r\r\nx-own: 1\r\ncontent-length: 5\r\n\r\n"
    assert not chunked


def test_a_response_to_head_keeps_its_length_and_304_has_no_chunks() -> None:
    head = read_response_head(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    sent, chunked = response_head(
        head, has_body=not has_no_body(b"GET", 304), is_http_1_0=False, keeps_length=True, own=b"", connection=b""
    )
    assert b"transfer-encoding" not in sent
    assert not chunked
    head = read_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    sent, _ = response_head(
        head, has_body=not has_no_body(b"HEAD", 200), is_http_1_0=False, keeps_length=True, own=b"", connection=b""
    )
    assert b"content-length: 5" in sent


def test_headers_with_an_underscore_pass_unless_they_pass_for_one_that_does_not() -> None:
    sent = request(
        b"session_id: abc\r\nx_api_key: k\r\nX_Glassline_User: u\r\nTransfer_Encoding: x\r\nhelicone_auth: k\r\n"
    )
    assert sent == b"POST /v1/x HTTP/1.1\r\nHost: api.openai.com\r\nsession_id: abc\r\n"


def test_headers_meant_for_other_gateways_never_leave() -> None:
    sent = request(
        b"Helicone-Auth: Bearer k\r\nHelicone-Never-Heard: 1\r\nX-LiteLLM-Tags: a\r\nx-portkey-config: {}\r\n"
        b"x-bf-vk: sk-bf\r\ncf-aig-skip-cache: true\r\nx-bt-parent: p\r\nx-title: app\r\n"
    )
    assert sent == b"POST /v1/x HTTP/1.1\r\nHost: api.openai.com\r\nx-title: app\r\n"


def test_a_capture_keeps_the_head_the_tail_and_the_hash_of_a_long_body() -> None:

    capture = Capture(10)
    taken = b""
    for piece in (b"12345", b"67890", b"abcde"):
        capture.add(piece)
        taken += capture.take()
    assert taken == b"1234567890"
    assert (capture.size, capture.tail) == (15, b"abcde")
    assert capture.sha256 == hashlib.sha256(b"1234567890abcde").digest()


@given(st.lists(st.binary(max_size=9000), max_size=12), st.integers(0, 60_000), st.data())
def test_a_capture_that_was_cut_has_the_hash_of_the_whole(pieces: list[bytes], limit: int, data: st.DataObject) -> None:
    capture, taken = Capture(limit), b""
    for piece in pieces:
        capture.add(piece)
        if data.draw(st.booleans()):
            taken += capture.take()
    taken += capture.take()
    body = b"".join(pieces)
    assert taken == body[:limit]
    assert capture.sha256 == (hashlib.sha256(body).digest() if len(body) > limit else b"")


def test_a_capture_within_the_limit_leaves_hashing_to_others() -> None:
    capture = Capture(10)
    capture.add(b"12345")
    assert capture.take() == b"12345"
    assert capture.sha256 == b""


@pytest.mark.parametrize(
    "name", ["X-Original-URL", "x-rewrite-url", "X-Original-URI", "X-Forwarded-Prefix", "X_Rewrite_URL"]
)
def test_a_header_that_names_another_path_never_leaves(name: str) -> None:
    assert b"/admin" not in request(name.encode() + b": /admin\r\n")


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        (b"", b"Cookie: \r\n"),
        (b"a=1;b=2", b"Cookie: a=1;b=2\r\n"),
        (b"a=1; glassline_session=s; b=2", b"Cookie: a=1; b=2\r\n"),
        (b"glassline_session=s", b""),
    ],
)
def test_cookies_of_the_admin_port_stay_and_all_others_pass(sent: bytes, forwarded: bytes) -> None:
    assert request(b"Cookie: " + sent + b"\r\n") == b"POST /v1/x HTTP/1.1\r\nHost: api.openai.com\r\n" + forwarded
