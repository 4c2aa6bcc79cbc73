"""Ollama's own API: lines, the last of which may leave a count out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import wire
from proxy.records import Reading
from tests.wire.coders import CODINGS, pack
from tests.wire.exchanges import make_exchange

CHAT = {
    "model": "llama3.2",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
}
NDJSON = b"application/x-ndjson"


def line(**data: Any) -> bytes:
    return json.dumps({"model": "llama3.2", "created_at": "2026-11-21T00:00:00Z", **data}).encode() + b"\n"


def said(text: str = "", **message: Any) -> bytes:
    return line(message={"role": "assistant", "content": text, **message}, done=False)


def last(**counts: int) -> bytes:
    end = {"done": True, "done_reason": "stop", "total_duration": 10**9, "eval_duration": 10**8}
    return line(message={"role": "assistant", "content": ""}, **end, **counts)


def read(response: bytes, request: Any = CHAT, *, path: str = "/api/chat", **more: Any) -> Reading:
    fields: dict[str, Any] = {"path": path, "wire": "ollama", "provider": None, "content_type": NDJSON}
    return wire.read(make_exchange(request, response, **fields | more))


WHOLE = said(thinking="Hm. ") + said("Grüß ") + said("Gott 👋") + last(prompt_eval_count=26, eval_count=9)


def assert_is_read(reading: Reading) -> None:
    assert (reading.reader, reading.endpoint, reading.model) == ("ollama_chat/1", "chat", "llama3.2")
    assert (reading.input_text, reading.output_text, reading.reasoning_text) == (
        "Be brief.\nhi",
        "Grüß Gott 👋",
        "Hm. ",
    )
    assert (reading.is_streaming, reading.has_ended, reading.finish_reasons) == (True, True, ("stop",))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.problems) == (26, 9, ())


def test_who_does_not_say_stream_gets_lines() -> None:
    """Case 35, at the reader."""
    reading = read(WHOLE)
    assert_is_read(reading)
    first = len(said(thinking="Hm. ")) - 1
    assert (reading.first_token_offset, reading.first_visible_offset) == (first, first + len(said("Grüß ")))


@pytest.mark.parametrize("coding", CODINGS)
def test_compressed_lines_are_read_as_plain_ones(coding: str) -> None:
    assert_is_read(read(pack(coding, WHOLE), coding=coding.encode()))


def test_a_missing_count_is_unknown_and_not_nothing() -> None:
    """Case 35, at the reader: a prompt that was still in memory is not counted."""
    reading = read(said("Hi") + last(eval_count=2))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (None, 2)
    assert json.loads(reading.usage_raw or b"") == {"eval_count": 2}
    assert read(said("Hi") + last()).usage is None


@pytest.mark.parametrize("count", [-1, 10**40, "9", 2.5])
def test_a_count_that_cannot_be_one_is_unknown(count: Any) -> None:
    reading = read(said("Hi") + last(prompt_eval_count=count, eval_count=2))
    assert reading.usage is not None
    assert reading.usage.input_tokens is None
    assert "event.prompt_eval_count" in reading.problems


def test_an_error_line_ends_the_stream_as_an_error() -> None:
    """Case 35, at the reader."""
    reading = read(said("Hel") + b'{"error":"model runner has unexpectedly stopped"}\n')
    assert (reading.error_type, reading.error_message) == ("error", "model runner has unexpectedly stopped")
    assert (reading.has_ended, reading.output_text, reading.usage) == (True, "Hel", None)


def test_lines_without_a_last_one_have_not_ended() -> None:
    reading = read(said("Hel") + said("lo"))
    assert (reading.has_ended, reading.finish_reasons, reading.usage) == (False, (), None)


def test_one_object_is_an_answer() -> None:
    body = line(
        message={"content": "Hi", "thinking": "Hm"}, done=True, done_reason="length", prompt_eval_count=3, eval_count=1
    )
    reading = read(body, CHAT | {"stream": False}, content_type=b"application/json")
    assert (reading.is_streaming, reading.has_ended, reading.first_token_offset) == (False, None, None)
    assert (reading.output_text, reading.finish_reasons) == ("Hi", ("length",))


def test_calls_are_read_as_they_were_written() -> None:
    call = b'{"model":"m","message":{"tool_calls":[{"function":{"name":"f","arguments":{"n": 1.10}}},{"function":{"name":"g"}}]}}\n'
    reading = read(call + last(eval_count=2))
    assert [(each.name, each.arguments) for each in reading.tool_calls] == [("f", '{"n": 1.10}'), ("g", "{}")]
    assert reading.first_visible_offset == len(call) - 1


def test_a_completion_is_read_as_well() -> None:
    body = (
        line(thinking="Hm", response="", done=False)
        + line(response="Hi", done=False)
        + line(response="", done=True, eval_count=4)
    )
    reading = read(body, {"model": "llama3.2", "system": "s", "prompt": "p"}, path="/api/generate")
    assert (reading.endpoint, reading.input_text) == ("completions", "s\np")
    assert (reading.output_text, reading.reasoning_text, reading.has_ended) == ("Hi", "Hm", True)


def test_embeddings_have_input_only() -> None:
    body = line(embeddings=[[0.1, 0.2]], total_duration=1, prompt_eval_count=8)
    reading = read(
        body, {"model": "all-minilm", "input": ["a", "b"]}, path="/api/embed", content_type=b"application/json"
    )
    assert (reading.reader, reading.is_streaming, reading.input_text) == ("ollama_embeddings/1", False, "a\nb")
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (8, None)
    assert read(line(embedding=[0.1]), {"model": "m", "prompt": "a"}, path="/api/embeddings").usage is None


def test_a_refusal_has_its_message() -> None:
    reading = read(
        b'{"error":"model \\"x\\" not found, try pulling it first"}', status=404, content_type=b"application/json"
    )
    assert reading.error_message == 'model "x" not found, try pulling it first'
    assert (reading.is_streaming, reading.usage) == (False, None)


@given(st.integers(0, len(WHOLE) - 1))
def test_what_came_before_a_break_is_read(cut: int) -> None:
    reading = read(WHOLE[:cut])
    assert "Grüß Gott 👋".startswith((reading.output_text or "").rstrip("\ufffd"))
    if b'"done": true' not in WHOLE[:cut]:
        assert (reading.has_ended, reading.usage) == (False, None)


@given(
    st.binary(max_size=300),
    st.sampled_from(["/api/chat", "/api/generate", "/api/embed"]),
    st.sampled_from([b"{", b"", b"["]),
)
def test_hostile_bytes_are_survived(noise: bytes, path: str, start: bytes) -> None:
    assert "reader" not in read(start + noise, path=path).problems
