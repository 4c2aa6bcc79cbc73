"""Speech: `/audio/speech`, whose answer is sound, in plain bytes or in events.

Events end with a usage in tokens. Of plain bytes only the length of the text is known, which is what models are billed
by that bill by the character. Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.modality import take_modal_usage
from proxy.wire.openai.request import OpenAIRequest
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Request(OpenAIRequest):
    stream_format: str | None = None
    input: str | None = None


class _Said(msgspec.Struct):
    """The data of an event."""

    type: str | None = None
    audio: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_SAID: Final = LenientDecoder(_Said)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read speech."""
    request = transcript.read_request(_REQUEST, draft)
    draft.model_requested = draft.model_requested or request.model
    draft.user = request.user or request.safety_identifier
    draft.input_text = request.input
    draft.is_streaming = transcript.is_event_stream(asked=request.stream_format == "sse")
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.response:
        _read_sound(transcript, draft, request)


def _read_sound(transcript: Transcript, draft: Draft, request: _Request) -> None:
    """Note when sound came: every byte of the answer is model output."""
    draft.saw_output(1)
    draft.last_token_offset = transcript.response_size
    if request.input is not None:
        draft.usage = Usage(input_characters=len(request.input))


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    lost: set[str] = set()
    draft.has_ended = False
    for event in transcript.events():
        if event.data and event.data[:6] != b"[DONE]":
            _take(event, _SAID.decode(event.data, lost), draft)
    note_lost(draft, "event", lost)


def _take(event: Event, said: _Said, draft: Draft) -> None:
    kind = said.type or event.name.decode("utf-8", "replace")
    if kind.endswith(".delta"):
        has_sound = bytes(said.audio) not in (b"", b"null", b'""')
        draft.saw_output(event.end_offset, Output.VISIBLE if has_sound else Output.NONE)
    elif kind.endswith(".done"):
        draft.has_ended = True
        draft.attempt("usage", take_modal_usage, bytes(said.usage), draft, "audio")
    elif kind == "error" or bytes(said.error) not in (b"", b"null"):
        draft.has_ended = True
        nested = bytes(said.error)
        read_error(nested if nested[:1] == b"{" else event.data, draft)


READER: Final = Reader("openai_speech/2", read)
