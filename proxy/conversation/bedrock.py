"""Amazon Bedrock: Converse, and the bodies of the models' own APIs behind Invoke."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final

from proxy.conversation import anthropic, openai
from proxy.conversation.blobs import Blobs
from proxy.conversation.document import (
    dict_of,
    dicts_of,
    integer_of,
    json_text,
    list_of,
    read_document,
    read_whole,
    text_of,
)
from proxy.conversation.message import Message, Part, Text, Thinking, ToolResult
from proxy.conversation.openai import read_tools, tool_result
from proxy.conversation.parts import answer, call_part, content_parts, message, raw_part
from proxy.conversation.source import Said, Source, turns
from proxy.wire.bedrock.frames import frames
from proxy.wire.draft import Draft
from proxy.wire.sse import Event

_TOLD: Final = frozenset({"system", "messages", "toolConfig"})
_PROMPTS: Final = ("prompt", "inputText", "message", "query")
_ANSWERS: Final = ("generation", "text", "outputText", "completion")
_MEDIA: Final = {"image": "image", "video": "video", "audio": "audio", "document": "file"}


def read_converse(source: Source) -> Said:
    """Read a conversation's turn."""
    said = _asked(source)
    if source.is_streaming:
        found = [(frame.kind, dict_of(read_whole(frame.payload))) for frame in frames(source.transcript, Draft())]
        whole = _assembled(found)
    else:
        body = dict_of(read_document(source.transcript.response))
        whole = {"content": dict_of(dict_of(body.get("output")).get("message")).get("content")} | body
    _add_answer(said, whole, source.blobs)
    return said


def read_invoke(source: Source) -> Said:
    """Read an invocation: whose API it is shows in the bodies."""
    unpacked = list(invoked(source)) if source.is_streaming else []
    documents = [dict_of(read_whole(event.data)) for event in unpacked]
    first = next((each for each in documents if each), None) or dict_of(read_document(source.transcript.response))
    if first.get("type") in ("message", "message_start") or "anthropic_version" in source.asked:
        said = anthropic.read_messages(source) if not source.is_streaming else _streamed_message(source, unpacked)
    elif isinstance(first.get("output"), dict) or "messageStart" in first:
        said = _asked(source)
        body = {"content": dict_of(dict_of(first.get("output")).get("message")).get("content")} | first
        pairs = [(name, dict_of(value)) for each in documents for name, value in each.items()]
        _add_answer(said, _assembled(pairs) if documents else body, source.blobs)
    elif any("message" in each or "delta" in each for each in dicts_of(first.get("choices"))):
        said = openai.read_chat(source)
    else:
        said = _family(source, documents or [first])
    return said


def invoked(source: Source) -> Iterator[Event]:
    """Yield the model's own events out of Bedrock's frames."""
    for frame in frames(source.transcript, Draft()):
        packed = dict_of(read_whole(frame.payload)).get("bytes")
        if frame.kind == "chunk" and isinstance(packed, str):
            try:
                yield Event(b"", binascii.a2b_base64(packed), frame.end_offset)
            except ValueError:
                continue


def _streamed_message(source: Source, events: Iterable[Event]) -> Said:
    source.is_streaming = False
    said = anthropic.read_messages(source)
    whole = anthropic.assembled(events)
    one = message("assistant", anthropic.block_parts(whole.get("content"), source.blobs))
    said.answers = [answer(one, whole.get("stop_reason"), has_ended=whole.get("has_ended"))]
    return said


def _asked(source: Source) -> Said:
    blobs, asked = source.blobs, source.asked
    said = Said(told=_TOLD, tools=read_tools(dict_of(asked.get("toolConfig")).get("tools")))
    said.tools = [tool if "json" not in dict_of(tool.schema) else _unwrapped(tool) for tool in said.tools]
    instructions = [part for each in list_of(asked.get("system")) for part in block_parts(each, blobs)]
    if instructions:
        said.messages.append(message("system", instructions))
    said.messages += [turn(each, blobs) for each in turns(asked.get("messages"))]
    return said


def _unwrapped(tool: Any) -> Any:
    return type(tool)(tool.name, tool.description, tool.schema["json"])


def _add_answer(said: Said, whole: dict[str, Any], blobs: Blobs) -> None:
    if whole.get("content") is not None or whole.get("stopReason"):
        parts = [part for each in list_of(whole.get("content")) for part in block_parts(each, blobs)]
        said.answers.append(
            answer(message("assistant", parts), whole.get("stopReason"), has_ended=whole.get("has_ended"))
        )


