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
from proxy.records import Exchange, Reading, TokenTimes
from proxy.wire import ollama
from proxy.wire.anthropic import batches as message_batches
from proxy.wire.anthropic import error as anthropic_error
from proxy.wire.anthropic import messages
from proxy.wire.bedrock import converse, invoke
from proxy.wire.bedrock import error as bedrock_error
from proxy.wire.decode import content_codings, decode
from proxy.wire.draft import Draft
from proxy.wire.gemini import error as gemini_error
from proxy.wire.gemini import generate
from proxy.wire.openai import batches, chat, completions, embeddings, media, other, responses
from proxy.wire.reader import Reader
from proxy.wire.transcript import Transcript

__all__ = ["read", "token_times"]

_READERS: Final[Mapping[tuple[str, str], Reader]] = MappingProxyType(
    {
        # By dialect and endpoint of `proxy.operations`.
        ("openai", "chat"): chat.READER,
        ("openai", "completions"): completions.READER,
        ("openai", "responses"): responses.READER,
        ("openai", "responses_compact"): responses.READER,
        ("openai", "responses_retrieve"): responses.STORED,
        ("openai", "responses_cancel"): responses.STORED,
        ("openai", "embeddings"): embeddings.READER,
        ("openai", "decisions"): responses.READER,
        ("openai", "images_generate"): media.IMAGES,
        ("openai", "images_edit"): media.IMAGES,
        ("openai", "images_variation"): media.IMAGES,
        ("openai", "speech"): media.SPEECH,
        ("openai", "transcriptions"): media.TRANSCRIPTION,
        ("openai", "translations"): media.TRANSCRIPTION,
        ("openai", "batches"): batches.READER,
        ("anthropic", "messages"): messages.READER,
        ("anthropic", "message_batches"): message_batches.BATCH,
        ("anthropic", "message_batch_results"): message_batches.RESULTS,
        ("gemini", "generate_content"): generate.READER,
        ("bedrock", "converse"): converse.READER,
        ("bedrock", "invoke"): invoke.READER,
        ("ollama", "chat"): ollama.CHAT,
        ("ollama", "completions"): ollama.CHAT,
        ("ollama", "embeddings"): ollama.EMBEDDINGS,
    }
)
_OTHERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "openai": other.READER,
        "anthropic": anthropic_error.READER,
        "gemini": gemini_error.READER,
        "ollama": other.READER,
        "bedrock": bedrock_error.READER,
    }
)
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


def token_times(exchange: Exchange, reading: Reading) -> TokenTimes:
    """Return when the model output of a stream had arrived."""
    if reading.first_token_offset is None:
        return TokenTimes()
    codings = content_codings(exchange.end.headers)
    ends = [end for end, _ in exchange.timeline.pairs] if codings else []
    offsets = decode(exchange.response.head, codings, ends=ends).offsets
    # An offset is the end of an event; its last byte is the one that had to arrive.
    seen = (reading.first_token_offset, reading.first_visible_offset, reading.last_token_offset)
    times = (None if offset is None else exchange.timeline.at(offsets.relayed(offset) - 1) for offset in seen)
    return TokenTimes(*times)


def _read(reader: Reader, operation: Operation, exchange: Exchange, draft: Draft) -> None:
    reader.read(Transcript.of(exchange, operation, draft), draft)
