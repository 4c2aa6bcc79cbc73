"""Anthropic's Messages: blocks of content."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from proxy.conversation.blobs import Blobs
from proxy.conversation.document import dict_of, integer_of, list_of, name_of, read_document, read_whole, text_of
from proxy.conversation.message import Message, Part, Text, Thinking, ToolResult
from proxy.conversation.openai import read_tools, tool_result
from proxy.conversation.parts import answer, call_part, content_parts, message, raw_part
from proxy.conversation.source import Said, Source, turns
from proxy.wire.sse import Event

_TOLD: Final = frozenset({"system", "messages", "tools"})
_USES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def read_messages(source: Source) -> Said:
    """Read a message."""
    blobs, asked = source.blobs, source.asked
    said = Said(told=_TOLD, tools=read_tools(asked.get("tools")))
    if instructions := block_parts(asked.get("system"), blobs):
        said.messages.append(message("system", instructions))
    said.messages += [turn(each, blobs) for each in turns(asked.get("messages"))]
    whole = assembled(source.transcript.events()) if source.is_streaming else _body(source)
    if whole.get("content") is not None or whole.get("stop_reason"):
        one = message("assistant", block_parts(whole.get("content"), blobs))
        is_json = bool(
            dict_of(asked.get("output_format")) or dict_of(dict_of(asked.get("output_config")).get("format"))
        )
        said.answers.append(answer(one, whole.get("stop_reason"), is_json=is_json, has_ended=whole.get("has_ended")))
    return said


def turn(value: Any, blobs: Blobs) -> Message:
    """Return one message. A tool's results come as the user's; they are the tool's."""
    told = dict_of(value)
    parts = block_parts(told.get("content") if isinstance(value, dict) else value, blobs)
    is_result = bool(parts) and all(isinstance(part, ToolResult) for part in parts)
    return message("tool" if is_result else told.get("role") or "user", parts)


def block_parts(content: Any, blobs: Blobs) -> list[Part]:
    """Return the parts of a content."""
    if not isinstance(content, list):
        return content_parts(content, blobs)
    return [part for block in content for part in _block(block, blobs)]


def _block(block: Any, blobs: Blobs) -> list[Part]:
    if not isinstance(block, dict):
        return content_parts([block], blobs)
    kind = block.get("type")
    if kind == "text":
        return [Text(text_of(block.get("text")))]
    if kind == "thinking":
        return [Thinking(text_of(block.get("thinking")))]
    if kind == "redacted_thinking":
        return [Thinking("")]
    if kind in _USES:
        return [call_part(block.get("id"), block.get("name"), block.get("input"))]
    if kind in ("image", "document", "file"):
        return _medium(kind, block, blobs)
    if isinstance(kind, str) and kind.endswith("tool_result"):
        inner = block_parts(block.get("content"), blobs)
        return [tool_result(block.get("tool_use_id"), None, inner, is_error=block.get("is_error") is True)]
    return [raw_part(kind, block)]


def _medium(kind: str, block: dict[str, Any], blobs: Blobs) -> list[Part]:
    source, form = dict_of(block.get("source")), "image" if kind == "image" else "file"
    name, media_type = block.get("title") or source.get("file_id"), source.get("media_type")
    if source.get("type") in ("text", "content"):
        return content_parts(source.get("data") or source.get("content"), blobs)
    if source.get("type") == "url":
        return [blobs.link(form, source.get("url"), media_type=media_type, name=name)]  # type: ignore[arg-type]  # one of two
    return [blobs.add(form, media_type, source.get("data"), name=name)]  # type: ignore[arg-type]  # one of two


def _body(source: Source) -> dict[str, Any]:
    return dict_of(read_document(source.transcript.response))


def assembled(events: Iterable[Event]) -> dict[str, Any]:
    """Return the message that a stream makes up."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    pieces: dict[int, dict[str, list[str]]] = {}
    has_ended = False
    for event in events:
        said = dict_of(read_whole(event.data))
        kind, index = name_of(said.get("type")) or event.name.decode("utf-8", "replace"), integer_of(said.get("index"))
        delta = dict_of(said.get("delta"))
        if kind == "message_start":
            whole = whole | dict_of(said.get("message"))
        elif kind == "content_block_start":
            blocks[index] = dict_of(said.get("content_block"))
        elif kind == "content_block_delta":
            for name in ("text", "thinking", "partial_json"):
                if isinstance(delta.get(name), str):
                    pieces.setdefault(index, {}).setdefault(name, []).append(delta[name])
        elif kind == "message_delta":
            whole["stop_reason"] = delta.get("stop_reason") or whole.get("stop_reason")
        has_ended |= kind in ("message_stop", "error")
    content = [_grown(blocks.get(at, {}), pieces.get(at, {})) for at in sorted({*blocks, *pieces})]
    return whole | {"content": content or list_of(whole.get("content")), "has_ended": has_ended}


def _grown(block: dict[str, Any], pieces: dict[str, list[str]]) -> dict[str, Any]:
    grown = dict(block)
    for name in ("text", "thinking"):
        if name in pieces:
            grown[name] = text_of(block.get(name)) + "".join(pieces[name])
    if "partial_json" in pieces:
        grown["input"] = "".join(pieces["partial_json"])
    if "type" not in grown:
        grown["type"] = "tool_use" if "partial_json" in pieces else "thinking" if "thinking" in pieces else "text"
    return grown
