"""The one permitted edit: inserted into raw bytes, its answer stripped again."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.include_usage import Stripper, insert_option, is_rejection


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (b' {\n "stream" : true }', b' {"stream_options":{"include_usage":true},\n "stream" : true }'),
        (b'{"stream":true,"stream_options":null}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"stream":true,"stream_options":{}}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (
            b'{"stream":true,"stream_options": {"include_obfuscation":false}}',
            b'{"stream":true,"stream_options": {"include_usage":true,"include_obfuscation":false}}',
        ),
    ],
)
def test_the_option_is_inserted_and_nothing_else_changes(body: bytes, edited: bytes) -> None:
    assert insert_option(body) == edited
    assert json.loads(edited)["stream_options"]["include_usage"] is True


@pytest.mark.parametrize(
    "body",
    [b'{"stream":true,"stream_options":{"include_usage":false}}', b'{"stream":true,"stream_options":[]}'],
)
def test_what_is_explicit_or_odd_stays(body: bytes) -> None:
    assert insert_option(body) is None


@pytest.mark.parametrize(
    "rest",
    [
        b'"messages":[{"content":"\\"stream_options\\": null"}],"stream":true}',
        b'"tools":[{"stream_options":null}],"stream":true}',
        b'"a":"stream_options","stream":true}',
    ],
)
def test_the_name_elsewhere_in_the_body_is_not_taken_for_the_option(rest: bytes) -> None:
    assert insert_option(b"{" + rest) == b'{"stream_options":{"include_usage":true},' + rest


def test_odd_numbers_and_duplicates_keep_their_bytes() -> None:
    rest = b'"a":12345678901234567890123,"b":1e400,"c":"\\u00e9","a":1,"stream":true}'
    assert insert_option(b"{" + rest) == b'{"stream_options":{"include_usage":true},' + rest


USAGE = b'data: {"id":"x","choices":[],"usage":{"total_tokens":3}}'
CONTENT = b'data: {"choices":[{"delta":{"content":"x"}}],"usage":null}'
AZURE = b'data: {"choices":[],"prompt_filter_results":[]}'
AZURE_BOTH = b'data: {"choices":[],"prompt_filter_results":[],"usage":{"total_tokens":3}}'
DEEPSEEK = b'data: {"choices":[{"delta":{}}],"usage":{"total_tokens":3}}'


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@given(data=st.data())
def test_only_our_event_is_stripped_at_any_split(line_end: bytes, data: st.DataObject) -> None:
    kept = [AZURE, b": comment", CONTENT, AZURE_BOTH, DEEPSEEK, b"data: [DONE]"]
    sent = [AZURE, b": comment", CONTENT, AZURE_BOTH, DEEPSEEK, USAGE, b"data: [DONE]"]
    body = b"".join(event + line_end * 2 for event in sent)
    want = b"".join(event + line_end * 2 for event in kept)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=40)))
    stripper = Stripper()
    got = b"".join(stripper.feed(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True))
    assert got + stripper.close() == want
    assert stripper.stripped == 1


LONGEST = 64 * 1024


@given(
    st.integers(LONGEST - 100, LONGEST + 100) | st.integers(0, 200_000),
    st.lists(st.integers(1, 70_000), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_an_event_too_long_to_be_ours_is_passed_on_as_it_comes(size: int, cuts: list[int], line_end: bytes) -> None:
    long = b'data: {"choices":[],"usage":{"x":"' + b"y" * size + b'"}}' + line_end * 2
    kept = CONTENT + line_end * 2
    body = long + USAGE + line_end * 2 + kept
    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    stripper, got, is_ours = Stripper(), b"", len(long) <= LONGEST
    for start, end in pairwise(edges):
        got += stripper.feed(body[start:end])
        if not is_ours:
            assert end - len(got) <= LONGEST + len(USAGE) + 8
    assert got + stripper.close() == (kept if is_ours else long + kept)


def test_a_string_without_an_end_is_read_once() -> None:
    started = time.process_time()
    insert_option(b'{"stream_options":"' + b'\\"' * 500_000)
    assert time.process_time() - started < 5, "looked at again from each quote it takes minutes"


def test_complete_events_are_not_held_back() -> None:
    stripper = Stripper()
    assert stripper.feed(CONTENT + b"\n\n" + CONTENT) == CONTENT + b"\n\n"


def test_an_unfinished_last_event_is_handed_on() -> None:
    stripper = Stripper()
    assert stripper.feed(b"data: half") == b""
    assert stripper.close() == b"data: half"


def test_a_rejection_is_told_from_other_errors() -> None:
    assert is_rejection(422, b'{"detail":[{"type":"extra_forbidden"}]}')
    assert is_rejection(400, b"Unknown parameter: 'stream_options.include_usage'")
    assert not is_rejection(400, b"max_tokens is too large")
    assert not is_rejection(500, b"stream_options")
