"""The real openai SDK finds nothing to complain about."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from openai.types.responses import (
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseReasoningItem,
    ResponseTextDeltaEvent,
)
from pydantic import BaseModel

from pricing.tokens import count_text
from tests.harness import Simulator

MESSAGES: list[Any] = [{"role": "user", "content": "What do you see through the window?"}]
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
    },
}
TOOLS: list[Any] = [{"type": "function", "function": WEATHER}]


def test_a_plain_answer_has_the_dated_model_and_the_usage_of_its_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == count_text(answer.choices[0].message.content or "", "gpt-4o-mini") > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_answer_begins_with_the_role_and_ends_with_the_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    first, *middle, last, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in middle)
    assert usage.usage.completion_tokens == count_text(text, "gpt-4o") == len(middle)


def test_without_include_usage_no_chunk_speaks_of_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert all("usage" not in chunk.model_fields_set and chunk.choices for chunk in chunks)


def test_streamed_and_plain_answers_to_n_choices_add_up(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, n=3)
    assert [choice.index for choice in plain.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in plain.choices}) == 3
    assert plain.usage is not None
    assert plain.usage.completion_tokens == sum(
        count_text(choice.message.content or "", "gpt-4o") for choice in plain.choices
    )
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert all(texts)


def test_an_agent_calls_a_tool_and_then_answers(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(model="gpt-4.1", messages=MESSAGES, tools=TOOLS)
    assert asked.choices[0].finish_reason == "tool_calls"
    (call,) = asked.choices[0].message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"location", "unit"}
    history = [*MESSAGES, asked.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answered = client.chat.completions.create(model="gpt-4.1", messages=history, tools=TOOLS)
    assert answered.choices[0].finish_reason == "stop"
    assert answered.choices[0].message.content


def test_tool_arguments_are_streamed_in_pieces_that_the_sdk_puts_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES, tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.delta") > 3
    (call,) = final.choices[0].message.tool_calls or []
    assert set(json.loads(call.function.arguments)) == {"location", "unit"}


def test_a_tool_forced_by_name_is_called_and_none_means_none(client: openai.OpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
    named: Any = {"type": "function", "function": {"name": "other"}}
    forced = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=[*TOOLS, other], tool_choice=named)
    (call,) = forced.choices[0].message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "other"
    free = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS, tool_choice="none")
    assert free.choices[0].message.tool_calls is None


def test_a_structured_output_parses_into_its_model(client: openai.OpenAI) -> None:
    class Place(BaseModel):
        city: str
        population: int

    class Trip(BaseModel):
        places: list[Place]
        is_booked: bool

    parsed = client.chat.completions.parse(model="gpt-4o", messages=MESSAGES, response_format=Trip)
    trip = parsed.choices[0].message.parsed
    assert trip is not None
    assert trip.places
    response = client.responses.parse(model="gpt-4o", input="Plan a trip", text_format=Trip)
    assert response.output_parsed is not None


def test_a_reasoning_model_bills_what_it_does_not_show(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, reasoning_effort="low")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 64
    assert answer.usage.completion_tokens == 64 + count_text(answer.choices[0].message.content or "", "gpt-5-mini")


def test_the_legacy_endpoint_stops_after_sixteen_tokens_per_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["Once", "Twice"])
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 32
    streamed = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", max_tokens=5, stream=True)
    assert count_text("".join(chunk.choices[0].text for chunk in streamed), "gpt-3.5-turbo-instruct") == 5


def test_a_response_streams_the_whole_sequence_of_events(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="gpt-5", input="Hello", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    order = [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]
    assert order[2:] == [
        "response.output_item.added",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(range(len(events)))
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    assert last.response.usage is not None
    text = "".join(event.delta for event in events if isinstance(event, ResponseTextDeltaEvent))
    assert last.response.output_text == text
    hidden = last.response.usage.output_tokens_details.reasoning_tokens
    assert hidden > 0
    assert last.response.usage.output_tokens == hidden + count_text(text, "gpt-5")


def test_a_response_calls_a_function(client: openai.OpenAI) -> None:
    flat: list[Any] = [{"type": "function", **WEATHER, "strict": False}]
    response = client.responses.create(model="gpt-4o", input="Weather?", tools=flat, tool_choice="required")
    (call,) = response.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert json.loads(call.arguments)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    answered = client.responses.create(model="gpt-4o", input=[call.to_dict(), result], tools=flat)  # type: ignore[list-item]  # the SDK takes plain objects
    assert answered.output_text


def test_a_response_streams_its_reasoning_summary_and_its_function_calls(client: openai.OpenAI) -> None:
    flat: list[Any] = [{"type": "function", **WEATHER, "strict": False}]
    with client.responses.stream(
        model="gpt-5", input="Weather?", tools=flat, extra_headers={"x-simulate": "reasoning=12; tools=2"}
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds.count("response.reasoning_summary_text.delta") == 12
    assert kinds.count("response.function_call_arguments.done") == 2
    assert kinds.count("response.function_call_arguments.delta") > 4
    reasoning, *calls = final.output
    assert isinstance(reasoning, ResponseReasoningItem)
    assert count_text(reasoning.summary[0].text, "gpt-5") == 12
    billed = 12
    for call in calls:
        assert isinstance(call, ResponseFunctionToolCall)
        assert set(json.loads(call.arguments)) == {"location", "unit"}
        billed += count_text(call.name, "gpt-5") + count_text(call.arguments, "gpt-5")
    assert final.usage is not None
    assert final.usage.output_tokens == billed


def test_the_legacy_endpoint_streams_its_usage_when_asked(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model="gpt-3.5-turbo-instruct",
            prompt="Once",
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-simulate": "hidden-reasoning=4"},
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 16
    assert count_text("".join(chunk.choices[0].text for chunk in chunks[:-1]), "gpt-3.5-turbo-instruct") == 12


def test_a_response_cut_by_its_limit_is_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-4o", input="Hello", max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(model="gpt-4o", input="Hello", max_output_tokens=16, stream=True))
    assert events[-1].type == "response.incomplete"


def test_embeddings_are_unit_vectors_of_the_length_asked_for(client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="text-embedding-3-small", input=["a window", "a door"], dimensions=256)
    assert [len(item.embedding) for item in made.data] == [256, 256]
    assert made.data[0].embedding != made.data[1].embedding
    assert math.isclose(math.hypot(*made.data[0].embedding), 1, rel_tol=1e-4)
    assert made.usage.prompt_tokens == sum(
        count_text(text, "text-embedding-3-small") for text in ("a window", "a door")
    )


def test_embeddings_have_the_natural_length_of_their_model_in_either_encoding(client: openai.OpenAI) -> None:
    lengths = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
    for model, length in lengths.items():
        as_text = client.embeddings.create(model=model, input="same", encoding_format="float").data[0].embedding
        as_bytes = client.embeddings.create(model=model, input="same").data[0].embedding
        assert len(as_text) == length
        assert as_text == pytest.approx(as_bytes)


def test_a_file_comes_back_byte_for_byte_until_it_is_deleted(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 3 + b"\r\n--not-the-boundary\r\n\r\n"
    made = client.files.create(file=("batch ☃.bin", content), purpose="batch")
    assert made.bytes == len(content)
    assert made.purpose == "batch"
    assert client.files.content(made.id).read() == content
    assert client.files.retrieve(made.id).filename == made.filename
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o-mini", "gpt-5", "o3", "text-embedding-3-large"} <= set(names)
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_any_model_name_is_answered_under_that_name(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="my/own:model", messages=MESSAGES).model == "my/own:model"


@pytest.mark.parametrize(
    ("status", "exception"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_a_status_raises_the_natural_exception(
    client: openai.OpenAI, status: int, exception: type[openai.APIStatusError]
) -> None:
    with pytest.raises(exception) as caught:
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, extra_headers={"x-simulate": f"status={status}; retry-after=7"}
        )
    assert caught.value.response.headers["retry-after"] == "7"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]


def test_the_sdk_retries_a_rate_limit_and_says_so(provider: Simulator) -> None:
    before = len(provider.truth("done"))
    with (
        openai.OpenAI(base_url=provider.url, api_key="sk-retry-0123456789", max_retries=1) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, extra_headers={"x-simulate": "status=429; retry-after=0"}
        )
    attempts = [line for line in provider.wait_for_truth(before + 2, "done")[before:] if line["status"] == 429]
    assert [line["x_request"]["x-stainless-retry-count"] for line in attempts] == ["0", "1"]
    assert len({line["request_sha256"] for line in attempts}) == 1


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"model": "gpt-4o", "messages": []}, "messages"),
        ({"model": "gpt-4o", "messages": MESSAGES, "n": 0}, "n"),
        ({"model": "gpt-4o", "messages": MESSAGES, "max_tokens": "many"}, "max_tokens"),
        ({"model": "gpt-4o", "messages": MESSAGES, "stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_malformed_request_is_refused_by_the_name_of_what_is_wrong(
    client: openai.OpenAI, call: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**call)
    assert caught.value.param == param


def test_include_usage_is_an_unknown_parameter_of_responses(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="x", stream=True, stream_options=options)
    assert caught.value.code == "unknown_parameter"


def test_an_error_in_the_middle_of_a_stream_reaches_the_application(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, extra_headers={"x-simulate": "error=5"}
    )
    seen: list[Any] = []
    with pytest.raises(openai.APIError):
        seen.extend(stream)
    assert len(seen) == 5


def test_a_connection_reset_in_the_middle_of_a_stream_is_a_connection_error(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, extra_headers={"x-simulate": "cut=5"}
    )
    seen: list[Any] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(stream)
    assert len(seen) == 5


def test_unknown_paths_get_the_error_envelope(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/nothing", cast_to=object)
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.get("/files/a/b/c", cast_to=object)


def test_every_prefix_before_v1_is_accepted(provider: Simulator) -> None:
    base = provider.url.removesuffix("/v1") + "/t/team:search/openai/v1"
    with openai.OpenAI(base_url=base, api_key="sk-prefix-0123456789", max_retries=0) as client:
        assert client.models.retrieve("o3").id == "o3"
