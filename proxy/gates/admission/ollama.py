"""Bodies of Ollama's own API: it streams unless told not to."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from proxy.gates.admission.marks import Marks
from proxy.gates.admission.members import Decisive
from proxy.gates.admission.peek import Peek, Unseen
from proxy.gates.admission.values import ABSENT, UNREADABLE, fields_of, is_given, is_true, name, whole
from proxy.operations import Operation

DECISIVE: Final = Decisive(
    frozenset({"model", "stream", "options", "images", "context"}), {"options": frozenset({"num_predict"})}
)
_MARKS: Final = Marks((), re.compile(rb'"images"\s*:\s*\[\s*"'))


class _Fields(msgspec.Struct):
    model: Any = None
    stream: Any = True
    options: msgspec.Raw = ABSENT


class _Options(msgspec.Struct):
    num_predict: msgspec.Raw = ABSENT


_FIELDS: Final = msgspec.json.Decoder(_Fields)
_OPTIONS: Final = msgspec.json.Decoder(_Options)


def peek(body: bytes, operation: Operation) -> Peek | None:
    """Read what admission needs of `body`; None: it is no JSON object that we can read."""
    fields = fields_of(body, _FIELDS)
    if fields is None:
        return None
    return Peek(
        model=name(fields.model),
        is_streaming=operation.endpoint != "embeddings" and (fields.stream is None or is_true(fields.stream)),
        stream_options=None,
        max_output_tokens=_limit(fields.options),
        choices=1,
        service_tier=None,
        user=None,
        refers_to_stored=False,
    )


def _limit(options: msgspec.Raw) -> int | None:
    try:
        return whole(_OPTIONS.decode(options).num_predict) if is_given(options) else None
    except UNREADABLE:
        return None


def unseen(body: bytes) -> Unseen:
    """Return what the request can consume beyond its bytes."""
    return Unseen(_MARKS.tokens(body))
