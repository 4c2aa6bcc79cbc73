"""What a reader of conversations reads: the transcript of an exchange, its request as plain values, and its blobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from proxy.conversation.blobs import Blobs
from proxy.conversation.document import dict_of, list_of
from proxy.conversation.message import Answer, Message, Tool
from proxy.wire.transcript import Transcript


@dataclass(slots=True)
class Source:
    """Both sides of an exchange, decoded."""

    transcript: Transcript
    request: Any
    """The request's JSON; None: it is none."""
    is_streaming: bool
    blobs: Blobs = field(default_factory=Blobs)

    @property
    def asked(self) -> dict[str, Any]:
        """The request as an object."""
        return dict_of(self.request)


@dataclass(slots=True)
class Said:
    """What a reader understood."""

    messages: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    told: frozenset[str] = frozenset()
    """Members of the request that stand in the messages and tools; the others are parameters."""


def turns(value: Any) -> list[Any]:
    """Return the elements of a list of messages; one alone stands for a list of itself."""
    return list_of(value) if isinstance(value, list) else [value] if value is not None else []
