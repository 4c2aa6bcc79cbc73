"""Pictures: `/images/generations`, `/images/edits` and `/images/variations`, plain and streamed.

Usage comes in tokens. Models that bill by the piece give none; then the pictures are counted, and their size and
quality are the charge's variant. Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft, Output
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.form import read_form
from proxy.wire.openai.modality import read_modal_usage, take_modal_usage
from proxy.wire.openai.request import OpenAIRequest
from proxy.wire.reader import Reader
from proxy.wire.sse import Event
from proxy.wire.transcript import Transcript, note_lost

_USUAL: Final = {
    "dall-e-2": ("1024x1024", "standard"),
    "dall-e-3": ("1024x1024", "standard"),
}
"""Size and quality when the request names none (API reference, 2026-11); of other models they are not fixed."""
_PICTURES: Final = (".partial_image", ".completed")


class _Request(OpenAIRequest):
    prompt: str | None = None
    size: str | None = None
    quality: str | None = None


class _Answer(msgspec.Struct):
    """A whole answer, or the data of an event."""

    type: str | None = None
    model: str | None = None
    data: list[msgspec.Raw] | None = None
    size: str | None = None
    quality: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    svg_usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_ANSWER: Final = LenientDecoder(_Answer)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read pictures: generated, edited or varied."""
    request = read_form(transcript, draft, _REQUEST)
    draft.input_text = request.prompt
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif draft.is_streaming:
        _read_stream(transcript, draft, request)
    elif transcript.response:
        answer = transcript.read_response(_ANSWER, draft)
        _take(answer, draft, request, pictures=len(answer.data or ()))


def _read_stream(transcript: Transcript, draft: Draft, request: _Request) -> None:
    lost: set[str] = set()
    draft.has_ended = False
    finished: list[_Answer] = []
    for event in transcript.events():
        if event.data and event.data[:6] != b"[DONE]":
            _take_event(event, _ANSWER.decode(event.data, lost), draft, finished)
    if transcript.response_tail and not draft.has_ended:
        # The last event holds a picture and may be longer than what is kept of an end.
        late = _ANSWER.from_members([*transcript.members_of_tail()], lost)
        if bytes(late.usage)[:1] == b"{":
            draft.has_ended = True
            finished.append(late)
    note_lost(draft, "event", lost)
    if finished:
        _take(finished[-1], draft, request, pictures=len(finished))


def _take_event(event: Event, said: _Answer, draft: Draft, finished: list[_Answer]) -> None:
    kind = said.type or event.name.decode("utf-8", "replace")
    if kind.endswith(_PICTURES):
        draft.saw_output(event.end_offset, Output.VISIBLE)
    if kind.endswith(".completed"):
        draft.has_ended = True
        finished.append(said)
    elif kind == "error" or bytes(said.error) not in (b"", b"null"):
        draft.has_ended = True
        nested = bytes(said.error)
        read_error(nested if nested[:1] == b"{" else event.data, draft)


def _take(answer: _Answer, draft: Draft, request: _Request, pictures: int) -> None:
    draft.model = answer.model or draft.model
    read_error(bytes(answer.error), draft)
    draft.attempt("usage", take_modal_usage, bytes(answer.usage), draft, "image")
    # Of an answer that was not kept whole nobody can say how many pictures it held.
    if draft.usage is None and not {"usage", "response_cut"} & draft.problems and pictures:
        draft.usage = Usage(images=pictures)
        draft.charges = (Charge(usage=draft.usage, variant=_variant(answer, request)),)
    draft.attempt("svg_usage", _take_drawing, bytes(answer.svg_usage), draft)


def _variant(answer: _Answer, request: _Request) -> str | None:
    """Return size and quality, such as `1024x1792/hd`; None: nobody said them."""
    usual_size, usual_quality = _USUAL.get(request.model or "dall-e-2", (None, None))
    size = answer.size or _chosen(request.size) or usual_size
    quality = answer.quality or _chosen(request.quality) or usual_quality
    return f"{size}/{quality}" if size and quality else None


def _chosen(value: str | None) -> str | None:
    return None if value == "auto" else value


def _take_drawing(raw: bytes, draft: Draft) -> None:
    """Add what another model consumed that wrote the picture as SVG; it is billed at that model's price."""
    drawn = read_modal_usage(raw, draft)
    usage = None if drawn is None else drawn.buckets("text")
    if drawn is None or usage is None:
        return
    whole = draft.charges or ((Charge(usage=draft.usage),) if draft.usage is not None else ())
    draft.charges = (*whole, Charge(usage=usage, model=drawn.model))
    draft.usage = Usage.total(charge.usage for charge in draft.charges)


READER: Final = Reader("openai_images/2", read)
