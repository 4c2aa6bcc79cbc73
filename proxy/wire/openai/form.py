"""Requests that are a form or JSON: the same fields either way, but in a form every value is text."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder, Member
from proxy.wire.multipart import fields, is_form
from proxy.wire.openai.request import R
from proxy.wire.transcript import Transcript, note_lost

Number = int | float | str | None
_LARGEST: Final = 10**6


def read_form(transcript: Transcript, draft: Draft, decoder: LenientDecoder[R]) -> R:
    """Decode a request, fill in what all operations share, and decide whether the response is a stream."""
    request = _decode(transcript, draft, decoder)
    draft.model_requested = draft.model_requested or request.model
    draft.user = request.user or request.safety_identifier
    draft.is_streaming = transcript.is_event_stream(asked=truth(request.stream))
    return request


def truth(value: bool | str | None) -> bool:
    """Return what a form or JSON means by yes."""
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "1"))


def number(value: Number) -> float | None:
    """Return a number that stands in a form or in JSON; None: there is none that can be believed."""
    try:
        found = float(value) if value is not None and not isinstance(value, bool) else None
    except ValueError:
        return None
    return found if found is not None and 0 <= found <= _LARGEST else None


def _decode(transcript: Transcript, draft: Draft, decoder: LenientDecoder[R]) -> R:
    if not is_form(transcript.request_type):
        return transcript.read_request(decoder, draft)
    # Of a form whose middle was not kept, fields may stand before the file or after it.
    found = fields(transcript.request, transcript.request_type)
    found |= fields(transcript.request_tail, transcript.request_type)
    lost: set[str] = set()
    members = [Member(name, msgspec.json.encode(value), True) for name, value in found.items()]
    request = decoder.from_members(members, lost)
    note_lost(draft, "request", lost)
    return request
