"""What is read of generated content, however it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import wire
from proxy.records import Reading
from tests.wire.coders import CODINGS, pack
from tests.wire.gemini.answers import PLAIN, STREAM, answer, array, events, exchange, read

USAGE = {"promptTokenCount": 30, "candidatesTokenCount": 5, "thoughtsTokenCount": 40, "totalTokenCount": 75}
ANSWERS = [
    answer({"text": "Let me see — ", "thought": True}, usageMetadata={"promptTokenCount": 30, "totalTokenCount": 30}),
    answer({"text": "Grüß "}, usageMetadata={"promptTokenCount": 30, "thoughtsTokenCount": 40, "totalTokenCount": 70}),
    answer({"text": "Gott 👋"}, finish="STOP", usageMetadata=USAGE),
]


def assert_is_read(reading: Reading) -> None:
    assert (reading.reader, reading.endpoint) == ("gemini_generate/1", "generate_content")
    assert (reading.model_requested, reading.model, reading.response_id) == (
        "gemini-2.5-flash",
        "gemini-2.5-flash",
        "r1",
    )
    assert (reading.output_text, reading.reasoning_text) == ("Grüß Gott 👋", "Let me see — ")
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.usage.reasoning_tokens) == (30, 45, 40)
    assert (reading.finish_reasons, reading.has_ended, reading.is_streaming) == (("STOP",), True, True)
    assert (reading.problems, reading.input_text) == ((), "hi")


def test_an_answer_in_one_piece_is_read() -> None:
    reading = read(answer({"text": "Hm", "thought": True}, {"text": "Hi"}, finish="MAX_TOKENS", usageMetadata=USAGE))
    assert (reading.output_text, reading.reasoning_text, reading.finish_reasons) == ("Hi", "Hm", ("MAX_TOKENS",))
    assert (reading.is_streaming, reading.has_ended, reading.first_token_offset) == (False, None, None)
    assert json.loads(reading.usage_raw or b"") == USAGE


def test_a_stream_of_events_is_read() -> None:
    """Case 31, at the reader: CRLF CRLF between events, usage with each, thoughts before text."""
    # An event is complete with the CR of its blank line.
    first, second = (len(events(*ANSWERS[:count])) - 1 for count in (1, 2))
    reading = read(events(*ANSWERS), path=f"{STREAM}?alt=sse")
    assert_is_read(reading)
    assert (reading.first_token_offset, reading.first_visible_offset) == (first, second)


def test_a_growing_array_is_read_as_the_same_stream() -> None:
    """Case 31, at the reader: without `alt=sse`."""
    whole = array(*ANSWERS)
    reading = read(whole, path=STREAM)
    assert_is_read(reading)
    ends = [len(array(*ANSWERS[:count]).removesuffix(b"\n]\n")) for count in (1, 2)]
    assert [reading.first_token_offset, reading.first_visible_offset] == ends
    assert whole[: ends[0]].endswith(b"}")


def test_the_first_token_of_an_array_has_the_time_of_its_object() -> None:
    whole = array(*ANSWERS)
    first = len(array(ANSWERS[0]).removesuffix(b"\n]\n"))
    played = exchange(whole, path=STREAM, times=((first - 1, 100), (first, 200), (first + 40, 300), (len(whole), 900)))
    times = wire.token_times(played, wire.read(played))
    assert (times.first, times.first_visible, times.last) == (200, 900, 900)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("layout", [events, array])
def test_a_compressed_stream_is_read_as_the_plain_one(coding: str, layout: Any) -> None:
    plain = layout(*ANSWERS)
    content_type = b"text/event-stream" if layout is events else b"application/json"
    packed = read(pack(coding, plain), path=STREAM, coding=coding.encode(), content_type=content_type)
    assert_is_read(packed)


@given(st.sampled_from(["\n", "\r\n", " ", ""]), st.sampled_from([None, 0, 1, 4]), st.booleans(), st.booleans())
def test_an_array_reads_the_same_however_it_is_laid_out(
    gap: str, indent: int | None, has_bom: bool, is_open: bool
) -> None:
    texts = [json.dumps(each, indent=indent, ensure_ascii=has_bom) for each in ANSWERS]
    whole = (gap + "[" + gap + f"{gap},{gap}".join(texts) + gap + ("" if is_open else "]")).encode()
    assert_is_read(read((b"\xef\xbb\xbf" if has_bom else b"") + whole, path=STREAM, content_type=b"application/json"))


@given(st.integers(0, 4000), st.sampled_from([events, array]))
def test_what_came_before_a_break_is_read(cut: int, layout: Any) -> None:
    whole = layout(*ANSWERS)
    reading = read(
        whole[:cut], path=STREAM, content_type=b"text/event-stream" if layout is events else b"application/json"
    )
    # Of a thought that breaks off nobody can tell any more that it was one.
    assert "Let me see — Grüß Gott 👋".startswith(
        ((reading.reasoning_text or "") + (reading.output_text or "")).rstrip("\ufffd")
    )
    if reading.usage is not None and reading.usage.output_tokens is not None:
        assert reading.usage.output_tokens <= 45
    if cut < len(layout(*ANSWERS[:2])):
        assert reading.has_ended is False


@given(
    st.binary(max_size=300),
    st.sampled_from([PLAIN, STREAM, f"{STREAM}?alt=sse"]),
    st.sampled_from([b"[", b"data: ", b"{", b""]),
)
def test_hostile_bytes_are_survived(noise: bytes, path: str, start: bytes) -> None:
    reading = read(start + noise, path=path, content_type=b"application/json")
    assert reading.endpoint == "generate_content"
    assert "reader" not in reading.problems


def test_calls_of_functions_are_read_as_they_were_written() -> None:
    body = b"""{"candidates":[{"content":{"parts":[
        {"functionCall":{"id":"c1","name":"get_weather","args":{"city": "Graz","n":12345678901234567890123}}},
        {"functionCall":{"name":"now"}}]},"finishReason":"STOP"}]}"""
    calls = read(body).tool_calls
    assert [(call.name, call.arguments, call.id) for call in calls] == [
        ("get_weather", '{"city": "Graz","n":12345678901234567890123}', "c1"),
        ("now", "{}", None),
    ]


def test_a_call_whose_arguments_are_streamed_is_one_call() -> None:
    pieces: list[dict[str, Any]] = [
        {"name": "book", "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.city", "stringValue": "Gr"}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.city", "stringValue": "az"}]},
    ]
    [call] = read(events(*[answer({"functionCall": each}) for each in pieces]), path=STREAM).tool_calls
    assert call.name == "book"
    assert "Gr" in call.arguments
    assert "az" in call.arguments


@pytest.mark.parametrize(
    "part",
    [
        {"functionCall": {"name": "f"}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
    ],
)
def test_output_that_is_no_text_is_a_first_token_as_well(part: dict[str, Any]) -> None:
    empty = answer({"text": ""})
    reading = read(events(empty, answer(part)), path=STREAM)
    assert reading.first_visible_offset == len(events(empty, answer(part))) - 1


def test_the_result_of_code_is_no_output_of_the_model() -> None:
    reading = read(events(answer({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}})), path=STREAM)
    assert reading.first_token_offset is None


def test_several_candidates_are_told_apart() -> None:
    def piece(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
        made = answer({"text": text}, finish=finish)
        made["candidates"][0]["index"] = index
        return made

    reading = read(events(piece(1, "B"), piece(0, "A"), piece(0, "a", "STOP"), piece(1, "b", "SAFETY")), path=STREAM)
    assert reading.output_text == "Aa\nBb"
    assert (reading.finish_reasons, reading.has_ended) == (("STOP", "SAFETY"), True)


def test_a_stream_without_a_reason_to_end_has_not_ended() -> None:
    reading = read(events(ANSWERS[0], ANSWERS[1]), path=STREAM)
    assert (reading.finish_reasons, reading.has_ended) == ((None,), False)


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_the_prompt_is_the_instruction_and_all_contents(name: str) -> None:
    request = {name: {"parts": [{"text": "Be brief."}]}, "contents": [{"parts": [{"text": "Why"}, {"text": "so?"}]}]}
    assert read(answer({"text": "x"}), request=request).input_text == "Be brief.\nWhy\nso?"


def test_an_error_has_the_name_that_google_gives_it() -> None:
    body = {"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}}
    reading = read(body, status=429)
    assert (reading.error_type, reading.error_message) == ("RESOURCE_EXHAUSTED", "Resource has been exhausted.")
    assert reading.usage is None


def test_the_error_of_a_stream_is_the_element_of_an_array() -> None:
    body = b'[{\n  "error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}\n}\n]'
    reading = read(body, path=STREAM, status=400)
    assert (reading.error_type, reading.is_streaming) == ("INVALID_ARGUMENT", False)


@pytest.mark.parametrize("layout", [events, array])
def test_an_error_within_a_stream_ends_it(layout: Any) -> None:
    body = layout(ANSWERS[0], {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})
    reading = read(body, path=STREAM)
    assert (reading.error_type, reading.error_message) == ("UNAVAILABLE", "The model is overloaded.")
    assert reading.has_ended is True


def test_vertex_answers_the_same_on_its_own_path() -> None:
    path = "/v1/projects/p/locations/europe-west1/publishers/google/models/gemini-2.5-pro:generateContent"
    body = answer({"text": "Hi"}, finish="STOP", usageMetadata=USAGE | {"trafficType": "ON_DEMAND"})
    reading = read(body, path=path, wire="vertex")
    assert (reading.reader, reading.model_requested, reading.service_tier) == (
        "gemini_generate/1",
        "gemini-2.5-pro",
        None,
    )


def test_claude_on_vertex_is_read_as_anthropic() -> None:
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 2},
    }
    reading = read(body, path=path, wire="vertex")
    assert (reading.endpoint, reading.model, reading.output_text) == ("messages", "claude-sonnet-4-5-20250929", "Hi")
    assert reading.usage is not None
    assert reading.usage.output_tokens == 2


@pytest.mark.parametrize("layout", [None, events, array])
def test_a_picture_longer_than_what_is_kept_does_not_hide_what_it_cost(layout: Any) -> None:
    made = [{"modality": "IMAGE", "tokenCount": 1290}]
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 1290, "totalTokenCount": 1297}
    picture = {"inlineData": {"mimeType": "image/png", "data": "A" * 50_000}}
    drawn = answer(picture, finish="STOP", usageMetadata=usage | {"candidatesTokensDetails": made})
    body = drawn if layout is None else layout(answer({"text": "Here"}), drawn)
    path = {None: PLAIN, events: f"{STREAM}?alt=sse", array: STREAM}[layout]
    reading = read(body, path=path, capture_limit=2000)
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_image) == (7, 1290)
    assert reading.model == "gemini-2.5-flash"
