"""Errors of Bedrock: the kind in a header or in the name of an exception, the message in the body."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.bedrock.event_stream import Message
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Failure(msgspec.Struct):
    message: str | None = None
    Message: str | None = None
    type: str | None = msgspec.field(name="__type", default=None)


_FAILURE: Final = LenientDecoder(_Failure)


def take_exception(message: Message, draft: Draft) -> None:
    """Fill in the exception that ends a stream."""
    draft.error_type = message.kind or message.headers.get(":error-code") or "error"
    failure = _FAILURE.decode(message.payload, set())
    draft.error_message = failure.message or failure.Message or message.headers.get(":error-message")


def read_failure(transcript: Transcript, draft: Draft) -> None:
    """Read the error of a response whose status is not 2xx."""
    failure = _FAILURE.decode(transcript.response, set())
    named = transcript.header(b"x-amzn-errortype").decode("latin-1").partition(":")[0] or failure.type
    draft.error_type = named.rpartition("#")[2] if named else None
    draft.error_message = failure.message or failure.Message


def read(transcript: Transcript, draft: Draft) -> None:
    """Read the error, if there is one."""
    if not transcript.is_success:
        read_failure(transcript, draft)


READER: Final = Reader("bedrock_other/1", read)
