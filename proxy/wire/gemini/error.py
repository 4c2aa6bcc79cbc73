"""Errors of the Gemini API, and the operations of which nothing else is understood."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure as read_other_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Error(msgspec.Struct):
    """`{"code": 429, "message": "…", "status": "RESOURCE_EXHAUSTED"}`."""

    status: str | None = None
    message: str | None = None


class _Failure(msgspec.Struct):
    error: _Error | None = None


_ERROR: Final = LenientDecoder(_Error)
_FAILURE: Final = LenientDecoder(_Failure)


def take_error(raw: bytes, draft: Draft) -> None:
    """Fill in the error inside an answer that began well; empty: there is none."""
    if raw[:1] == b"{":
        error = _ERROR.decode(raw, set())
        draft.error_type = error.status or "error"
        draft.error_message = error.message


def read_failure(transcript: Transcript, draft: Draft) -> None:
    """Read the error of a response whose status is not 2xx; a stream's is the first element of an array."""
    text = transcript.response.lstrip(b" \t\r\n[")
    failure = _FAILURE.decode(text.rstrip(b" \t\r\n]") if text[:1] == b"{" else text, set())
    if failure.error is not None and failure.error.status is not None:
        draft.error_type = failure.error.status
        draft.error_message = failure.error.message
    else:
        read_other_failure(transcript, draft)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read the error, if there is one."""
    if not transcript.is_success:
        read_failure(transcript, draft)


READER: Final = Reader("gemini_other/1", read)
