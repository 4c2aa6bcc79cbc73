"""Addresses of the upstream come out as ours, and nothing else changes, however the bytes are split."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import parse_config
from proxy.framing import read_request_head, read_response_head
from proxy.gateway.rewrite import ResultsRewriter, ReturnPath, return_path, rewrite_head
from proxy.gateway.routing import Router, build_targets

ROUTER = Router(
    build_targets(parse_config("upstreams: {house: {base_url: 'http://127.0.0.1:9000/api/v1', allow_private: true}}")),
    "openai",
)


def path_of(target: bytes, *lines: bytes, method: bytes = b"POST", is_tls: bool = False) -> ReturnPath:
    headers = b"".join(b"%b\r\n" % line for line in lines)
    head = read_request_head(b"%b %b HTTP/1.1\r\nHost: proxy.local:8080\r\n%b\r\n" % (method, target, headers))
    route = ROUTER.find(target, method.decode())
    assert route is not None
    return return_path(head, route, is_tls=is_tls)


def rewritten(header: bytes, path: ReturnPath) -> tuple[bytes, tuple[str, ...]]:
    head = read_response_head(b"HTTP/1.1 201 Created\r\nA: b\r\n%b\r\nC: d\r\n\r\n" % header)
    before = head.lines
    edits = rewrite_head(head, path)
    assert head.lines == before, "the record must keep the upstream's bytes"
    assert head.kept.startswith(b"\r\nA: b\r\n")
    assert head.kept.endswith(b"\r\nC: d")
    return head.kept[len(b"\r\nA: b\r\n") : -len(b"\r\nC: d")], edits


US = b"http://proxy.local:8080"


@pytest.mark.parametrize(
    ("target", "address", "ours"),
    [
        # Through the root, through a name, tagged, and with what an SDK repeats of the upstream's path.
        (b"/v1/realtime/calls", b"https://api.openai.com/v1/realtime/calls/rtc_1", US + b"/v1/realtime/calls/rtc_1"),
        (
            b"/openai/realtime/calls",
            b"https://api.openai.com/v1/realtime/calls/rtc_1",
            US + b"/openai/realtime/calls/rtc_1",
        ),
        (b"/t/a:b/openai/v1/realtime/calls", b"https://api.openai.com:443/v1/x?y=1", US + b"/t/a:b/openai/v1/x?y=1"),
        (b"/openai/realtime/calls", b"/v1/realtime/calls/rtc_1", b"/openai/realtime/calls/rtc_1"),
        (b"/house/chat/completions", b"http://127.0.0.1:9000/api/v1/elsewhere#part", US + b"/house/elsewhere#part"),
        (b"/groq/openai/v1/x", b"https://API.groq.com/openai/v1/y", US + b"/groq/openai/v1/y"),
        # A server behind another's TLS calls itself http; followed, the key would cross the net in the clear.
        (b"/openai/x", b"http://api.openai.com/v1/x/", US + b"/openai/x/"),
        (b"/openai/x", b"//api.openai.com/v1/x/", US + b"/openai/x/"),
        # What leads back to us as it stands, and what is not the upstream's API.
        (b"/v1/realtime/calls", b"/v1/realtime/calls/rtc_1", None),
        (b"/openai/x", b"/v2/x", None),
        (b"/openai/x", b"/v1x", None),
        (b"/openai/x", b"relative", None),
        (b"/openai/x", b"http://api.openai.com:8080/v1/x", None),
        (b"/openai/x", b"ftp://api.openai.com/v1/x", None),
        (b"/openai/x", b"//elsewhere.example/v1/x", None),
        (b"/openai/x", b"https://api.openai.com:8443/v1/x", None),
        (b"/openai/x", b"https://api.openai.com.evil.example/v1/x", None),
        (b"/openai/x", b"https://u@api.openai.com/v1/x", None),
        (b"/openai/x", b"https://elsewhere.example/v1/x", None),
        (b"/openai/x", b"https://[broken/v1/x", None),
        (b"/openai/x", b"https://api.openai.com:port/v1/x", None),
        (b"/openai/x", b"", None),
    ],
)
def test_a_location_is_turned_when_it_points_at_the_upstreams_api(
    target: bytes, address: bytes, ours: bytes | None
) -> None:
    line, edits = rewritten(b"Location: " + address, path_of(target))
    assert (line, edits) == (b"Location: " + (ours or address), ("location",) if ours else ())


def test_the_address_of_an_upload_is_turned() -> None:
    address = b"https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=A_b-1&upload_protocol=resumable"
    for target, front in ((b"/upload/v1beta/files", b""), (b"/t/x:y/gemini/upload/v1beta/files", b"/t/x:y/gemini")):
        line, edits = rewritten(b"X-Goog-Upload-URL: " + address, path_of(target))
        want = US + front + b"/upload/v1beta/files?upload_id=A_b-1&upload_protocol=resumable"
        assert (line, edits) == (b"X-Goog-Upload-URL: " + want, ("upload_url",))


def test_the_scheme_is_the_one_the_client_used() -> None:
    address = "https://api.openai.com/v1/x"
    assert path_of(b"/v1/x", is_tls=True).turn(address) == "https://proxy.local:8080/v1/x"
    assert path_of(b"/v1/x", b"X-Forwarded-Proto: https, http").turn(address) == "https://proxy.local:8080/v1/x"
    assert path_of(b"/v1/x", b"X-Forwarded-Proto: gopher").turn(address) == "http://proxy.local:8080/v1/x"


BATCH = "https://api.anthropic.com/v1/messages/batches/msgbatch_01/results"
BODY = b'{"id":"msgbatch_01", "results_url" :\n "%b","a":"\\"results_url\\": \\"%b\\"", "b":["results_url", "x"]}' % (
    (BATCH.encode(),) * 2
)


def through(path: ReturnPath, pieces: list[bytes]) -> tuple[bytes, int]:
    rewriter = ResultsRewriter(path)
    return b"".join([rewriter.feed(piece) for piece in pieces]) + rewriter.close(), rewriter.edits


@pytest.mark.parametrize(
    ("target", "front"),
    [
        (b"/v1/messages/batches/msgbatch_01", b""),
        (b"/anthropic/v1/messages/batches?limit=2", b"/anthropic"),
        (b"/t/a:b/anthropic/v1/messages/batches/msgbatch_01/cancel", b"/t/a:b/anthropic"),
    ],
)
def test_the_results_of_a_batch_are_fetched_the_way_the_batch_was(target: bytes, front: bytes) -> None:
    if not front:
        head = read_request_head(b"GET %b HTTP/1.1\r\nHost: proxy.local:8080\r\n\r\n" % target)
        route = ROUTER.find(target, "GET", speaks="anthropic")
        assert route is not None
        path = return_path(head, route, is_tls=False)
    else:
        path = path_of(target, method=b"GET")
    ours = US + front + b"/v1/messages/batches/msgbatch_01/results"
    got, edits = through(path, [BODY])
    assert got == BODY.replace(BATCH.encode(), ours, 1)
    assert edits == 1


PATH = path_of(b"/anthropic/v1/messages/batches", method=b"GET")
ESCAPED = BODY.replace(b"https://", b"https:\\/\\/").replace(b"msgbatch_01", b"msgb\\u0061tch_01")
LIST = (
    b'{"data":[' + b",".join([BODY, ESCAPED, b'{"results_url":null}', b'{"results_url":"no","results_url":1}']) + b"]}"
)


@given(st.sampled_from([BODY, LIST, LIST + b'"results_url"', b'"results_url":"' + b"x" * 300]), st.data())
def test_any_split_of_the_bytes_gives_the_same_body(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=12)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert through(PATH, pieces) == through(PATH, [body])
    assert through(PATH, [body[at : at + 1] for at in range(len(body))]) == through(PATH, [body])


def test_a_list_of_batches_stays_json_and_changes_nowhere_else() -> None:
    got, edits = through(PATH, [LIST])
    assert edits == 2
    turned = [batch.get("results_url") for batch in json.loads(got)["data"]]
    ours = "http://proxy.local:8080/anthropic/v1/messages/batches/msgbatch_01/results"
    assert turned == [ours, ours, None, 1]
    for batch in json.loads(got)["data"][:2]:
        assert BATCH in batch["a"].replace("\\/", "/")


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_bytes_without_an_address_pass_unchanged(pieces: list[bytes]) -> None:
    assert through(PATH, pieces) == (b"".join(pieces), 0)


def test_an_endless_address_is_not_held_for_ever() -> None:
    rewriter = ResultsRewriter(PATH)
    rewriter.feed(b'{"results_url":"')
    passed = sum(len(rewriter.feed(b"x" * 1000)) for _ in range(100))
    assert passed > 80_000
