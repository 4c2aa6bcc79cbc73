"""How bytes speak: from the bytes of an exchange to what they mean.

`read` finds the reader of an operation in a table and never raises. Readers do no input or output and know no clock:
the same bytes give the same reading, however they were split on their way. A new API flavour is one file here, one
capture in `tests/captures/` and one line in the table. Nothing here may change what is relayed, or decide money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.operations import Operation, find_operation
from proxy.records import Exchange, Reading, TokenTimes
from proxy.wire import ollama
from proxy.wire.anthropic import batches as message_batches
from proxy.wire.anthropic import error as anthropic_error
from proxy.wire.anthropic import messages
from proxy.wire.bedrock import converse, invoke
from proxy.wire.bedrock import error as bedrock_error
from proxy.wire.decode import content_codings, decode
from proxy.wire.draft import Draft
from proxy.wire.gemini import batches as gemini_batches
from proxy.wire.gemini import embeddings as gemini_embeddings
from proxy.wire.gemini import error as gemini_error
from proxy.wire.gemini import generate, interactions
from proxy.wire.gemini import live as gemini_live
from proxy.wire.openai import (
    agents,
    batch_output,
    batches,
    chat,
    completions,
    containers,
    embeddings,
    images,
    jobs,
    live,
    moderations,
    other,
    realtime,
    responses,
    responses_socket,
    runs,
    speech,
    transcription,
    videos,
)
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
        ("openai", "responses_socket"): responses_socket.READER,
        ("openai", "realtime_socket"): realtime.READER,
        ("openai", "live_socket"): live.READER,
        ("openai", "embeddings"): embeddings.READER,
        ("openai", "decisions"): responses.READER,
        ("openai", "moderations"): moderations.READER,
        ("openai", "images_generate"): images.READER,
        ("openai", "images_edit"): images.READER,
        ("openai", "images_variation"): images.READER,
        ("openai", "speech"): speech.READER,
        ("openai", "transcriptions"): transcription.READER,
        ("openai", "translations"): transcription.READER,
        ("openai", "videos"): videos.READER,
        ("openai", "batches"): batches.READER,
        ("openai", "files_content"): batch_output.READER,
        ("openai", "fine_tuning"): jobs.READER,
        ("openai", "evals"): jobs.READER,
        ("openai", "containers"): containers.READER,
        ("openai", "runs"): runs.READER,
        ("openai", "agents"): agents.READER,
        ("anthropic", "messages"): messages.READER,
        ("anthropic", "count_tokens"): messages.COUNT,
        ("anthropic", "message_batches"): message_batches.BATCH,
        ("anthropic", "message_batch_results"): message_batches.RESULTS,
        ("gemini", "generate_content"): generate.READER,
        ("gemini", "embeddings"): gemini_embeddings.EMBEDDINGS,
        ("gemini", "predict"): gemini_embeddings.PREDICT,
        ("gemini", "interactions"): interactions.READER,
        ("gemini", "live_socket"): gemini_live.READER,
        ("gemini", "batches"): gemini_batches.READER,
        ("gemini", "files_content"): gemini_batches.FILE,
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
_LOCATION: Final = re.compile(r"/projects/[^/?]+/locations/([a-zA-Z0-9-]{1,64})/")
_UNREAD: Final = Reader("none", lambda _transcript, _draft: None)


def read(exchange: Exchange) -> Reading:
    """Understand an exchange as far as possible; what could not be read is named in `problems`."""
    begin = exchange.begin
    operation = find_operation(begin.wire, exchange.method, begin.path)
    if operation is None:
        return Reading(reader="none", endpoint="other")
    draft = Draft(model_requested=operation.model, region=_location(begin.path))
    fallback = _OTHERS.get(operation.dialect, _UNREAD)
    reader = _READERS.get((operation.dialect, operation.endpoint), fallback)
    draft.attempt("reader", _read, reader, operation, exchange, draft)
    return draft.finish(reader.name, operation.endpoint)


def _location(path: str) -> str | None:
    """Return the place that a path of Google's names: what runs there may have a price of its own."""
    match = _LOCATION.search(path) if "/locations/" in path else None
    return match[1].lower() if match else None


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
