"""Markdown: a conversation for a ticket or a document."""

from __future__ import annotations

import re

from proxy.conversation import Conversation, Json, Media, Message, Part, Raw, Thinking, ToolCall, ToolResult
from proxy.store.query import RequestRow

_FENCES = re.compile(r"`{3,}")


def markdown(row: RequestRow, conversation: Conversation) -> str:
    """Return a request and its answers as a document."""
    model = row.model or row.model_requested or row.endpoint
    lines = [f"# {_line(model)}", "", f"Request `{row.id}`, status {row.status or row.outcome}.", ""]
    for message in conversation.messages:
        lines += _message(message)
    for answer in conversation.answers:
        lines += ["---", ""]
        lines += _message(answer.message)
        if answer.finish_reason:
            lines += [f"Finish: {_line(answer.finish_reason)}", ""]
    return "\n".join(lines)


def _message(message: Message) -> list[str]:
    lines = [f"## {_line(message.role.capitalize())}", ""]
    for part in message.parts:
        lines += [_part(part), ""]
    return lines


def _part(part: Part) -> str:
    match part:
        case ToolCall():
            return (
                f"Calls `{_line(part.name or 'a tool')}`\n\n{fenced(part.arguments, 'json' if part.is_valid else '')}"
            )
        case ToolResult():
            inner = "\n\n".join(
                fenced(each.text) if not isinstance(each, Media) else _part(each) for each in part.parts
            )
            return f"Result of `{_line(part.name or part.id or 'a tool')}`\n\n{inner}"
        case Media():
            return f"*{part.form}, {_line(part.media_type)}{f', {part.size:,} bytes' if part.size else ''}*"
        case Thinking():
            return "\n".join(f"> {line}" for line in (part.text or "(hidden)").splitlines())
        case Json():
            return fenced(part.text, "json")
        case Raw():
            return fenced(part.text)
        case _:
            return part.text


def fenced(text: str, language: str = "") -> str:
    """Return a block of code whose fence is longer than any in it."""
    longest = max((len(match[0]) for match in _FENCES.finditer(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
