"""Message batches: jobs, and their results, a JSON object a line, each with a message and its own usage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.anthropic.error import read_failure
from proxy.wire.anthropic.messages import Message, take_message
from proxy.wire.draft import Draft
from proxy.wire.json_stream import objects
from proxy.wire.lenient import LenientDecoder
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript, note_lost


class _Batch(msgspec.Struct):
    id: str | None = None
    type: str | None = None
    processing_status: str | None = None


class _Result(msgspec.Struct):
    type: str | None = None
    message: Message | None = None


class _Line(msgspec.Struct):
    custom_id: str | None = None
    result: _Result | None = None


_BATCH: Final = LenientDecoder(_Batch)
_LINE: Final = LenientDecoder(_Line)


def read_batch(transcript: Transcript, draft: Draft) -> None:
    """Read a batch as a job. What it consumed stands in its results."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    batch = transcript.read_response(_BATCH, draft)
    if batch.type == "message_batch":
        draft.response_id = batch.id
        draft.finish_reasons = (batch.processing_status,)
        draft.is_pending = transcript.operation.billing == "later"


def read_results(transcript: Transcript, draft: Draft) -> None:
    """Read the results: charges for each message, billed once however often the results are fetched."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    batch = transcript.path.partition("?")[0].rstrip("/").split("/")[-2:][0]
    draft.response_id = draft.billing_id = batch
    draft.processing = "batch"
    lost: set[str] = set()
    charges: list[Charge] = []
    for number, event in enumerate(objects(transcript)):
        line = _LINE.decode(event.data, lost)
        charges += _charges(line, f"{batch}/{line.custom_id or number}", draft)
    note_lost(draft, "response", lost)
    draft.charges = tuple(charges)
    if charges:
        draft.usage = Usage.total(charge.usage for charge in charges)


def _charges(line: _Line, id_: str, draft: Draft) -> Iterator[Charge]:
    """Yield what a line's message is billed; nothing for one that failed, was cancelled or expired."""
    if line.result is None or line.result.message is None:
        return
    single = Draft()
    take_message(line.result.message, single, processing="batch")
    draft.problems |= single.problems
    draft.model = draft.model or single.model
    parts = single.charges or ((Charge(usage=single.usage),) if single.usage is not None else ())
    for number, part in enumerate(parts):
        yield msgspec.structs.replace(
            part,
            id=f"{id_}/{number}" if number else id_,
            model=part.model or single.model,
            speed=single.speed,
            processing="batch",
            region=single.region,
        )


BATCH: Final = Reader("anthropic_batches/1", read_batch)
RESULTS: Final = Reader("anthropic_batch_results/1", read_results)
