"""How bytes speak: from the bytes of an exchange to what they mean.

`read` finds the reader of an operation in a table and never raises. Readers do no input or output and know no clock:
the same bytes give the same reading, however they were split on their way. A new API flavour is one file here, one
capture in `tests/captures/` and one line in the table. Nothing here may change what is relayed, or decide money.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.records import Exchange, Reading
from proxy.wire import openai_chat, openai_completions, openai_embeddings, openai_other, openai_responses
from proxy.wire.decode import content_codings, decode
from proxy.wire.draft import Draft
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript

__all__ = ["read", "token_times"]

_ANY: Final = "*"
_READERS: Final[tuple[tuple[str, str, re.Pattern[str], Reader], ...]] = tuple(
    # Paths are matched at their end, because a base URL may stop short of `/v1`; the first match counts.
    (wire, method, re.compile(f"(?:^|/){path}$"), reader)
    for wire, method, path, reader in (
        ("openai", "POST", r"chat/completions", openai_chat.READER),
        ("openai", "POST", r"completions", openai_completions.READER),
        ("openai", "POST", r"responses", openai_responses.READER),
        ("openai", "POST", r"embeddings", openai_embeddings.READER),
        ("openai", _ANY, r"models(?:/.+)?", openai_other.MODELS),
        ("openai", _ANY, r"files(?:/.+)?", openai_other.FILES),
    )
)


def read(exchange: Exchange) -> Reading:
    """Understand an exchange as far as possible; what could not be read is named in `problems`."""
    reader = _reader(exchange.begin.wire, exchange.begin.method, exchange.begin.path)
    if reader is None:
        return Reading(reader="none", endpoint="other")
    draft = Draft()
    draft.attempt("reader", _read, reader, exchange, draft)
    return draft.finish(reader.name, reader.endpoint)


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


def _read(reader: Reader, exchange: Exchange, draft: Draft) -> None:
    reader.read(Transcript.of(exchange, draft), draft)


def _reader(wire: str, method: str, path: str) -> Reader | None:
    path = path.partition("?")[0].rstrip("/")
    for its_wire, its_method, pattern, reader in _READERS:
        if its_wire == wire and its_method in (method, _ANY) and pattern.search(path):
            return reader
    return None
