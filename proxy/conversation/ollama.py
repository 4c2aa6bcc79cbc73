"""Ollama's own API: one object a line."""

from __future__ import annotations

from typing import Any, Final

from proxy.conversation.document import dict_of, dicts_of, list_of, read_document, read_whole, text_of
from proxy.conversation.message import Message, Part, Text, Thinking
from proxy.conversation.openai import read_tools, thoughts, tool_result, vector_answers
from proxy.conversation.parts import answer, call_part, content_parts, message
from proxy.conversation.source import Said, Source, turns
from proxy.wire.json_stream import objects

_TOLD: Final = frozenset({"messages", "tools", "system", "prompt", "images", "input"})


def read_chat(source: Source) -> Said:
    """Read a chat or a completion."""
    asked = source.asked
    said = Said(told=_TOLD, tools=read_tools(asked.get("tools")))
    if system := text_of(asked.get("system")):
        said.messages.append(message("system", [Text(system)]))
    said.messages += [_message(each, source) for each in turns(asked.get("messages"))]
    if isinstance(asked.get("prompt"), str):
        pictures = [source.blobs.add("image", "image/png", each) for each in list_of(asked.get("images"))]
        said.messages.append(message("user", [Text(text_of(asked["prompt"])), *pictures]))
    lines = [dict_of(read_whole(event.data)) for event in objects(source.transcript)]
    parts = _grown(lines)
    if any("message" in line or "response" in line for line in lines):
        reason = next((line.get("done_reason") for line in lines if line.get("done_reason")), None)
        has_ended = any(line.get("done") is True for line in lines) if source.is_streaming else None
        is_json = asked.get("format") is not None
        said.answers.append(answer(message("assistant", parts), reason, is_json=is_json, has_ended=has_ended))
    return said


def read_embeddings(source: Source) -> Said:
    """Read embeddings: texts, and how many numbers came of them."""
    body = dict_of(read_document(source.transcript.response))
    vectors = [list_of(each) for each in list_of(body.get("embeddings"))] or [list_of(body.get("embedding"))]
    said = Said(told=_TOLD)
    given = turns(source.asked.get("input") or source.asked.get("prompt"))
    said.messages = [message("user", content_parts(each, source.blobs)) for each in given]
    said.answers = vector_answers([len(vector) for vector in vectors if vector])
    return said


def _message(value: Any, source: Source) -> Message:
    told = dict_of(value)
    parts: list[Part] = thoughts(told)
    content = content_parts(told.get("content") if isinstance(value, dict) else value, source.blobs)
    if told.get("role") == "tool":
        parts.append(tool_result(told.get("tool_call_id"), told.get("tool_name") or told.get("name"), content))
    else:
        parts += content
    parts += [source.blobs.add("image", "image/png", each) for each in list_of(told.get("images"))]
    return message(told.get("role") or "user", [*parts, *_calls(told)])


def _calls(told: dict[str, Any]) -> list[Part]:
    found: list[Part] = []
    for call in dicts_of(told.get("tool_calls")):
        function = dict_of(call.get("function"))
        found.append(call_part(call.get("id"), function.get("name"), function.get("arguments")))
    return found


def _grown(lines: list[dict[str, Any]]) -> list[Part]:
    told = [
        dict_of(line.get("message")) or {"content": line.get("response"), "thinking": line.get("thinking")}
        for line in lines
    ]
    thinking = "".join(text_of(each.get("thinking")) for each in told)
    text = "".join(text_of(each.get("content")) for each in told)
    parts: list[Part] = [Thinking(thinking)] if thinking else []
    parts += [Text(text)] if text else []
    return parts + [call for each in told for call in _calls(each)]
