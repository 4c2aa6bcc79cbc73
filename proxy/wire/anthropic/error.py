"""Errors of the Messages API, and the operations of which nothing else is understood."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure as read_other_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Details(msgspec.Struct):
    error_code: str | None = None


class ErrorBody(msgspec.Struct):
    """`{"type": "overloaded_error", "message": "…"}`."""

    type: str | None = None
    message: str | None = None
    details: _Details | None = None


class _Failure(msgspec.Struct):
    type: str | None = None
    error: ErrorBody | None = None


_FAILURE: Final = LenientDecoder(_Failure)


def take_error(error: ErrorBody, draft: Draft) -> None:
    """Fill in an error object: its code where it has one, else its type."""
    code = error.details and error.details.error_code
    draft.error_type = code or error.type or draft.error_type
    draft.error_message = error.message or draft.error_message


def read_failure(transcript: Transcript, draft: Draft) -> None:
    """Read the error of a response whose status is not 2xx; in another's words where a gateway answered."""
    failure = _FAILURE.decode(transcript.response, set())
    if failure.error is not None and failure.error.type is not None:
        take_error(failure.error, draft)
    else:
        read_other_failure(transcript, draft)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read the error, if there is one."""
    if not transcript.is_success:
        read_failure(transcript, draft)


READER: Final = Reader("anthropic_other/1", read)
