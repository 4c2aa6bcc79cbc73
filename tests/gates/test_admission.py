from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.gates.admission import CONTEXT_TOKENS, MAX_COUNT, PICTURE_TOKENS, Peek, confusing_field, peek, unseen
from proxy.gates.admission.members import MOST_MEMBERS
from proxy.gates.admission.openai import FIELDS
from proxy.operations import Operation


def operation(endpoint: str = "chat") -> Operation | None:
    return Operation("openai", endpoint, "tokens") if endpoint else None


def seen(body: object, endpoint: str = "chat") -> Peek:
    found = peek(body if isinstance(body, bytes) else json.dumps(body).encode(), operation(endpoint))
    assert found is not None
    return found


def test_an_ordinary_body_is_read() -> None:
    body = {
        "model": "gpt-5-mini",
        "stream": True,
        "stream_options": {"include_usage": False},
        "max_completion_tokens": 300,
        "n": 2,
        "service_tier": "flex",
        "user": "ann",
        "messages": [{"role": "user", "content": "hello", "model": "not this"}],
    }
    assert seen(body) == Peek(
        "gpt-5-mini", True, b'{"include_usage": false}', 300, 2, "flex", "ann", False, has_tools=False
    )


def test_a_body_without_anything_allows_everything() -> None:
    assert seen({}) == Peek(None, False, None, None, 1, None, None, False, has_tools=False)
    assert seen(dict.fromkeys(FIELDS)) == Peek(None, False, None, None, 1, None, None, False)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("chat", 20), ("completions", 10), ("responses", 30), ("", 30), ("something new", 30)],
)
def test_only_a_limit_that_the_endpoint_honours_counts(endpoint: str, expected: int) -> None:
    body = {"max_tokens": 10, "max_completion_tokens": 20, "max_output_tokens": 30}
    assert seen(body, endpoint).max_output_tokens == expected
    assert seen({"max_output_tokens": 1}, "chat").max_output_tokens is None


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("-1", None),
        ("0", None),
        ("1", 1),
        ("true", None),
        ("null", None),
        ('"10"', 10),
        ('" 10 "', 10),
        ('"ten"', None),
        ("10.0", 10),
        ("10.5", 11),
        ("1e3", 1000),
        ("1e308", MAX_COUNT),
        ("1e999", MAX_COUNT),
        ("-1e999", None),
        ("9223372036854775808", MAX_COUNT),
        ("18446744073709551616", MAX_COUNT),
        ("9" * 5000, MAX_COUNT),
        ("-" + "9" * 5000, None),
        ("[10]", None),
        ('{"a": 10}', None),
        ("NaN", None),
        ("Infinity", MAX_COUNT),
        ("-Infinity", None),
    ],
)
def test_hostile_numbers_are_bounded(value: str, limit: int | None) -> None:
    """A limit that is none counts as no limit; as a number of choices it counts as one."""
    found = seen(b'{"model":"m","max_tokens":%s,"n":%s}' % (value.encode(), value.encode()))
    assert (found.model, found.max_output_tokens, found.choices) == ("m", limit, limit or 1)
    again = seen(b'{"model":"m\\ud800","max_tokens":%s,"n":%s}' % (value.encode(), value.encode()))
    assert (again.max_output_tokens, again.choices) == (limit, limit or 1)


@pytest.mark.parametrize(
    ("body", "choices"),
    [
        ({"n": 10**9}, 10**9),
        ({"n": 2, "best_of": 5}, 5),
        ({"n": 3, "prompt": "one"}, 3),
        ({"n": 3, "prompt": ["one", "two"]}, 6),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": []}, 1),
        ({"n": 10**18, "prompt": ["a"] * 1000}, MAX_COUNT),
        ({"n": "2", "prompt": ["a", "b"]}, 4),
    ],
)
def test_choices_are_all_the_answers_a_request_makes(body: dict[str, Any], choices: int) -> None:
    assert seen(body, "completions").choices == choices


@pytest.mark.parametrize(
    ("value", "is_streaming"),
    [(True, True), (False, False), (None, False), ("true", True), (1, True), (0, False), ("false", False), ([], False)],
)
def test_whatever_an_upstream_may_take_for_a_stream_is_one(value: object, is_streaming: bool) -> None:
    assert seen({"stream": value}).is_streaming is is_streaming


@pytest.mark.parametrize("value", [1, True, [], {}, ["gpt-5"], 1.5])
def test_a_model_of_another_type_is_unknown_and_the_rest_is_read(value: object) -> None:
    found = seen({"model": value, "max_tokens": 5, "user": value, "service_tier": value})
    assert (found.model, found.max_output_tokens, found.user, found.service_tier) == (None, 5, None, None)


