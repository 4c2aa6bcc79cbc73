"""How bytes speak: from the bytes of an exchange to what they mean.

`read` finds the reader of an operation in a table and never raises. Readers do no input or output and know no clock:
the same bytes give the same reading, however they were split on their way. A new API flavour is one file here, one
capture in `tests/captures/` and one line in the table. Nothing here may change what is relayed, or decide money.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.operations import WEBSOCKET, Operation, find_operation
from proxy.records import Exchange, Reading
from proxy.wire.decode import content_codings, decode
from proxy.wire.draft import Draft
from proxy.wire.openai import chat, completions, embeddings, other, responses
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript

__all__ = ["read", "token_times"]

_READERS: Final[Mapping[tuple[str, str], Reader]] = MappingProxyType(
    {
        # By dialect and endpoint of `proxy.operations`.
        ("openai", "chat"): chat.READER,
        ("openai", "completions"): completions.READER,
        ("openai", "responses"): responses.READER,
        ("openai", "embeddings"): embeddings.READER,
    }
)
_OTHERS: Final[Mapping[str, Reader]] = MappingProxyType({"openai": other.READER})
"""Who reads the errors of operations that have no reader of their own, by dialect."""
_UNREAD: Final = Reader("none", lambda _transcript, _draft: None)
_SWITCHING_PROTOCOLS: Final = 101


def read(exchange: Exchange) -> Reading:
    """Understand an exchange as far as possible; what could not be read is named in `problems`."""
    begin = exchange.begin
    # A request that became a WebSocket speaks otherwise than a GET of the same path.
    method = WEBSOCKET if exchange.end.status == _SWITCHING_PROTOCOLS else begin.method
    operation = find_operation(begin.wire, method, begin.path)
    if operation is None:
        return Reading(reader="none", endpoint="other")
    draft = Draft(model_requested=operation.model)
    fallback = _OTHERS.get(operation.dialect, _UNREAD)
    reader = _READERS.get((operation.dialect, operation.endpoint), fallback)
    draft.attempt("reader", _read, reader, operation, exchange, draft)
    return draft.finish(reader.name, operation.endpoint)


def token_times(exchange: Exchange, reading: Reading) -> tuple[int | None, int | None]:
    """Return when the first and the last model output had arrived, in µs since the request head; None: unknown."""
    first, last = reading.first_token_offset, reading.last_token_offset
    if first is None or last is None:
        return None, None
    codings = content_codings(exchange.end.headers)
    ends = [end for end, _ in exchange.timeline.pairs] if codings else []
    offsets = decode(exchange.response.head, codings, ends=ends).offsets
    # An offset is the end of an event; its last byte is the one that had to arrive.
    timeline = exchange.timeline
    return timeline.at(offsets.relayed(first) - 1), timeline.at(offsets.relayed(last) - 1)


def _read(reader: Reader, operation: Operation, exchange: Exchange, draft: Draft) -> None:
    reader.read(Transcript.of(exchange, operation, draft), draft)
