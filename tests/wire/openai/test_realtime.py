from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import Usage
from proxy.records import Charge, Reading, ToolCall
from proxy.websocket import encode_frame
from proxy.wire import read
from tests.wire.sessions import GOODBYE, Said, make_session, wire_of

USAGE: dict[str, Any] = {
    "total_tokens": 1650,
    "input_tokens": 1200,
    "output_tokens": 450,
    "input_token_details": {
        "text_tokens": 200,
        "audio_tokens": 1000,
        "image_tokens": 0,
        "cached_tokens": 600,
        "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 500, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 50, "audio_tokens": 400},
}
BUCKETS = Usage(
    input_uncached=100,
    cache_read=100,
    cache_read_audio=500,
    input_audio=500,
    output_text=50,
    output_audio=400,
)
"""The sum that case 11 of the price cross-check prices by hand at 0.04304 USD."""


def session(kind: str = "session.created", **more: Any) -> dict[str, Any]:
    settings = {"id": "sess_1", "object": "realtime.session", "type": "realtime", "model": "gpt-realtime-2025-08-28"}
    return {"type": kind, "event_id": "e1", "session": settings | more}


def done(id_: str, usage: dict[str, Any] | None = USAGE, **more: Any) -> dict[str, Any]:
    output = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": f"I am {id_}."}]}
    ]
    response = {"id": id_, "object": "realtime.response", "status": "completed", "output": output, "usage": usage}
    return {"type": "response.done", "event_id": "e9", "response": response | more}


def created(id_: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": id_, "status": "in_progress", "output": [], "usage": None}}


def audio(data: str = "UklGRg==") -> dict[str, Any]:
    return {"type": "response.output_audio.delta", "response_id": "resp_1", "delta": data}


def transcribed(usage: dict[str, Any]) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": "item_1", "content_index": 0, "transcript": "Hello there.", "usage": usage}


def charges(reading: Reading) -> list[tuple[str | None, str | None]]:
    return [(charge.model, charge.id) for charge in reading.charges]


def test_every_response_is_billed_at_the_model_of_the_session() -> None:
    said: list[Said] = [
        session(),
        created("resp_1"),
        audio(),
        done("resp_1"),
        created("resp_2"),
        done("resp_2"),
        GOODBYE,
    ]
    reading = read(make_session([], said))
    assert reading.charges == tuple(
        Charge(usage=BUCKETS, model="gpt-realtime-2025-08-28", id=f"resp_{n}") for n in (1, 2)
    )
    assert reading.usage == Usage.total([BUCKETS, BUCKETS])
    assert json.loads(reading.usage_raw or b"") == [USAGE, USAGE]
    assert (reading.model_requested, reading.model) == ("gpt-realtime", "gpt-realtime-2025-08-28")
    assert (reading.endpoint, reading.reader, reading.is_streaming) == ("realtime_socket", "openai_realtime/1", True)
    assert reading.output_text == "I am resp_1.\nI am resp_2."
    assert reading.finish_reasons == ("completed", "completed")
    assert reading.problems == ()


def test_the_first_token_is_the_first_delta_of_output() -> None:
    heard = {"type": "conversation.item.input_audio_transcription.delta", "delta": "not the model's"}
    before = [session(), created("resp_1"), heard]
    reading = read(make_session([], [*before, audio(), audio(), done("resp_1")]))
    assert reading.first_token_offset == len(wire_of([*before, audio()]))
    assert reading.last_token_offset == len(wire_of([*before, audio(), audio()]))


def test_a_transcription_is_billed_at_its_own_model_by_the_token_or_by_the_second() -> None:
    settings = session("session.updated", audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}})
    tokens = {"type": "tokens", "input_tokens": 30, "output_tokens": 8, "total_tokens": 38,
              "input_token_details": {"text_tokens": 5, "audio_tokens": 25}}  # fmt: skip
    reading = read(make_session([], [session(), settings, transcribed(tokens)]))
    usage = Usage(input_uncached=5, input_audio=25, output_text=8, cache_read=None)
    assert reading.charges == (Charge(usage=usage, model="gpt-4o-mini-transcribe", id="item_1/transcription"),)
    assert reading.input_text == "Hello there."
    older = session("session.updated", input_audio_transcription={"model": "whisper-1"})
    reading = read(make_session([], [session(), older, transcribed({"type": "duration", "seconds": 2.5})]))
    usage = Usage(input_audio_ms=2500)
    assert reading.charges == (Charge(usage=usage, model="whisper-1", id="item_1/transcription"),)


def test_a_transcription_by_an_unknown_model_is_not_priced_as_the_session() -> None:
    reading = read(make_session([], [session(), transcribed({"type": "duration", "seconds": 1})]))
    assert charges(reading) == [("unknown", "item_1/transcription")]


def test_the_texts_and_calls_of_both_sides_are_read() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is the weather?"}]}
    asked: list[Said] = [
        {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
        {"type": "input_audio_buffer.append", "audio": "AAAA"},
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create"},
    ]
    call = {"type": "function_call", "name": "weather", "call_id": "call_1", "arguments": '{"city":"Oslo"}'}
    reading = read(make_session(asked, [session(), created("r"), done("r", output=[call])]))
    assert reading.input_text == "Be brief.\nWhat is the weather?"
    assert reading.tool_calls == (ToolCall(choice=0, name="weather", arguments='{"city":"Oslo"}', id="call_1"),)


def test_the_reason_of_an_incomplete_response_is_read() -> None:
    cut = done("r", status="incomplete", status_details={"type": "incomplete", "reason": "max_output_tokens"})
    assert read(make_session([], [session(), created("r"), cut])).finish_reasons == ("max_output_tokens",)


def test_the_model_comes_from_the_url_where_no_session_says_it() -> None:
    path = "/openai/realtime?api-version=2025-04-01-preview&deployment=my-realtime"
    reading = read(make_session([], [created("r"), done("r")], path=path, wire="azure", provider="azure"))
    assert charges(reading) == [("my-realtime", "r")]


def test_a_session_in_which_nobody_asked_for_anything_consumed_nothing() -> None:
    reading = read(make_session([], [session(), GOODBYE]))
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.problems) == (0, 0, ())