def test_a_request_that_continues_what_the_provider_keeps_is_marked() -> None:
    assert seen({"previous_response_id": "resp_1"}).refers_to_stored
    assert seen({"conversation": {"id": "conv_1"}}).refers_to_stored
    assert seen({"prompt": {"id": "pmpt_1"}}).refers_to_stored
    assert not seen({"previous_response_id": None, "conversation": None, "prompt": "text"}).refers_to_stored


def test_half_a_character_hides_nothing() -> None:
    found = seen(b'{"model":"gpt-5","n":3,"messages":[{"content":"cut off \\ud83d"}]}')
    assert (found.model, found.choices) == ("gpt-5", 3)
    name = seen(b'{"model":"gpt-5\\ud83d"}').model
    assert name == "gpt-5?"


def test_a_byte_order_mark_hides_nothing() -> None:
    assert seen(b'\xef\xbb\xbf{"model":"gpt-5"}').model == "gpt-5"


def test_a_name_is_cut_to_a_sane_length() -> None:
    assert seen({"model": "x" * 100_000}).model == "x" * 512


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"model":"a"}x',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":' + b"[" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "\xff\xfe',
        b"--boundary\r\n",
    ],
)
def test_what_cannot_be_read_is_none_and_never_an_error(body: bytes) -> None:
    assert peek(body, operation()) is None
    assert confusing_field(body, operation()) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    peek(body, operation())
    confusing_field(body, operation())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), JSON, max_size=8),
    st.sampled_from(["chat", "completions", "responses", ""]),
)
@settings(max_examples=500)
def test_no_object_raises_and_every_figure_is_bounded(body: dict[str, Any], endpoint: str) -> None:
    found = peek(json.dumps(body).encode(), operation(endpoint))
    assert found is not None
    assert 1 <= found.choices <= MAX_COUNT
    assert found.max_output_tokens is None or 1 <= found.max_output_tokens <= MAX_COUNT
    for text in (found.model, found.service_tier, found.user):
        (text or "").encode()


@given(
    members=st.lists(st.tuples(st.sampled_from(FIELDS) | st.text(max_size=6), JSON), max_size=8),
    escapes=st.booleans(),
)
@settings(max_examples=500)
def test_duplicates_are_found_exactly(members: list[tuple[str, Any]], escapes: bool) -> None:
    def spelled(name: str) -> str:
        return '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"' if escapes and name in FIELDS else json.dumps(name)

    body = "{" + ", ".join(f"{spelled(name)}: {json.dumps(value)}" for name, value in members) + "}"
    names = [name for name, _ in members if name.lower() in FIELDS]
    is_plain = len(set(names)) == len(names) and set(names) <= set(FIELDS)
    assert (confusing_field(body.encode(), operation()) is None) is is_plain


@pytest.mark.parametrize(
    ("body", "is_confusing"),
    [
        (b'{"model":"a","model":"b"}', True),
        (b'{"model":"a","mod\\u0065l":"b"}', True),
        (b'{"model":"a","Model":"b"}', True),
        (b'{"model":"a","N":128}', True),
        (b'{"model":"a","x":"\\ud800","N":128}', True),
        (b'{"n":1,"x":{"n":2},"messages":[{"n":3},{"model":"a"},{"model":"b"}]}', False),
        (b'{"messages":[{"content":"\\"model\\": \\"model\\""}],"model":"a"}', False),
        (b'{"x":1,"x":2}', False),
        (b'{"n":1,"x":"\\ud800","n":2}', True),
        (b'{"n":1,"x":NaN,"messages":[{"n":1,"m":{"n":2}}]}', False),
        (b'{"n" \t:1,"n"\r\n:2}', True),
        ('{"max_to\u212aens":1}'.encode(), True),
        (b'{"messages":[{"role":"user","content":"user"}],"user":"ada"}', False),
        (b'{"stop":"n","n":1,"logit_bias":{"n":2},"nn":3}', False),
    ],
)
def test_only_admission_fields_of_the_outermost_object_count(body: bytes, is_confusing: bool) -> None:
    assert (confusing_field(body, operation()) is not None) is is_confusing


