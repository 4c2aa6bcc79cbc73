"""Videos: a job whose object says how many seconds of which size are made, and when it is done.

Nothing is billed for a video that fails. So the request that begins one is pending, and whoever sees it completed pays,
once for each video. Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.form import Number, number, read_form
from proxy.wire.openai.request import OpenAIRequest
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Request(OpenAIRequest):
    prompt: str | None = None


class _Video(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    status: str | None = None
    seconds: Number = None
    size: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(_Request)
_VIDEO: Final = LenientDecoder(_Video)
_UNFINISHED: Final = frozenset({"queued", "in_progress"})


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a video job; lists of them say nothing that the jobs do not say themselves."""
    if transcript.operation.billing != "nothing":
        draft.input_text = read_form(transcript, draft, _REQUEST).prompt
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.response:
        video = transcript.read_response(_VIDEO, draft)
        if video.object == "video":
            _take(video, draft)


def _take(video: _Video, draft: Draft) -> None:
    draft.response_id = video.id
    draft.model = video.model
    draft.finish_reasons = (video.status,)
    read_error(bytes(video.error), draft)
    seconds = number(video.seconds)
    if video.status in _UNFINISHED:
        draft.is_pending = True
    elif video.status == "failed" or (video.status == "completed" and seconds is not None):
        # That nothing was made has to be said as well: somebody awaits it.
        draft.usage = Usage(video_ms=round(seconds * 1000) if seconds and video.status == "completed" else 0)
        draft.charges = (Charge(usage=draft.usage, id=video.id, variant=video.size),)
        draft.billing_id = video.id


READER: Final = Reader("openai_videos/1", read)
