"""The output file of a batch, downloaded: a line for each request, with the answer and its usage.

What the lines consumed is billed with the batch, whose object says the sum; here it is read and never priced.
Any other file is somebody's data and is left alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript

_MOST_LINES: Final = 10_000
"""Lines that are looked at: what they all have in common shows in the first."""


class _Body(msgspec.Struct):
    model: str | None = None


class _Response(msgspec.Struct):
    status_code: int | None = None
    body: _Body | None = None


class _Line(msgspec.Struct):
    custom_id: str | None = None
    response: _Response | None = None


_LINE: Final = LenientDecoder(_Line)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read which model answered, if it is the output of a batch."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    lines = (text.strip() for text in transcript.response.split(b"\n", _MOST_LINES)[:_MOST_LINES])
    for text in filter(None, lines):
        line = _LINE.decode(text, set()) if text.startswith(b"{") and b'"custom_id"' in text else None
        if line is None or line.response is None:
            return
        if line.response.body is not None and line.response.body.model is not None:
            draft.model, draft.processing = line.response.body.model, "batch"
            return


READER: Final = Reader("openai_batch_output/1", read)
