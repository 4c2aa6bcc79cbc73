"""Transcriptions and translations of sound: a form in, and JSON, plain text, subtitles or events out.

Usage comes in tokens or as a duration. `verbose_json` of older servers gives only the duration of the sound, which is
what is billed. Plain text and subtitles say nothing of usage. Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.form import Number, number, read_form
from proxy.wire.openai.modality import spoken, take_modal_usage
from proxy.wire.openai.request import OpenAIRequest
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Request(OpenAIRequest):
    prompt: str | None = None


class _Answer(msgspec.Struct):
    """A whole answer, or the data of an event."""

    type: str | None = None
    model: str | None = None
    text: str | None = None
    delta: str | None = None
    duration: Number = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a transcription or a translation."""
    request = read_form(transcript, draft, _REQUEST)
    draft.input_text = request.prompt
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.content_type == b"application/json" or transcript.response.lstrip()[:1] == b"{":
        _read_json(transcript, draft)
    else:
        draft.output_text = transcript.response.decode("utf-8", "replace").strip() or None


def _read_json(transcript: Transcript, draft: Draft) -> None:
    if not transcript.response:
        return
    answer = transcript.read_response(_ANSWER, draft)
    draft.output_text = answer.text or None
    draft.model = answer.model
    read_error(bytes(answer.error), draft)
    draft.attempt("usage", take_modal_usage, bytes(answer.usage), draft, "text")
    if draft.usage is None and "usage" not in draft.problems:
        draft.usage = spoken(number(answer.duration))


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    texts: list[str] = []
    lost: set[str] = set()
    draft.has_ended = False
    for event in transcript.events():
        if event.data and event.data[:6] != b"[DONE]":
            _take(event, _ANSWER.decode(event.data, lost), draft, texts)
    note_lost(draft, "event", lost)
    draft.output_text = draft.output_text or "".join(texts) or None


def _take(event: Event, said: _Answer, draft: Draft, texts: list[str]) -> None:
    kind = said.type or event.name.decode("utf-8", "replace")
    if kind.endswith((".delta", ".segment")):
        is_text = bool(said.delta or said.text)
        draft.saw_output(event.end_offset, Output.VISIBLE if is_text else Output.NONE)
        texts.append(said.delta or "")
    elif kind.endswith(".done"):
        draft.has_ended = True
        draft.output_text = said.text or None
        draft.attempt("usage", take_modal_usage, bytes(said.usage), draft, "text")
    elif kind == "error" or bytes(said.error) not in (b"", b"null"):
        draft.has_ended = True
        nested = bytes(said.error)
        read_error(nested if nested[:1] == b"{" else event.data, draft)


READER: Final = Reader("openai_transcription/2", read)
