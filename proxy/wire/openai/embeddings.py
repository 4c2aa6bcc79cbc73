"""Embeddings: `POST /embeddings`. Vectors are skipped where they stand: they are no text and nobody searches them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.wire.draft import Draft, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Request(OpenAIRequest):
    input: str | list[Any] | None = None


class _Embeddings(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_EMBEDDINGS: Final = LenientDecoder(_Embeddings)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read embeddings."""
    request = read_request(transcript, draft, _REQUEST)
    draft.is_streaming = False
    inputs = [request.input] if isinstance(request.input, str) else request.input or []
    draft.input_text = joined([text for text in inputs if isinstance(text, str)])
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.response:
        answer = transcript.read_response(_EMBEDDINGS, draft)
        draft.model = answer.model
        draft.response_id = answer.id
        read_error(bytes(answer.error), draft)
        draft.attempt("usage", read_usage, bytes(answer.usage), draft, transcript.provider, has_output=False)


READER: Final = Reader("openai_embeddings/1", read)
