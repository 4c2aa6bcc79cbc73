"""Conversations: what was said in an exchange, in one shape for every wire.

Where `wire` reads what a record needs (usage, model, finish), this reads what people look at: messages made of text,
thoughts, calls, results and pictures, of the request and of its answers, streamed or not. A stream is first put together
into the answer that the same API would have given in one piece, so that each API has one reader.

Nothing here does input or output or knows a clock, and nothing raises: what no reader knows is a part of the kind `raw`,
and a body that breaks off is read up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from proxy.conversation import anthropic, bedrock, elsewhere, gemini, ollama, openai, responses, session
from proxy.conversation.blobs import Blob, Media
from proxy.conversation.document import encodable, read_document
from proxy.conversation.message import (
    Answer,
    Conversation,
    Flag,
    Json,
    Message,
    Part,
    Raw,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    part_size,
    size_of,
)
from proxy.conversation.source import Said, Source
from proxy.operations import WEBSOCKET, Operation, find_operation
from proxy.records import Exchange
from proxy.wire.draft import Draft
from proxy.wire.session import is_upgraded
from proxy.wire.transcript import Transcript

__all__ = [
    "Answer",
    "Blob",
    "Conversation",
    "Flag",
    "Json",
    "Media",
    "Message",
    "Part",
    "Raw",
    "Refusal",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolResult",
    "is_streaming",
    "part_size",
    "read_conversation",
    "size_of",
    "transcript_of",
]

_READERS: Final[Mapping[tuple[str, str], Callable[[Source], Said]]] = MappingProxyType(
    {
        # By dialect and endpoint of `proxy.operations`.
        ("openai", "chat"): openai.read_chat,
        ("openai", "completions"): openai.read_completion,
        ("openai", "embeddings"): openai.read_embeddings,
        ("openai", "responses"): responses.read_responses,
        ("openai", "responses_compact"): responses.read_responses,
        ("openai", "responses_retrieve"): responses.read_responses,
        ("openai", "responses_cancel"): responses.read_responses,
        ("openai", "decisions"): responses.read_responses,
        ("anthropic", "messages"): anthropic.read_messages,
        ("anthropic", "count_tokens"): anthropic.read_messages,
        ("gemini", "generate_content"): gemini.read_generated,
        ("gemini", "count_tokens"): gemini.read_generated,
        ("gemini", "embeddings"): gemini.read_embeddings,
        ("bedrock", "converse"): bedrock.read_converse,
        ("bedrock", "invoke"): bedrock.read_invoke,
        ("ollama", "chat"): ollama.read_chat,
        ("ollama", "completions"): ollama.read_chat,
        ("ollama", "embeddings"): ollama.read_embeddings,
    }
)
_NOBODYS: Final = Operation("openai", "other", "nothing")


def read_conversation(exchange: Exchange) -> Conversation:
    """Return what was said in an exchange, as far as it can be read."""
    begin = exchange.begin
    operation = find_operation(begin.wire, exchange.method, begin.path)
    transcript, draft = transcript_of(exchange)
    request = read_document(transcript.request)
    is_session = exchange.method == WEBSOCKET and is_upgraded(transcript)
    said, source = _read(operation, transcript, request, is_session=is_session)
    parameters = {name: value for name, value in source.asked.items() if name not in said.told}
    problems = {*draft.problems}
    if request is None and transcript.request.strip() and _is_json(transcript):
        problems.add("request_json")
    return Conversation(
        dialect=operation.dialect if operation else "",
        endpoint=operation.endpoint if operation else "other",
        messages=_paired(said.messages),
        answers=tuple(said.answers),
        tools=tuple(said.tools),
        parameters=encodable(parameters),
        blobs=source.blobs.all,
        problems=tuple(sorted(problems)),
    )


def transcript_of(exchange: Exchange) -> tuple[Transcript, Draft]:
    """Return both bodies without their content codings, and what is to be said of that."""
    begin, draft = exchange.begin, Draft()
    operation = find_operation(begin.wire, exchange.method, begin.path)
    return Transcript.of(exchange, operation or _NOBODYS, draft), draft


def is_streaming(transcript: Transcript, asked: Any) -> bool:
    """Say whether an answer is a stream; `asked`: the request's JSON."""
    operation = transcript.operation
    if not transcript.is_success:
        return False
    if operation.dialect == "bedrock":
        return transcript.content_type == b"application/vnd.amazon.eventstream"
    if operation.dialect == "ollama":
        return not (isinstance(asked, dict) and asked.get("stream") is False)
    if operation.dialect == "gemini":
        return operation.is_streaming
    said = isinstance(asked, dict) and asked.get("stream") is True
    return transcript.is_event_stream(asked=said or operation.is_streaming)


def _read(
    operation: Operation | None, transcript: Transcript, request: Any, *, is_session: bool
) -> tuple[Said, Source]:
    """Return what was said; whatever goes wrong, the bodies as they are."""
    source = Source(transcript, request, is_streaming(transcript, request))
    key = (operation.dialect, operation.endpoint) if operation is not None else ("", "")
    reader = session.read_session if is_session else _READERS.get(key, elsewhere.read_anything)
    try:
        said = reader(source)
        if not (transcript.is_success or is_session or said.answers) and (parts := elsewhere.read_failure(source)):
            said.answers = [Answer(Message("error", tuple(parts)))]
    # The border: whatever somebody sends, it can be looked at.
    except Exception:  # noqa: BLE001
        source = Source(transcript, request, False)
        said = elsewhere.read_anything(source)
    return said, source


def _is_json(transcript: Transcript) -> bool:
    return b"json" in transcript.request_type.lower() or transcript.request[:1] in (b"{", b"[")


def _paired(messages: list[Message]) -> tuple[Message, ...]:
    """Give the results of calls the names of the calls."""
    names: dict[str, str | None] = {}
    found = []
    for message in messages:
        names |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall) and part.id}
        is_due = any(isinstance(part, ToolResult) and part.name is None and part.id in names for part in message.parts)
        found.append(_named(message, names) if is_due else message)
    return tuple(found)


def _named(message: Message, names: Mapping[str, str | None]) -> Message:
    parts = tuple(
        msgspec.structs.replace(part, name=names.get(part.id or ""))
        if isinstance(part, ToolResult) and part.name is None
        else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)
