"""What an application asks for: a request for text in any dialect, reduced to what shapes the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the application offers."""

    name: str
    schema: Mapping[str, object]
    """JSON Schema of its arguments."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for text, understood."""

    kind: str
    """What the dialect calls it: chat, completions, responses, messages, …; only completions never reason."""
    model: str
    is_streaming: bool
    includes_usage: bool
    """The application asked for the usage chunk of a chat or completions stream."""
    is_padded: bool
    """Deltas of a chat stream carry padding (`obfuscation`), unless the application declined it."""
    choices: int
    """Number of alternatives to write, for all prompts together."""
    limit: int | None
    """Most output tokens per choice, reasoning included. None: no limit given."""
    tools: tuple[Tool, ...]
    tool_choice: str
    """none, auto, required, or the name of the one tool to call."""
    follows_tool: bool
    """The conversation ends with the result of a tool."""
    schema: Mapping[str, object] | None
    """JSON Schema the answer must fit. None: prose."""
    effort: str
    """Reasoning effort; '' when not given."""
    tier: str
    """Service tier the response reports."""
    request: Mapping[str, object]
    """The whole request, decoded."""


def read_mapping(value: object) -> Mapping[str, object]:
    """Return the value if it is an object, or else an empty one."""
    return value if isinstance(value, Mapping) else {}
