"""Batches: a job whose object, once it is completed, says what all its requests consumed together."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure
from proxy.wire.openai.usage import read_usage
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Batch(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    status: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


_BATCH: Final = LenientDecoder(_Batch)
_OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a batch; a list of them says nothing that the batches do not say themselves."""
    if not transcript.is_success:
        read_failure(transcript, draft)
        return
    batch = transcript.read_response(_BATCH, draft)
    if batch.object != "batch":
        return
    draft.response_id = batch.id
    draft.model = batch.model
    draft.finish_reasons = (batch.status,)
    if batch.status not in _OVER:
        draft.is_pending = transcript.operation.billing == "later"
        return
    draft.billing_id = batch.id
    draft.processing = "batch"
    draft.attempt("usage", read_usage, bytes(batch.usage), draft, transcript.provider)


READER: Final = Reader("openai_batches/1", read)
