"""Moderations: `/moderations`. Free of charge; what was asked and by which model it was judged is worth a record."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft, joined
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.content import Content, text_of
from proxy.wire.openai.error import read_failure
from proxy.wire.openai.request import OpenAIRequest, read_request
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Request(OpenAIRequest):
    input: Content = None


class _Result(msgspec.Struct):
    flagged: bool | None = None


class _Judgement(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    results: list[_Result] | None = None


_REQUEST: Final = LenientDecoder(_Request)
_JUDGEMENT: Final = LenientDecoder(_Judgement)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a moderation; a flagged input ends as `flagged`."""
    draft.input_text = joined([text_of(read_request(transcript, draft, _REQUEST).input)])
    draft.is_streaming = False
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.response:
        judgement = transcript.read_response(_JUDGEMENT, draft)
        draft.response_id, draft.model = judgement.id, judgement.model
        draft.finish_reasons = tuple("flagged" if result.flagged else "passed" for result in judgement.results or ())


READER: Final = Reader("openai_moderations/1", read)
