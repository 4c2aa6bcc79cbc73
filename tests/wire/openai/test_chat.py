from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.records import Reading, ToolCall
from proxy.wire import read, token_times
from tests.wire.exchanges import DONE, captured, delta, make_exchange, sse

STREAMING = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def read_stream(*events: dict[str, Any] | bytes, request: dict[str, Any] | None = None, end: bytes = DONE) -> Reading:
    return read(make_exchange(request or STREAMING, sse(*events) + end))


def test_a_completion_is_read_whole() -> None:
    reading = read(captured("openai_chat"))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.cached_input_tokens) == (11, 0)
    assert (reading.usage.output_tokens, reading.usage.reasoning_tokens) == (6, 0)
    assert reading.usage_raw is not None
    assert reading.usage_raw.startswith(b'{\n    "prompt_tokens": 11,')
    assert msgspec.structs.replace(reading, usage=None, usage_raw=None) == Reading(
        reader="openai_chat/1",
        endpoint="chat",
        model_requested="gpt-4o-mini",
        model="gpt-4o-mini-2024-07-18",
        service_tier="default",
        finish_reasons=("stop",),
        response_id="chatcmpl-A1",
        input_text="héllo ☃",
        output_text="Héllo to you ☃",
    )


def test_a_stream_gives_what_the_same_completion_gives() -> None:
    reading = read(captured("openai_chat_stream"))
    assert reading.usage == read(captured("openai_chat")).usage
    assert (reading.output_text, reading.finish_reasons) == ("Héllo to you ☃", ("stop",))
    assert (reading.is_streaming, reading.has_ended, reading.problems) == (True, True, ())


def test_the_first_token_is_not_the_role_and_the_last_is_not_the_usage() -> None:
    quiet = [
        delta({"role": "assistant", "content": ""}),
        delta({"content": None}),
        {"choices": [], "prompt_filter_results": [{}]},
        delta({}, usage=USAGE),
        delta({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}),
    ]
    silence = b": OPENROUTER PROCESSING\n\n" + sse(*quiet)
    spoken = silence + sse(delta({"content": "x"}))
    last = spoken + sse(delta({"content": "y"}))
    reading = read(
        make_exchange(STREAMING, last + sse(delta({}, finish_reason="stop"), {"choices": [], "usage": USAGE}))
    )
    assert (reading.first_token_offset, reading.last_token_offset) == (len(spoken), len(last))


@pytest.mark.parametrize(
    "message",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"thinking": "x"},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "UklGRg=="}},
        {"audio": {"transcript": "x"}},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]},
        {"content": [{"type": "text", "text": "x"}]},
    ],
)
def test_model_output_of_any_kind_is_a_token(message: dict[str, Any]) -> None:
    start = sse(delta({"role": "assistant", "content": ""}))
    reading = read(make_exchange(STREAMING, start + sse(delta(message))))
    assert reading.first_token_offset == len(start + sse(delta(message)))
    assert reading.problems == ()


def test_reasoning_is_kept_apart_from_text_and_never_doubled() -> None:
    both = delta({"reasoning": "think ", "reasoning_content": "think ", "reasoning_details": [{"text": "think "}]})
    details = delta({"reasoning_details": [{"summary": "hard"}]})
    parts = delta({"content": [{"type": "thinking", "thinking": "er"}, {"type": "text", "text": "ye"}]})
    reading = read_stream(both, details, parts, delta({"content": "s"}, finish_reason="stop"))
    assert (reading.reasoning_text, reading.output_text) == ("think harder", "yes")


def test_choices_are_kept_apart_and_ordered_by_index() -> None:
    request = {**STREAMING, "n": 3}
    reading = read_stream(
        delta({"content": "b"}, index=1),
        delta({"content": "c"}, index=2),
        delta({"content": "a"}, index=0),
        delta({"content": "A"}, index=0, finish_reason="stop"),
        delta({}, index=2, finish_reason="length"),
        request=request,
        end=b"",
    )
    assert reading.output_text == "aA\nb\nc"
    assert (reading.finish_reasons, reading.has_ended) == (("stop", None, "length"), False)


