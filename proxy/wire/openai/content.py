"""Message content of the OpenAI API: a string, or a list of parts; and tool calls, whole or in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.records import ToolCall


class Part(msgspec.Struct):
    """One part of a content. Images, audio and files have no text and are skipped."""

    text: str | None = None
    refusal: str | None = None
    thinking: str | list[Part | str] | None = None
    """Mistral's reasoning models put their reasoning into a part of the content."""


Content = str | list[Part | str] | None


def text_of(content: Content) -> str:
    """Return the visible text of a content; of several parts, joined by newlines."""
    if isinstance(content, str):
        return content
    parts = (part if isinstance(part, str) else part.text or part.refusal for part in content or ())
    return "\n".join([text for text in parts if text])


def thinking_of(content: Content) -> str:
    """Return the reasoning inside a content."""
    if isinstance(content, str):
        return ""
    return "".join([text_of(part.thinking) for part in content or () if isinstance(part, Part)])


@dataclass(slots=True)
class _Call:
    choice: int
    id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)


class ToolCalls:
    """Tool calls being assembled from the pieces of a stream."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._open: dict[tuple[int, int | None], _Call] = {}

    def take(self, choice: int, index: int | None, id_: str | None, name: str | None, arguments: Any) -> None:
        """Add a piece.

        A new id begins a new call even at an index in use, since some servers number every call 0. Without an index
        a new name does.
        """
        call = self._open.get((choice, index))
        is_other = call is not None and bool(
            (id_ and call.id and id_ != call.id) or (index is None and name and call.name)
        )
        if call is None or is_other:
            call = self._open[choice, index] = _Call(choice)
            self._calls.append(call)
        call.id = call.id or id_ or None
        call.name = call.name or name or None
        if arguments:
            call.pieces.append(arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode())

    def whole(self) -> tuple[ToolCall, ...]:
        """Return the calls by choice, each choice's in the order in which they began."""
        calls = sorted(self._calls, key=lambda call: call.choice) if self._calls else ()
        return tuple(
            [ToolCall(choice=call.choice, name=call.name, arguments="".join(call.pieces), id=call.id) for call in calls]
        )