def test_a_response_whose_count_never_came_leaves_the_session_unaccounted() -> None:
    alone = read(make_session([], [session(), created("r"), audio()]))
    assert (alone.usage, alone.problems) == (None, ("response_unfinished",))
    second = read(make_session([], [session(), created("r"), done("r"), created("s"), audio()]))
    assert (charges(second), second.problems) == ([("gpt-realtime-2025-08-28", "r")], ("response_unfinished",))


def test_a_response_that_failed_uncounted_was_not_billed() -> None:
    failed = done("r", usage=None, status="failed", status_details={"type": "failed"}, output=[])
    reading = read(make_session([], [session(), created("r"), failed]))
    assert reading.problems == ()
    assert reading.usage is not None
    assert reading.usage.input_tokens == 0


def test_only_an_error_that_ends_the_session_is_its_error() -> None:
    error = {
        "type": "error",
        "event_id": "e",
        "error": {"type": "invalid_request_error", "code": "bad", "message": "No"},
    }
    assert read(make_session([], [session(), error, created("r"), done("r")])).error_type is None
    ended = read(make_session([], [session(), error, GOODBYE]))
    assert (ended.error_type, ended.error_message) == ("bad", "No")


def test_an_upgrade_that_was_refused_is_read_as_the_error_it_is() -> None:
    body = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded","param":null}}'
    reading = read(make_session([], [body], status=429))
    assert (reading.error_type, reading.endpoint, reading.usage) == ("rate_limit_exceeded", "realtime_socket", None)


LONG: list[Said] = [
    session(),
    *(message for n in range(12) for message in (created(f"r{n}"), *[audio("A" * 4000)] * 3, done(f"r{n}"))),
    GOODBYE,
]


@given(st.integers(0, len(wire_of(LONG))))
def test_wherever_the_capture_ends_every_response_of_a_long_session_is_billed(limit: int) -> None:
    reading = read(make_session([], LONG, limit=limit))
    assert charges(reading) == [("gpt-realtime-2025-08-28", f"r{n}") for n in range(12)]
    assert reading.usage == Usage.total([BUCKETS] * 12)
    assert "response_unfinished" not in reading.problems


def test_a_response_cut_off_beyond_the_limit_leaves_the_session_unaccounted() -> None:
    reading = read(make_session([], [*LONG[:-1], created("cut"), audio("A" * 4000)], limit=1000))
    assert len(reading.charges) == 12
    assert reading.problems == ("response_cut", "response_unfinished")


def test_what_is_kept_of_a_long_session_beyond_the_limit_is_small() -> None:
    exchange = make_session([], LONG, limit=1000)
    assert exchange.response.size > 150_000
    assert len(exchange.response.tail) < 12 * 1200


def test_a_count_behind_megabytes_of_output_is_kept() -> None:
    text = [{"type": "message", "content": [{"type": "output_text", "text": 'a "usage" of words ' * 20_000}]}]
    reading = read(make_session([], [session(), created("big"), done("big", output=text)], limit=0))
    assert charges(reading) == [("gpt-realtime-2025-08-28", "big")]
    assert reading.usage == BUCKETS
    assert reading.finish_reasons == ("completed",)


@given(st.integers(0, len(wire_of(LONG))))
def test_an_interrupted_session_is_read_as_far_as_it_was_kept(cut: int) -> None:
    said = wire_of(LONG)[:cut]
    reading = read(make_session([], [said], status=None, outcome="interrupted"))
    known = [n for n in range(12) if wire_of([done(f"r{n}")]) in said]
    assert [id_ for _, id_ in charges(reading)] == [f"r{n}" for n in known]


@given(st.binary(max_size=300))
def test_no_message_whatever_raises(data: bytes) -> None:
    reading = read(make_session([encode_frame(1, data)], [encode_frame(1, data), done("r")]))  # type: ignore[arg-type]  # TEXT
    assert "reader" not in reading.problems
    assert charges(reading) == [("gpt-realtime", "r")]


@pytest.mark.parametrize("counts", [{"input_tokens": -1}, {"input_tokens": "many"}, {"output_tokens": None}])
def test_an_unusable_count_is_unknown_and_never_nothing(counts: dict[str, Any]) -> None:
    reading = read(make_session([], [session(), created("r"), done("r", usage=USAGE | counts)]))
    assert reading.usage is not None
    assert None in (reading.usage.input_tokens, reading.usage.output_tokens)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.done", "response": {"id": "resp_9", "status": "completed", "usage": None}},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_9", "transcript": "hi"},
    ],
)
def test_what_ended_without_a_usage_is_unknown_and_not_free(event: dict[str, Any]) -> None:
    reading = read(make_session([], [event]))
    assert reading.usage is None
    assert "response_unfinished" in reading.problems


def test_a_response_whose_end_is_said_twice_is_billed_once() -> None:
    once, twice = (read(make_session([], [session(), created("r1"), *[done("r1")] * n, GOODBYE])) for n in (1, 2))
    assert twice.usage == once.usage
    assert len(twice.charges) == 1