def call(index: int | None, id_: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return piece | ({} if index is None else {"index": index}) | ({} if id_ is None else {"id": id_})


def test_tool_calls_are_assembled_by_choice_and_index() -> None:
    reading = read_stream(
        delta({"tool_calls": [call(0, "a", "get", "")]}, index=1),
        delta({"tool_calls": [call(0, "b", "put", "")]}, index=0),
        delta({"tool_calls": [call(1, "c", "cut", '{"z"')]}, index=0),
        delta({"tool_calls": [call(0, None, None, '{"x":')]}, index=0),
        delta({"tool_calls": [call(0, None, None, '{"y":')]}, index=1),
        delta({"tool_calls": [call(0, None, None, "1}"), call(1, None, None, ":3}")]}, index=0),
        delta({"tool_calls": [call(0, None, None, "2}")]}, index=1),
    )
    assert reading.tool_calls == (
        ToolCall(0, "put", '{"x":1}', "b"),
        ToolCall(0, "cut", '{"z":3}', "c"),
        ToolCall(1, "get", '{"y":2}', "a"),
    )


def test_servers_that_number_every_call_zero_or_not_at_all_are_understood() -> None:
    zero = read_stream(
        delta({"tool_calls": [call(0, "a", "f", "{}")]}), delta({"tool_calls": [call(0, "b", "g", "{}")]})
    )
    none = read_stream(delta({"tool_calls": [call(None, None, "f", "{}"), call(None, None, "g", "{}")]}))
    assert [made.name for made in zero.tool_calls] == ["f", "g"]
    assert [made.name for made in none.tool_calls] == ["f", "g"]


def test_tool_calls_of_a_plain_completion_are_read_in_every_dress() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "2", "type": "custom", "custom": {"name": "g", "input": "free text"}},
        {"id": "3", "type": "function", "function": {"name": "h", "arguments": {"already": "parsed"}}},
    ]
    body = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    reading = read(make_exchange({}, body))
    assert [(made.name, made.arguments) for made in reading.tool_calls] == [
        ("f", "{}"),
        ("g", "free text"),
        ("h", '{"already":"parsed"}'),
    ]
    assert (reading.output_text, reading.finish_reasons, reading.problems) == (None, ("tool_calls",), ())


def test_running_totals_of_usage_are_never_summed() -> None:
    totals = [delta({"content": "x"}, usage={**USAGE, "completion_tokens": count}) for count in (1, 2, 3)]
    reading = read_stream(*totals)
    assert reading.usage is not None
    assert reading.usage.output_tokens == 3


@pytest.mark.parametrize(
    "event", [{"choices": [], "x_groq": {"id": "r", "usage": USAGE}}, delta({}, finish_reason="stop", usage=USAGE)]
)
def test_usage_is_found_wherever_a_server_puts_it(event: dict[str, Any]) -> None:
    reading = read_stream(delta({"content": "x"}), event, delta({}, usage=None))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (5, 7)


@pytest.mark.parametrize(
    ("events", "end", "expected"),
    [
        ((delta({"content": "x"}, finish_reason="stop"),), b"", True),
        ((delta({"content": "x"}),), DONE, True),
        ((delta({"content": "x"}),), b"", False),
        ((), b"", False),
        ((delta({"content": "x"}, finish_reason="stop"),), b"data: [DONE]", True),
    ],
)
def test_a_stream_has_ended_at_its_terminal_marker(events: Any, end: bytes, expected: bool) -> None:
    assert read_stream(*events, end=end).has_ended is expected


def test_usage_in_an_event_without_its_blank_line_still_counts() -> None:
    reading = read_stream(delta({"content": "x"}), end=sse({"choices": [], "usage": USAGE}).rstrip())
    assert reading.usage is not None


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (b'{"error":{"message":"boom","type":"server_error"}}', "server_error", "boom"),
        (b'{"error":{"code":502,"message":"down","metadata":{}},"choices":[]}', "502", "down"),
        (b'{"error":"boom"}', "error", "boom"),
        (b'{"x_groq":{"error":{"message":"over"}},"choices":[]}', "error", "over"),
        (b'{"object":"error","message":"old","type":"BadRequestError","code":400}', "BadRequestError", "old"),
    ],
)
def test_an_error_inside_a_stream_is_read_and_what_came_before_kept(event: bytes, kind: str, message: str) -> None:
    reading = read_stream(delta({"content": "x"}), event)
    assert (reading.error_type, reading.error_message, reading.output_text) == (kind, message, "x")


def test_a_garbled_event_loses_only_itself() -> None:
    reading = read_stream(delta({"content": "a"}), b"{garbage", delta({"content": "b"}))
    assert (reading.output_text, reading.problems) == ("ab", ("event_json",))


