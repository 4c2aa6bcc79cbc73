"""Excerpts: as much of a conversation as a screen needs.

A request may hold 5,000 messages or a text of 10 MB. What is sent is the turn at its end with the instructions before it,
each text up to a length; how much there is besides is said, and can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from proxy.conversation import (
    Conversation,
    Flag,
    Message,
    Part,
    Tool,
    ToolCall,
    ToolResult,
    size_of,
)
from proxy.conversation.history import History, estimated_tokens

MOST_MESSAGES: Final = 200
"""Sent at a time."""
LONGEST_TEXT: Final = 50_000
"""Characters of one part, unless all of it is asked for."""
_MOST_LETTERS: Final = 2_000_000
"""Of all messages of one answer."""
_MOST_SYSTEM: Final = 20


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    index: int
    """Its place in the request, or the number of the answer."""
    role: str
    name: str | None
    parts: Sequence[Part]
    tokens: int
    """About: its share of what the provider counted, or a quarter of its characters."""
    size: int
    """Characters."""
    cut: dict[int, int]
    """Parts that are longer than what is shown of them, and how long each is."""


class ShownAnswer(msgspec.Struct, frozen=True):
    """One answer."""

    message: ShownMessage
    finish_reason: str | None
    flags: tuple[Flag, ...]


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent of a conversation."""

    dialect: str
    endpoint: str
    total: int
    """Messages of the request."""
    first: int
    """The messages below, instructions aside, begin here."""
    messages: list[ShownMessage]
    answers: list[ShownAnswer]
    history: History
    tools: tuple[Tool, ...]
    parameters: dict[str, Any]
    problems: tuple[str, ...]


def excerpt(
    conversation: Conversation,
    history: History,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    start: int | None = None,
    end: int | None = None,
    is_full: bool = False,
) -> Excerpt:
    """Return the messages in [start, end); without either the turn at the end, and the instructions."""
    messages = conversation.messages
    total = len(messages)
    tokens = estimated_tokens(messages, input_tokens)
    if start is None and end is None:
        first = max(history.folded, total - MOST_MESSAGES)
        wanted = [*range(min(history.system, _MOST_SYSTEM)), *range(max(first, history.system), total)]
        first = max(first, history.system)
    else:
        last = total if end is None else min(end, total)
        first = max(0, min(start or 0, last))
        wanted = list(range(first, min(last, first + MOST_MESSAGES)))
    limit = None if is_full else LONGEST_TEXT
    answers = [answer.message for answer in conversation.answers]
    answer_tokens = estimated_tokens(answers, output_tokens)
    return Excerpt(
        dialect=conversation.dialect,
        endpoint=conversation.endpoint,
        total=total,
        first=first,
        messages=_within([_shown(at, messages[at], tokens[at], limit) for at in wanted], limit),
        answers=[
            ShownAnswer(_shown(at, each.message, answer_tokens[at], limit), each.finish_reason, each.flags)
            for at, each in enumerate(conversation.answers)
        ],
        history=history,
        tools=conversation.tools,
        parameters=conversation.parameters,
        problems=conversation.problems,
    )


def _within(shown: list[ShownMessage], limit: int | None) -> list[ShownMessage]:
    """Return messages whose texts are not too much together: of the first ones less is shown."""
    if limit is None:
        return shown
    left = _MOST_LETTERS
    found: list[ShownMessage] = []
    for each in reversed(shown):
        size = min(each.size, limit * max(1, len(each.parts)))
        if size > left:
            each = _shortened(each)
        left -= min(size, left)
        found.append(each)
    return found[::-1]


def _shortened(shown: ShownMessage) -> ShownMessage:
    message = Message(shown.role, tuple(shown.parts), shown.name)
    again = _shown(shown.index, message, shown.tokens, 200)
    return msgspec.structs.replace(again, size=shown.size, cut=again.cut | shown.cut)


def _shown(index: int, message: Message, tokens: int, limit: int | None) -> ShownMessage:
    parts: list[Part] = []
    cut: dict[int, int] = {}
    for at, part in enumerate(message.parts):
        short, length = (part, None) if limit is None else _cut(part, limit)
        parts.append(short)
        if length is not None:
            cut[at] = length
    return ShownMessage(
        index=index,
        role=message.role,
        name=message.name,
        parts=parts,
        tokens=tokens,
        size=size_of(message),
        cut=cut,
    )


def _cut(part: Part, limit: int) -> tuple[Part, int | None]:
    match part:
        case ToolCall():
            text = part.arguments
            if len(text) > limit:
                return msgspec.structs.replace(part, arguments=text[:limit]), len(text)
        case ToolResult():
            inner = [_cut(each, limit) for each in part.parts]
            lengths = [length for _, length in inner if length is not None]
            if lengths:
                return msgspec.structs.replace(part, parts=tuple(each for each, _ in inner)), sum(lengths)
        case _:
            said = getattr(part, "text", "")
            if len(said) > limit:
                return msgspec.structs.replace(part, text=said[:limit]), len(said)
    return part, None
