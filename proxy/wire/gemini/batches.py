"""Batches: `:batchGenerateContent` begins a job; the job, or the file it wrote, holds an answer for each request.

Each answer has its own usage and id. It is billed once, however often the job is looked at or its file fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft
from proxy.wire.gemini.content import Answer, Choices
from proxy.wire.gemini.error import read_failure
from proxy.wire.gemini.usage import UsageMaximum
from proxy.wire.json_stream import objects
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Single(msgspec.Struct):
    key: str | None = None
    response: Answer | None = None


class _Inlined(msgspec.Struct, rename="camel"):
    inlined_responses: list[_Single] | None = None


class _Output(msgspec.Struct, rename="camel"):
    inlined_responses: _Inlined | None = None
    inlined_embed_content_responses: _Inlined | None = None


class _Job(msgspec.Struct):
    model: str | None = None
    state: str | None = None
    output: _Output | None = None


class _Operation(msgspec.Struct):
    name: str | None = None
    metadata: _Job | None = None


_OPERATION: Final = LenientDecoder(_Operation)
_SINGLE: Final = LenientDecoder(_Single)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a job; a list of them says nothing that the jobs do not say themselves."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    operation = transcript.read_response(_OPERATION, draft)
    job = operation.metadata
    if operation.name is None or job is None:
        return
    draft.response_id = operation.name
    draft.model = plain_name(job.model)
    draft.finish_reasons = (job.state,)
    draft.processing = "batch"
    output = job.output or _Output()
    for inlined in (output.inlined_responses, output.inlined_embed_content_responses):
        if inlined is not None:
            _take(enumerate(inlined.inlined_responses or ()), operation.name, draft)
    draft.is_pending = not draft.charges and transcript.operation.billing == "later"


def read_file(transcript: Transcript, draft: Draft) -> None:
    """Read a downloaded file: if a job wrote it, an answer a line."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    if not transcript.response.lstrip().startswith(b"{"):
        return
    lost: set[str] = set()
    lines = [_SINGLE.decode(event.data, lost) for event in objects(transcript)]
    if any(line.response is not None for line in lines):
        note_lost(draft, "response", lost)
        draft.processing = "batch"
        _take(enumerate(lines), transcript.path.partition("?")[0].rpartition("/")[2].partition(":")[0], draft)


def plain_name(model: str | None) -> str | None:
    """Return a model's name without the collection that it is in."""
    return model and model.removeprefix("models/")


def _take(singles: Iterable[tuple[int, _Single]], job: str, draft: Draft) -> None:
    charges = list(draft.charges)
    for number, single in singles:
        if single.response is None:
            continue
        part, choices, usage = Draft(model_requested=draft.model), Choices(), UsageMaximum()
        choices.take(single.response)
        part.model = plain_name(single.response.model_version)
        usage.add(bytes(single.response.usage_metadata))
        usage.finish(part, len(choices.queries), has_written=choices.has_written)
        draft.model = draft.model or part.model
        if part.usage is not None:
            id_ = single.response.response_id or f"{job}/{single.key or number}"
            charges.append(Charge(usage=part.usage, model=part.model, id=id_, processing="batch"))
    draft.charges = tuple(charges)
    if charges:
        draft.usage = Usage.total(charge.usage for charge in charges)


READER: Final = Reader("gemini_batches/1", read)
FILE: Final = Reader("gemini_files/1", read_file)