def test_a_stream_labelled_as_json_and_json_for_who_asked_for_a_stream() -> None:
    stream = read(make_exchange(STREAMING, sse(delta({"content": "x"})), content_type=b"application/json"))
    plain = read(make_exchange(STREAMING, {"choices": [{"index": 0, "message": {"content": "x"}}]}))
    assert (stream.is_streaming, stream.output_text) == (True, "x")
    assert (plain.is_streaming, plain.output_text, plain.has_ended) == (False, "x", None)


def test_halves_of_a_surrogate_pair_in_two_events_find_each_other() -> None:
    reading = read_stream(
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]}', b'{"choices":[{"delta":{"content":"\\ude00"}}]}'
    )
    assert (reading.output_text, reading.problems) == ("\N{GRINNING FACE}", ())


def test_odd_characters_are_read_at_every_depth_of_the_schema() -> None:
    body = (
        b'{"choices":[{"message":{"content":[{"thinking":[{"text":"t\\ud800"}]},{"text":"c\\ud800"}],'
        b'"tool_calls":[{"id":"i","function":{"name":"f\\ud800","arguments":"{}"}}]}}]}'
    )
    reading = read(make_exchange({}, body))
    assert (reading.reasoning_text, reading.output_text) == ("t\ufffd", "c\ufffd")
    assert (reading.tool_calls, reading.problems) == ((ToolCall(0, "f\ufffd", "{}", "i"),), ())


def test_the_prompt_is_text_only() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42"},
    ]
    reading = read(make_exchange({"messages": messages, "safety_identifier": "s1"}))
    assert (reading.input_text, reading.user) == ("be kind\nwhat is this?\n42", "s1")


def test_both_ends_of_a_cut_stream_are_read_and_the_gap_named() -> None:
    events = [delta({"content": f"{number},"}) for number in range(200)]
    body = sse(*events, delta({}, finish_reason="stop"), {"choices": [], "usage": USAGE}) + DONE
    reading = read(make_exchange(STREAMING, body, capture_limit=1000))
    assert reading.usage is not None
    assert (reading.problems, reading.has_ended, reading.finish_reasons) == (
        ("response_cut",),
        True,
        ("stop",),
    )
    assert (reading.output_text or "").startswith("0,1,2,")
    assert (reading.output_text or "").endswith("198,199,")
    assert reading.last_token_offset == len(sse(*events))


def test_both_ends_of_a_cut_completion_are_read() -> None:
    body = {"id": "c", "model": "m-1", "choices": [{"index": 0, "message": {"content": "x" * 9000}}], "usage": USAGE}
    reading = read(make_exchange({}, body, capture_limit=1000))
    assert reading.usage is not None
    assert (reading.usage.output_tokens, reading.model, reading.problems) == (7, "m-1", ("response_cut",))
    assert set(reading.output_text or "") == {"x"}


def test_token_times_come_from_the_pieces_that_completed_the_events() -> None:
    role, first, last = (sse(delta(message)) for message in ({"role": "assistant"}, {"content": "a"}, {"content": "b"}))
    times = ((len(role) + 3, 100), (len(role + first) - 1, 200), (len(role + first) + 5, 300), (10_000, 400))
    exchange = make_exchange(STREAMING, role + first + last, times=times)
    assert token_times(exchange, read(exchange)) == (300, 300, 400)


def test_usage_inside_the_last_choice_is_that_of_the_answer() -> None:
    """As Moonshot streams it."""
    chunk = delta({}, finish_reason="stop")
    chunk["choices"][0]["usage"] = USAGE
    reading = read_stream(delta({"content": "x"}), chunk)
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (5, 7)


def test_an_empty_usage_does_not_undo_the_one_before() -> None:
    reading = read_stream(delta({}, finish_reason="stop", usage=USAGE), {"choices": [], "usage": {}})
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (5, 7)


def test_the_usage_of_a_last_event_longer_than_what_is_kept_of_an_end_is_found() -> None:
    """As Perplexity's, which holds what was searched."""
    spoken = [delta({"content": "w" * 50}) for _ in range(50)]
    body = sse(*spoken, {"choices": [], "search_results": "x" * 5000, "usage": USAGE})
    reading = read(make_exchange(STREAMING, body, capture_limit=1000))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (5, 7)
