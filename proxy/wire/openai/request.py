"""What every request body of the OpenAI API says of itself."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.transcript import Transcript


class OpenAIRequest(msgspec.Struct):
    """The fields that all operations share."""

    model: str | None = None
    stream: bool | str | None = None
    """Text in a form."""
    user: str | None = None
    safety_identifier: str | None = None


R = TypeVar("R", bound=OpenAIRequest)


def read_request(transcript: Transcript, draft: Draft, decoder: LenientDecoder[R]) -> R:
    """Decode the request, fill in what all operations share, and decide whether the response is a stream."""
    request = transcript.read_request(decoder, draft)
    # A model in the path is a deployment, and what the body says beside it is arbitrary (Azure).
    draft.model_requested = draft.model_requested or request.model
    draft.user = request.user or request.safety_identifier
    draft.is_streaming = transcript.is_event_stream(asked=request.stream is True)
    return request
