from __future__ import annotations

from typing import Any

import pytest

from proxy.records import Reading
from proxy.wire import read, token_times
from tests.wire.exchanges import make_exchange, sse
from tests.wire.openai.forms import form, form_exchange

TOKENS = {
    "type": "tokens",
    "input_tokens": 140,
    "input_token_details": {"text_tokens": 14, "audio_tokens": 126},
    "output_tokens": 45,
    "total_tokens": 185,
}
FORM = form(("model", "gpt-4o-transcribe"), ("prompt", "names"), ("file", b"RIFF\r\n\r\n"))


def transcribe(response: bytes | dict[str, Any], request: bytes = FORM, **more: Any) -> Reading:
    return read(form_exchange("/audio/transcriptions", request, response, **more))


def test_a_transcription_is_billed_by_tokens_or_by_seconds() -> None:
    reading = transcribe({"text": "Hello.", "usage": TOKENS})
    usage = reading.usage
    assert usage is not None
    assert (usage.input_uncached, usage.input_audio, usage.output_text) == (14, 126, 45)
    assert (reading.model_requested, reading.input_text, reading.output_text) == (
        "gpt-4o-transcribe",
        "names",
        "Hello.",
    )
    usage = transcribe({"text": "x", "usage": {"type": "duration", "seconds": 7}}).usage
    assert usage is not None
    assert (usage.input_audio_ms, usage.input_tokens) == (7000, None)


@pytest.mark.parametrize(("duration", "milliseconds"), [(8.47, 8470), ("8.470", 8470), ("soon", None), (-1, None)])
def test_without_usage_the_duration_of_the_sound_serves(duration: object, milliseconds: int | None) -> None:
    reading = transcribe({"task": "transcribe", "duration": duration, "text": "x"})
    assert (reading.usage and reading.usage.input_audio_ms) == milliseconds


@pytest.mark.parametrize("usage", [{"type": "duration"}, {"type": "duration", "seconds": -3}, {"type": "tokens"}, 3])
def test_a_usage_that_cannot_be_believed_is_unknown_even_beside_a_duration(usage: object) -> None:
    reading = transcribe({"text": "x", "duration": 5, "usage": usage})
    assert reading.usage is None
    assert any(problem.startswith("usage") for problem in reading.problems)


@pytest.mark.parametrize("content_type", [b"text/plain; charset=utf-8", b"text/vtt", b"application/x-subrip"])
def test_plain_text_and_subtitles_are_text_without_usage(content_type: bytes) -> None:
    reading = transcribe(b"1\n00:00:00,000 --> 00:00:02,000\nHi\n\n", content_type=content_type)
    assert reading.output_text == "1\n00:00:00,000 --> 00:00:02,000\nHi"
    assert (reading.usage, reading.is_streaming) == (None, False)


def test_a_transcription_streams_its_text_and_ends_with_usage() -> None:
    first, second = ({"type": "transcript.text.delta", "delta": text} for text in ("Hel", "lo."))
    done = {"type": "transcript.text.done", "text": "Hello.", "usage": TOKENS}
    request = form(("model", "gpt-4o-transcribe"), ("stream", "true"), ("file", b"RIFF"))
    body = sse(first, second, done)
    reading = transcribe(body, request)
    assert (reading.output_text, reading.has_ended) == ("Hello.", True)
    assert (reading.first_token_offset, reading.last_token_offset) == (len(sse(first)), len(sse(first, second)))
    assert reading.usage is not None
    assert reading.usage.input_audio == 126
    cut = transcribe(sse(first, second), request)
    assert (cut.output_text, cut.has_ended, cut.usage) == ("Hello.", False, None)


def test_fields_after_a_file_too_long_to_keep_are_found() -> None:
    request = form(("file", b"\0" * 20_000), ("model", "whisper-1"), ("response_format", "verbose_json"))
    reading = transcribe({"text": "x", "duration": 3}, request, capture_limit=500)
    assert (reading.model_requested, reading.problems) == ("whisper-1", ("request_cut",))


def test_a_translation_reads_like_a_transcription() -> None:
    reading = read(form_exchange("/v1/audio/translations", FORM, {"text": "Hi", "duration": 2.5}))
    assert (reading.endpoint, reading.output_text) == ("translations", "Hi")
    assert reading.usage is not None
    assert reading.usage.input_audio_ms == 2500


SPEECH = {"model": "tts-1", "input": "Grüße, Welt!", "voice": "alloy"}


def test_speech_is_timed_by_its_bytes_and_counted_by_its_characters() -> None:
    times = ((100, 7_000), (5_000, 9_000))
    exchange = make_exchange(SPEECH, b"\xff" * 5_000, path="/audio/speech", content_type=b"audio/mpeg", times=times)
    reading = read(exchange)
    assert reading.usage is not None
    assert reading.usage.input_characters == 12
    assert (reading.is_streaming, reading.input_text, reading.output_text) == (False, "Grüße, Welt!", None)
    assert token_times(exchange, reading) == (7_000, 7_000, 9_000)


def test_speech_in_events_ends_with_usage() -> None:
    delta, done = {"type": "speech.audio.delta", "audio": "eHg="}, {"type": "speech.audio.done"}
    body = sse(delta, delta, done | {"usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}})
    reading = read(make_exchange(SPEECH | {"stream_format": "sse"}, body, path="/audio/speech"))
    usage = reading.usage
    assert usage is not None
    assert (usage.input_uncached, usage.output_audio, usage.output_text) == (14, 101, 0)
    assert (reading.has_ended, reading.first_token_offset) == (True, len(sse(delta)))
    assert read(make_exchange(SPEECH | {"stream_format": "sse"}, sse(delta), path="/audio/speech")).has_ended is False


def test_a_refused_speech_consumed_nothing() -> None:
    error = {"error": {"message": "no", "type": "invalid_request_error", "code": "string_above_max_length"}}
    reading = read(make_exchange(SPEECH, error, path="/audio/speech", status=400))
    assert (reading.usage, reading.error_type) == (None, "string_above_max_length")
