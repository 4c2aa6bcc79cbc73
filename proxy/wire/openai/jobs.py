"""Jobs that are billed in ways no answer tells: fine-tuning and the grading of evaluations begin here and go on alone.

What is understood is which job it was and how it stands. An evaluation's run says, once it is over, what each model
consumed. Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_error, read_failure
from proxy.wire.openai.request import OpenAIRequest
from proxy.wire.openai.usage import Count
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _ModelUsage(msgspec.Struct):
    model_name: str | None = None
    prompt_tokens: Count = None
    cached_tokens: Count = None
    completion_tokens: Count = None


class _Job(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    status: str | None = None
    per_model_usage: list[_ModelUsage] | None = None
    error: msgspec.Raw = msgspec.Raw()


_REQUEST: Final = LenientDecoder(OpenAIRequest)
_JOB: Final = LenientDecoder(_Job)
_OBJECTS: Final = frozenset({"fine_tuning.job", "eval.run"})
_OVER: Final = frozenset({"completed", "succeeded", "failed", "canceled", "cancelled"})


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a job."""
    if transcript.operation.billing == "later":
        draft.model_requested = transcript.read_request(_REQUEST, draft).model
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.response:
        job = transcript.read_response(_JOB, draft)
        if job.object in _OBJECTS:
            _take(job, draft, begins=transcript.operation.billing == "later")


def _take(job: _Job, draft: Draft, *, begins: bool) -> None:
    draft.response_id = job.id
    draft.model = job.model
    draft.finish_reasons = (job.status,)
    if job.status not in _OVER:
        draft.is_pending = begins
        return
    # A job without an error says `{"code": null, "message": null}` or null.
    if job.status == "failed":
        read_error(bytes(job.error), draft)
    draft.charges = tuple(_charge(used) for used in job.per_model_usage or ())
    if draft.charges:
        draft.billing_id = job.id
        draft.usage = Usage.total(charge.usage for charge in draft.charges)


def _charge(used: _ModelUsage) -> Charge:
    usage = Usage.from_totals(
        input_tokens=used.prompt_tokens, output_tokens=used.completion_tokens, cache_read=used.cached_tokens
    )
    return Charge(usage=usage, model=used.model_name)


READER: Final = Reader("openai_jobs/1", read)