def turn(value: Any, blobs: Blobs) -> Message:
    """Return one message; a tool's results come as the user's, and are the tool's."""
    told = dict_of(value)
    parts = [part for each in turns(told.get("content")) for part in block_parts(each, blobs)]
    is_result = bool(parts) and all(isinstance(part, ToolResult) for part in parts)
    return message("tool" if is_result else told.get("role") or "user", parts)


def block_parts(block: Any, blobs: Blobs) -> list[Part]:
    """Return the parts of one block."""
    if not isinstance(block, dict):
        return content_parts(block, blobs)
    if isinstance(block.get("text"), str):
        return [Text(text_of(block["text"]))]
    if use := dict_of(block.get("toolUse")):
        return [call_part(use.get("toolUseId"), use.get("name"), use.get("input"))]
    if result := dict_of(block.get("toolResult")):
        inner: list[Part] = []
        for each in dicts_of(result.get("content")):
            inner += [Text(json_text(each["json"]))] if "json" in each else block_parts(each, blobs)
        return [tool_result(result.get("toolUseId"), None, inner, is_error=result.get("status") == "error")]
    if reasoning := dict_of(block.get("reasoningContent")):
        return [Thinking(text_of(dict_of(reasoning.get("reasoningText")).get("text") or reasoning.get("text")))]
    if cited := dict_of(block.get("citationsContent")):
        return [Text(text_of(each.get("text"))) for each in dicts_of(cited.get("content"))]
    for name, form in _MEDIA.items():
        if medium := dict_of(block.get(name)):
            held = dict_of(medium.get("source"))
            if isinstance(held.get("text"), str):
                return [Text(text_of(held["text"]))]
            kind = medium.get("format") if form != "file" else f"application/{medium.get('format')}"
            return [blobs.add(form, kind, held.get("bytes"), name=medium.get("name"))]  # type: ignore[arg-type]  # a Form
    return [raw_part(next(iter(block), ""), block)]


def _assembled(found: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    blocks: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[int, str], list[str]] = {}
    stop: Any = None
    has_ended = False
    for kind, said in found:
        index = integer_of(said.get("contentBlockIndex"))
        if kind == "contentBlockStart":
            blocks[index] = dict_of(said.get("start"))
        elif kind == "contentBlockDelta":
            delta = dict_of(said.get("delta"))
            pieces = {
                "text": delta.get("text"),
                "thinking": dict_of(delta.get("reasoningContent")).get("text"),
                "input": dict_of(delta.get("toolUse")).get("input"),
            }
            for name, piece in pieces.items():
                if isinstance(piece, str):
                    texts.setdefault((index, name), []).append(piece)
        elif kind == "messageStop":
            stop = said.get("stopReason")
            has_ended = True
    content: list[dict[str, Any]] = []
    for at in sorted({*blocks, *(index for index, _ in texts)}):
        grown = {name: "".join(texts[at, name]) for name in ("thinking", "text", "input") if (at, name) in texts}
        if "thinking" in grown:
            content.append({"reasoningContent": {"text": grown["thinking"]}})
        if "text" in grown:
            content.append({"text": grown["text"]})
        if use := dict_of(blocks.get(at, {}).get("toolUse")):
            content.append({"toolUse": use | {"input": grown.get("input", "")}})
    return {"content": content, "stopReason": stop, "has_ended": has_ended}


def _family(source: Source, documents: list[dict[str, Any]]) -> Said:
    """Read the bodies of Titan, Llama, Mistral's completions, Cohere and others: their names do not collide."""
    asked = source.asked
    prompts = [text_of(asked.get(name)) for name in _PROMPTS]
    said = Said(told=frozenset(_PROMPTS))
    said.messages = [message("user", [Text(text)]) for text in prompts if text]
    texts, reason = [], None
    for document in documents:
        pieces = [
            document,
            *(
                part
                for name in ("results", "outputs", "generations", "choices")
                for part in dicts_of(document.get(name))
            ),
        ]
        for piece in pieces:
            texts.append("".join(text_of(piece.get(name)) for name in _ANSWERS))
            reason = piece.get("stop_reason") or piece.get("finish_reason") or piece.get("completionReason") or reason
    if any(texts):
        said.answers.append(answer(message("assistant", [Text("".join(texts))]), reason))
    return said
