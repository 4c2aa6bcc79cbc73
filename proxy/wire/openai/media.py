"""Pictures and sound: `/images/*` and `/audio/*`, with requests of JSON or forms and answers of every kind.

Usage comes as tokens, as seconds, or not at all: of a spoken answer in plain bytes only the length of its text is
known, which is what is billed for the models that bill by the character. Types: openai-python 3.52, 2026-11.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

from pricing import Usage
from pricing.usage import Count
from proxy.records import Charge
from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.multipart import fields
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Request(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_format: str | None = None
    prompt: str | None = None
    input: str | None = None
    user: str | None = None


class _Details(msgspec.Struct):
    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Usage(msgspec.Struct):
    type: str | None = None
    seconds: float | None = None
    model: str | None = None
    """Of `svg_usage`, which another model made."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    """What transcriptions call it."""
    output_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    """A whole answer, or the data of an event."""

    type: str | None = None
    model: str | None = None
    text: str | None = None
    delta: str | None = None
    duration: float | str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    svg_usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)
_USAGE: Final = LenientDecoder(_Usage)
_FORM: Final = b"multipart/form-data"
_LARGEST: Final = 10**12
_BY_CHARACTER: Final = ("tts-1", "tts-1-hd")


def read_images(transcript: Transcript, draft: Draft) -> None:
    """Read pictures: generated, edited or varied."""
    _read(transcript, draft, default="image")


def read_transcription(transcript: Transcript, draft: Draft) -> None:
    """Read a transcription or a translation of sound."""
    _read(transcript, draft, default="text")


def read_speech(transcript: Transcript, draft: Draft) -> None:
    """Read speech: bytes of sound, or events."""
    request = _read_request(transcript, draft)
    draft.is_streaming = transcript.is_event_stream(asked=request.stream_format == "sse")
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft, default="audio")
    elif request.input is not None and (request.model or "").startswith(_BY_CHARACTER):
        draft.usage = Usage(input_characters=len(request.input))


def _read(transcript: Transcript, draft: Draft, default: str) -> None:
    request = _read_request(transcript, draft)
    draft.is_streaming = transcript.is_event_stream(asked=request.stream is True)
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft, default)
    elif transcript.content_type == b"application/json" or transcript.response.lstrip()[:1] == b"{":
        answer = transcript.read_response(_ANSWER, draft)
        draft.output_text = answer.text
        _take(answer, draft, default)
    elif default == "text":
        draft.output_text = transcript.response.decode("utf-8", "replace") or None


def _read_request(transcript: Transcript, draft: Draft) -> _Request:
    if _FORM in transcript.request_type.lower():
        found = fields(transcript.request, transcript.request_type)
        request = _Request(
            model=found.get("model"),
            stream=found.get("stream", "").strip().lower() == "true",
            prompt=found.get("prompt"),
            user=found.get("user"),
        )
    else:
        request = transcript.read_request(_REQUEST, draft)
    draft.model_requested = request.model or draft.model_requested
    draft.user = request.user
    draft.input_text = request.prompt or request.input
    return request


def _read_stream(transcript: Transcript, draft: Draft, default: str) -> None:
    texts: list[str] = []
    final: str | None = None
    lost: set[str] = set()
    draft.has_ended = False
    for event in transcript.events():
        if not event.data or event.data[:6] == b"[DONE]":
            continue
        said = _ANSWER.decode(event.data, lost)
        kind = said.type or event.name.decode("utf-8", "replace")
        if kind.endswith((".delta", ".partial_image", ".completed", ".segment")):
            draft.saw_output(event.end_offset, Output.VISIBLE)
        if kind == "transcript.text.delta":
            texts.append(said.delta or "")
        if kind.endswith((".completed", ".done")):
            draft.has_ended = True
            final = said.text or final
            _take(said, draft, default)
        elif kind == "error" or bytes(said.error) not in (b"", b"null"):
            draft.has_ended = True
            read_error(bytes(said.error) or event.data, draft)
    note_lost(draft, "event", lost)
    draft.output_text = final or "".join(texts) or None


def _take(answer: _Answer, draft: Draft, default: str) -> None:
    draft.model = answer.model or draft.model
    read_error(bytes(answer.error), draft)
    draft.attempt("usage", _take_usage, answer, draft, default)


def _take_usage(answer: _Answer, draft: Draft, default: str) -> None:
    raw = bytes(answer.usage)
    if raw[:1] == b"{":
        draft.usage_raw = raw
        said = _said(raw, draft)
        draft.usage = _seconds(said.seconds) if said.type == "duration" else _tokens(said, default)
    elif (seconds := _number(answer.duration)) is not None:
        draft.usage = _seconds(seconds)  # `verbose_json` of whisper, which is billed by the minute
    drawn = bytes(answer.svg_usage)
    if drawn[:1] == b"{" and draft.usage is not None:
        other = _said(drawn, draft)
        draft.charges = (Charge(usage=draft.usage), Charge(usage=_tokens(other, "text"), model=other.model))
        draft.usage = Usage.total(charge.usage for charge in draft.charges)


def _said(raw: bytes, draft: Draft) -> _Usage:
    lost: set[str] = set()
    said = _USAGE.decode(raw, lost)
    draft.problems.update(f"usage.{name}" for name in lost)
    return said


def _seconds(seconds: float | None) -> Usage | None:
    if seconds is None or not 0 <= seconds * 1000 <= _LARGEST:
        return None
    return Usage(input_audio_ms=round(seconds * 1000))


def _number(value: float | str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _tokens(said: _Usage, default: str) -> Usage:
    """Return the buckets; output that is not split is of the kind that the operation makes."""
    given = said.input_tokens_details or said.input_token_details or _Details()
    made = said.output_tokens_details
    parts: dict[str, Count] = {
        "input_audio": given.audio_tokens or UNSET,
        "input_image": given.image_tokens or UNSET,
    }
    if made is not None:
        parts |= {"output_audio": made.audio_tokens or UNSET, "output_image": made.image_tokens or UNSET}
    elif default in ("image", "audio"):
        parts[f"output_{default}"] = said.output_tokens
    return Usage.from_totals(input_tokens=said.input_tokens, output_tokens=said.output_tokens, **parts)


IMAGES: Final = Reader("openai_images/1", read_images)
SPEECH: Final = Reader("openai_speech/1", read_speech)
TRANSCRIPTION: Final = Reader("openai_transcription/1", read_transcription)