def test_a_crowd_of_members_is_refused_and_a_crowd_within_them_is_not() -> None:
    crowd = {f"k{number}": 1 for number in range(MOST_MEMBERS)}
    assert confusing_field(json.dumps(crowd).encode(), operation()) is None
    assert confusing_field(json.dumps({"messages": [crowd] * 3, "model": "a"}).encode(), operation()) is None
    with pytest.raises(BadRequest, match="1000 members"):
        confusing_field(json.dumps({**crowd, "one": "more"}).encode(), operation())


GEMINI = Operation("gemini", "generate_content", "tokens")
MESSAGES = Operation("anthropic", "messages", "tokens")
COMPLETIONS = operation("completions")


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (operation(), b"{" + b",".join(b'"a":1' for _ in range(1_000_000)) + b"}"),
        (GEMINI, b'{"generationConfig":{' + b",".join(b'"a":1' for _ in range(1_000_000)) + b"}}"),
        (operation(), b'{"tools":[' + b",".join(b'{"type":"function"}' for _ in range(300_000)) + b"]}"),
        (MESSAGES, b'{"tools":[' + b",".join(b'{"type":"custom"}' for _ in range(300_000)) + b"]}"),
        (operation(), b'{"models":[' + b",".join(b'"a"' for _ in range(1_000_000)) + b"]}"),
        (COMPLETIONS, b'{"prompt":[' + b",".join(b'""' for _ in range(1_000_000)) + b"]}"),
        (COMPLETIONS, b'{"prompt":[' + b"1," * 1_000_000 + b"1]}"),
        (operation(), b'{"x":"\\ud800","n":[' + b"1," * 125_000 + b"1]}"),
        (operation(), b'{"max_tokens":' + b"9" * 10_000_000 + b"}"),
        (operation(), b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"),
    ],
)
def test_no_body_stops_a_gateway_for_long(operation: Operation | None, body: bytes) -> None:
    """The worst of them took seconds once; here a few megabytes have half a second of a slow machine."""
    started = time.process_time()
    found = peek(body, operation)
    with contextlib.suppress(BadRequest):
        confusing_field(body, operation)
    if found is not None:
        unseen(body, operation, found)
    assert time.process_time() - started < 0.5


def test_what_is_too_much_to_look_at_never_looks_cheaper() -> None:
    prompts = b'{"prompt":[' + b",".join(b'""' for _ in range(200_000)) + b"]}"
    assert seen(prompts, "completions").choices >= 200_000
    spaced = b'{"prompt":[' + b" " * 10_000 + b'"a","b"]}'
    assert seen(spaced, "completions").choices == 2
    assert seen({"models": ["a"] * 2000}).other_models == (None,)
    tools = {"tools": [{"type": "function"}] * 2000}
    assert unseen(json.dumps(tools).encode(), operation(), seen(tools)).tokens == CONTEXT_TOKENS
    hosted = json.dumps({"tools": [{"type": "web_search_1", "max_uses": 9_000}] * 2000}).encode()
    assert unseen(hosted, MESSAGES, seen({})).tool_calls == MAX_COUNT


@pytest.mark.parametrize(("size", "limit_us"), [(850, 3), (50_000, 30)])
def test_reading_costs_microseconds(size: int, limit_us: int) -> None:
    """Limits of the design, times five for a busy machine."""
    text = ('the model said something about the user\'s prompt, "quoted" and with\nnewlines; ' * 700)[:size]
    body = json.dumps(
        {"model": "gpt-5", "stream": True, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    ).encode()
    assert min(_seconds(body) for _ in range(30)) < 5 * limit_us * 1e-6


CHAT = operation()


def _seconds(body: bytes) -> float:
    started = time.perf_counter()
    for _ in range(20):
        peek(body, CHAT)
    return (time.perf_counter() - started) / 20


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"model":"m","messages":[]}', 0),
        (b'{"model":"m","previous_response_id":"resp_1"}', CONTEXT_TOKENS),
        (b'{"model":"m","input":[{"type":"input_file","file_id":"file_1"}]}', CONTEXT_TOKENS),
        (b'{"model":"m","input":[{"type":"input_file","file_url":"https://a/b.pdf"}]}', CONTEXT_TOKENS),
        (b'{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}', CONTEXT_TOKENS),
        (b'{"messages":[{"content":[{"type": "image_url","image_url":{"url":"https://a"}}]}]}', PICTURE_TOKENS),
        (b'{"input":[{"type":"input_image"},{"type":"input_image"}]}', 2 * PICTURE_TOKENS),
    ],
)
def test_input_that_bytes_do_not_bound_is_bounded_otherwise(body: bytes, tokens: int) -> None:
    assert unseen(body, operation(), seen(body)).tokens == tokens
