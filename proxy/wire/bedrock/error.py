"""Errors of Bedrock: the kind in a header or in the name of a frame, the message in the body."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.eventstream import Frame
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure as read_other_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Failure(msgspec.Struct):
    """`Message` is how the layers in front of the service spell it."""

    message: str | None = None
    other_message: str | None = msgspec.field(name="Message", default=None)
    type: str | None = msgspec.field(name="__type", default=None)
    code: str | None = None


_FAILURE: Final = LenientDecoder(_Failure)


def take_failure(frame: Frame, draft: Draft) -> None:
    """Fill in the failure that ends a stream: an exception of the service, or an error of the layers below."""
    failure = _FAILURE.decode(frame.payload, set())
    draft.error_type = frame.kind or frame.headers.get(":error-code") or "error"
    draft.error_message = failure.message or failure.other_message or frame.headers.get(":error-message")


def read_failure(transcript: Transcript, draft: Draft) -> None:
    """Read the error of a response whose status is not 2xx; in another's words where a gateway answered."""
    failure = _FAILURE.decode(transcript.response, set())
    draft.error_message = failure.message or failure.other_message
    if draft.error_message is None:
        read_other_failure(transcript, draft)
    # As botocore reads it: `aws.protocoltests#Kind:http://…`, of which only the kind counts.
    named = transcript.header(b"x-amzn-errortype").decode("latin-1") or failure.type or failure.code or ""
    draft.error_type = named.partition(":")[0].rpartition("#")[2] or draft.error_type


def read(transcript: Transcript, draft: Draft) -> None:
    """Read the error, if there is one."""
    if not transcript.is_success:
        read_failure(transcript, draft)


READER: Final = Reader("bedrock_other/1", read)
