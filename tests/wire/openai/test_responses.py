from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.records import Reading, ToolCall
from proxy.wire import read
from tests.wire.exchanges import captured, make_exchange, sse

STREAMING = {"model": "m", "stream": True, "input": "hi"}


def read_body(body: dict[str, Any], request: dict[str, Any] | None = None) -> Reading:
    return read(make_exchange(request or {}, body, path="/responses"))


def read_stream(*events: dict[str, Any]) -> Reading:
    return read(make_exchange(STREAMING, sse(*events), path="/responses"))


def test_a_response_is_read_whole() -> None:
    reading = read(captured("openai_responses"))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.usage.reasoning_tokens) == (7, 70, 64)
    assert msgspec.structs.replace(reading, usage=None, usage_raw=None) == Reading(
        reader="openai_responses/3",
        endpoint="responses",
        model_requested="gpt-5",
        model="gpt-5-2025-08-07",
        service_tier="default",
        finish_reasons=("completed",),
        response_id="resp_A3",
        billing_id="resp_A3",
        input_text="x",
        output_text="x is a letter",
        reasoning_text="Weigh x.",
    )


def test_a_stream_gives_what_the_same_response_gives() -> None:
    plain, streamed = read(captured("openai_responses")), read(captured("openai_responses_stream"))
    body = captured("openai_responses_stream").response.head
    assert streamed.has_ended is True
    assert streamed.first_token_offset == body.index(b"event: response.output_item.done")
    assert streamed.last_token_offset == body.index(b"event: response.output_text.done")
    same = {
        "is_streaming": False,
        "has_ended": None,
        "first_token_offset": None,
        "first_visible_offset": None,
        "last_token_offset": None,
    }
    assert msgspec.structs.replace(streamed, usage_raw=plain.usage_raw, **same) == plain


def test_a_stream_that_broke_off_gives_what_had_come() -> None:
    exchange = captured("openai_responses_stream")
    body = exchange.response.head
    cut = body[: body.index(b"event: response.output_text.done")]
    reading = read(make_exchange(exchange.request.head, cut, path="/v1/responses"))
    assert (reading.output_text, reading.reasoning_text) == ("x is a letter", "Weigh x.")
    assert (reading.has_ended, reading.usage, reading.finish_reasons) == (False, None, ("in_progress",))
    assert (reading.model, reading.response_id) == ("gpt-5-2025-08-07", "resp_A3")


def test_tool_calls_are_read_from_the_output_and_from_the_pieces() -> None:
    function = {"type": "function_call", "id": "fc", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
    custom = {"type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "text"}
    hosted = {"type": "web_search_call", "action": {"type": "search"}}
    whole = read_body({"status": "completed", "output": [hosted, function, custom]})
    assert whole.tool_calls == (ToolCall(0, "f", '{"a":1}', "call_1"), ToolCall(0, "g", "text", "call_2"))
    pieces = read_stream(
        {"type": "response.output_item.added", "output_index": 0, "item": {**function, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ":"},
    )
    assert pieces.tool_calls == (ToolCall(0, "f", '{"a":', "call_1"),)


@pytest.mark.parametrize(
    ("event", "is_token"),
    [
        ({"type": "response.output_text.delta", "delta": "x"}, True),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "response.refusal.delta", "delta": "x"}, True),
        ({"type": "response.reasoning_summary_text.delta", "delta": "x"}, True),
        ({"type": "response.code_interpreter_call_code.delta", "delta": "x"}, True),
        ({"type": "response.audio.delta", "delta": "x"}, True),
        ({"type": "response.image_generation_call.partial_image", "partial_image_b64": "x"}, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}}, True),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, False),
        ({"type": "response.content_part.added", "part": {"text": ""}}, False),
        ({"type": "response.queued", "response": {}}, False),
    ],
)
def test_only_model_output_is_a_token(event: dict[str, Any], is_token: bool) -> None:
    assert (read_stream(event).first_token_offset is not None) is is_token


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ({"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}}, "max_output_tokens"),
        ({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "m"}}}, "failed"),
    ],
)  # fmt: skip
def test_other_endings_are_endings_too(last: dict[str, Any], reason: str) -> None:
    last["response"]["usage"] = {"input_tokens": 3, "output_tokens": 4}
    reading = read_stream({"type": "response.output_text.delta", "delta": "part"}, last)
    assert reading.usage is not None
    assert (reading.has_ended, reading.finish_reasons, reading.output_text) == (True, (reason,), "part")
    assert reading.error_type == ("server_error" if reason == "failed" else None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None, "sequence_number": 1},
        {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "slow"}},
    ],
)
def test_an_error_event_flat_or_nested_ends_the_stream(event: dict[str, Any]) -> None:
    reading = read_stream(event)
    assert (reading.error_type, reading.error_message, reading.has_ended) == ("rate_limit_exceeded", "slow", True)


def test_the_name_of_an_event_serves_when_its_data_has_no_type() -> None:
    body = b'event: response.output_text.delta\ndata: {"delta":"x"}\n\nevent: response.completed\ndata: {}\n\n'
    reading = read(make_exchange(STREAMING, body, path="/responses"))
    assert (reading.output_text, reading.has_ended) == ("x", True)


def test_billed_tools_are_counted_and_what_cannot_be_counted_is_named() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    output = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "file_search_call"},
    ]
    counted = read_body({"output": output, "usage": usage}).usage
    assert counted is not None
    assert (counted.web_searches, counted.file_searches) == (1, 1)
    tools = {"web_search": {"num_requests": 4}, "image_gen": {"input_tokens": 10, "output_tokens": 900}}
    reading = read_body({"output": output, "usage": usage, "tool_usage": tools})
    assert reading.usage is not None
    assert (reading.usage.web_searches, reading.problems) == (4, ())
    drawn = reading.charges[1]
    assert (drawn.model, drawn.usage.output_image) == ("image_generation", 900)


def test_the_usage_of_a_response_with_a_picture_too_long_to_keep_is_read() -> None:
    drawing = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 50_000}
    response: dict[str, Any] = {"id": "resp_1", "model": "gpt-5", "status": "in_progress", "output": [], "usage": None}
    usage = {"input_tokens": 10, "output_tokens": 5}
    tools = {"image_gen": {"input_tokens": 3, "output_tokens": 900}}
    done = response | {"status": "completed", "output": [drawing], "usage": usage, "tool_usage": tools, "metadata": {}}
    begun = {"type": "response.created", "response": response}
    body = sse(begun, {"type": "response.completed", "response": done})
    reading = read(make_exchange(STREAMING, body, path="/responses", capture_limit=5_000))
    assert [charge.usage.output_tokens for charge in reading.charges] == [5, 900]
    assert (reading.has_ended, reading.finish_reasons, reading.billing_id) == (True, ("completed",), "resp_1")


def test_a_background_response_that_has_only_begun_has_no_usage() -> None:
    reading = read_body({"id": "r", "status": "queued", "output": [], "usage": None})
    assert (reading.usage, reading.finish_reasons, reading.problems) == (None, ("queued",), ())


def test_the_prompt_is_the_text_of_instructions_and_input() -> None:
    items = [
        {"role": "user", "content": "one"},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "two"}, {"type": "input_image"}],
        },
        {"type": "function_call_output", "call_id": "c", "output": "three"},
        {"type": "item_reference", "id": "x"},
    ]
    reading = read_body({}, {"instructions": "be kind", "input": items, "user": "u"})
    assert (reading.input_text, reading.user) == ("be kind\none\ntwo\nthree", "u")
