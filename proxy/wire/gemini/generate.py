"""Generated content: `:generateContent`, and `:streamGenerateContent` as events or as one growing array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.wire.draft import Draft, joined
from proxy.wire.gemini.content import Answer, Choices, Content
from proxy.wire.gemini.error import read_failure, take_error
from proxy.wire.gemini.usage import UsageMaximum
from proxy.wire.json_stream import objects
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost


class _Request(msgspec.Struct):
    contents: list[Content] | Content | None = None
    system_instruction: Content | None = None
    systemInstruction: Content | None = None  # noqa: N815 - the wire takes both spellings


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(Answer)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read generated content."""
    request = transcript.read_request(_REQUEST, draft)
    contents = request.contents if isinstance(request.contents, list) else [request.contents]
    draft.input_text = joined(
        [each.text for each in (request.systemInstruction, request.system_instruction, *contents) if each is not None]
    )
    draft.is_streaming = transcript.is_success and transcript.operation.is_streaming
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft)
    elif transcript.response:
        _read_answer(transcript, draft)


def _read_answer(transcript: Transcript, draft: Draft) -> None:
    answer = transcript.read_response(_ANSWER, draft)
    choices, usage = Choices(), UsageMaximum()
    choices.take(answer)
    _take_rest(answer, draft, usage)
    _finish(choices, usage, draft)


def _read_stream(transcript: Transcript, draft: Draft) -> None:
    choices, usage, lost = Choices(), UsageMaximum(), set[str]()
    for event in _events(transcript):
        if not event.data:
            continue
        answer = _ANSWER.decode(event.data, lost)
        draft.saw_output(event.end_offset, choices.take(answer))
        _take_rest(answer, draft, usage)
    # The last answer may hold a picture that is longer than what is kept of an end.
    _take_rest(_ANSWER.from_members([*transcript.members_of_tail()], lost), draft, usage)
    note_lost(draft, "event", lost)
    _finish(choices, usage, draft)
    draft.has_ended = choices.has_ended or draft.error_type is not None


def _events(transcript: Transcript) -> Iterator[Event]:
    is_sse = transcript.content_type == b"text/event-stream" or transcript.response.lstrip()[:5] == b"data:"
    return transcript.events() if is_sse else objects(transcript)


def _take_rest(answer: Answer, draft: Draft, usage: UsageMaximum) -> None:
    draft.model = answer.model_version or draft.model
    draft.response_id = draft.response_id or answer.response_id
    take_error(bytes(answer.error), draft)
    usage.add(bytes(answer.usage_metadata))


def _finish(choices: Choices, usage: UsageMaximum, draft: Draft) -> None:
    choices.finish(draft)
    draft.attempt("usage", usage.finish, draft, len(choices.queries), has_written=choices.has_written)


READER: Final = Reader("gemini_generate/1", read)
