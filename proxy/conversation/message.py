"""Messages: one shape for what people, programs and models say to each other, whatever the wire."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from proxy.conversation.blobs import Blob, Media

Flag = Literal[
    "truncated",  # it reached the most tokens that it may have
    "filtered",  # the provider held it back
    "refused",  # the model would not
    "empty",  # it finished without saying anything
    "invalid_json",  # it was to be JSON and is none
    "invalid_arguments",  # the arguments of a tool call are no JSON
    "unfinished",  # it broke off
]


class Text(msgspec.Struct, frozen=True, tag="text", tag_field="kind"):
    """What is said."""

    text: str


class Thinking(msgspec.Struct, frozen=True, tag="thinking", tag_field="kind"):
    """What a model thought before it said something."""

    text: str
    """Empty: the provider hides it."""


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", tag_field="kind"):
    """A call that a model asks for."""

    id: str | None
    name: str | None
    arguments: str
    """As they were written: JSON, or nearly."""
    is_valid: bool
    """The arguments are JSON, or were never meant to be."""


class Refusal(msgspec.Struct, frozen=True, tag="refusal", tag_field="kind"):
    """Why a model would not."""

    text: str


class Json(msgspec.Struct, frozen=True, tag="json", tag_field="kind"):
    """An answer that was asked for as JSON."""

    text: str
    is_valid: bool


class Raw(msgspec.Struct, frozen=True, tag="raw", tag_field="kind"):
    """Something that no reader knows, as it stands on the wire."""

    label: str
    """What the wire calls it; or what is to be said of it."""
    text: str


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", tag_field="kind"):
    """What came of a call."""

    id: str | None
    """Of the call."""
    name: str | None
    parts: tuple[Text | Media | Raw, ...]
    is_error: bool = False


Part: TypeAlias = Text | Thinking | ToolCall | ToolResult | Media | Refusal | Json | Raw


class Message(msgspec.Struct, frozen=True):
    """What one side said at a time."""

    role: str
    """system, developer, user, assistant or tool; anything else as it was said."""
    parts: tuple[Part, ...]
    name: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """One of the answers to a request."""

    message: Message
    finish_reason: str | None = None
    flags: tuple[Flag, ...] = ()


class Tool(msgspec.Struct, frozen=True):
    """A tool that the model may call."""

    name: str
    description: str
    schema: Any
    """Of its arguments, JSON Schema; None: it has none."""


class Conversation(msgspec.Struct, frozen=True):
    """A request and its answers."""

    dialect: str
    """Whose API it is; empty: nobody knows."""
    endpoint: str
    messages: tuple[Message, ...] = ()
    """Of the request, instructions first."""
    answers: tuple[Answer, ...] = ()
    tools: tuple[Tool, ...] = ()
    parameters: dict[str, Any] = {}
    """What else the request says."""
    blobs: tuple[Blob, ...] = ()
    """Pictures, sound and files, in order of appearance: `Media.blob` is a place among them."""
    problems: tuple[str, ...] = ()
    """What could not be read."""


SYSTEM: Final = frozenset({"system", "developer"})


def size_of(message: Message) -> int:
    """Return how many characters a message has."""
    return sum(map(part_size, message.parts))


def part_size(part: Part) -> int:
    """Return how many characters a part has; those of a picture are none."""
    match part:
        case ToolCall():
            return len(part.arguments) + len(part.name or "")
        case ToolResult():
            return sum(map(part_size, part.parts))
        case Media():
            return 0
        case _:
            return len(part.text)
