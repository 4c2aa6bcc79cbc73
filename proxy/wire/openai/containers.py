"""Containers: sandboxes for code, billed each and once, whether an application makes them or an answer does.

Types: openai-python 3.52, seen 2026-11-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pricing import Usage
from proxy.records import Charge
from proxy.wire.draft import Draft
from proxy.wire.lenient import LenientDecoder
from proxy.wire.openai.error import read_failure
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript


class _Container(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    status: str | None = None
    memory_limit: str | None = None


_CONTAINER: Final = LenientDecoder(_Container)


def read(transcript: Transcript, draft: Draft) -> None:
    """Read a container that was made."""
    if not transcript.is_success:
        read_failure(transcript, draft)
    elif transcript.operation.billing == "units" and transcript.response:
        made = transcript.read_response(_CONTAINER, draft)
        if made.object == "container":
            draft.response_id = draft.billing_id = made.id
            draft.finish_reasons = (made.status,)
            draft.usage = Usage(containers=1)
            draft.charges = (Charge(usage=draft.usage, model="containers", id=made.id, variant=made.memory_limit),)


READER: Final = Reader("openai_containers/1", read)
