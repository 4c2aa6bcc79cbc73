"""Objects that follow each other: lines, and the elements of one array."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.operations import Operation
from proxy.wire.draft import Draft
from proxy.wire.json_stream import objects
from proxy.wire.transcript import Transcript
from tests.wire.exchanges import make_exchange

Objects = st.lists(
    st.dictionaries(
        st.text(max_size=6), st.recursive(st.text() | st.integers(), lambda each: st.lists(each), max_leaves=5)
    ),
    max_size=6,
)
Gaps = st.text(" \t\r\n", max_size=4)


def transcript(body: bytes, limit: int | None = None) -> Transcript:
    operation = Operation("ollama", "chat", "tokens")
    return Transcript.of(make_exchange(b"{}", body, content_type=b"x/y", capture_limit=limit), operation, Draft())


def found(body: bytes, limit: int | None = None) -> list[Any]:
    return [json.loads(event.data) for event in objects(transcript(body, limit))]


@given(Objects, Gaps, st.booleans(), st.sampled_from([None, 0, 2]))
def test_every_element_of_an_array_is_an_event(values: list[Any], gap: str, is_open: bool, indent: int | None) -> None:
    texts = [json.dumps(value, indent=indent, ensure_ascii=False) for value in values]
    body = f"{gap}[{gap}{f'{gap},{gap}'.join(texts)}{gap}{'' if is_open else ']'}"
    assert found(body.encode()) == values


@given(Objects, st.sampled_from(["\n", "\r\n", "", " ", "\n\n", "\n\x1e"]))
def test_every_line_is_an_event(values: list[Any], gap: str) -> None:
    assert found("".join(json.dumps(value) + gap for value in values).encode()) == values


@given(Objects, st.integers(0, 400))
def test_an_event_ends_where_its_last_brace_stands(values: list[Any], cut: int) -> None:
    body = "\n".join(json.dumps(value) for value in values).encode()
    events = list(objects(transcript(body)))
    for event in events:
        assert body[: event.end_offset].endswith(event.data)
    # However much has come, what was complete stays as it is.
    before = [event for event in events if event.end_offset <= cut]
    assert list(objects(transcript(body[:cut])))[: len(before)] == before


def test_where_the_middle_was_not_kept_both_ends_are_read() -> None:
    lines = b"".join(json.dumps({"n": number, "pad": "x" * 20}).encode() + b"\n" for number in range(30))
    kept = list(objects(transcript(lines, limit=100)))
    whole = [json.loads(event.data)["n"] for event in kept if event.data.endswith(b"}")]
    assert whole == [0, 1, 28, 29]
    assert kept[-1].end_offset == len(lines) - 1


def test_what_is_no_object_is_passed_over() -> None:
    assert found(b'nonsense {"a":0}\n{"b":1}\n') == [{"b": 1}]
    assert found(b"nonsense") == []


@given(st.binary(max_size=500))
def test_hostile_bytes_are_survived(noise: bytes) -> None:
    for event in objects(transcript(noise)):
        assert 0 < event.end_offset <= len(noise)
