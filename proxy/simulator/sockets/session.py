"""A session: what it is told, what it says, what it bills."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from proxy.simulator.counting import TokenCounter
from proxy.simulator.desk import Desk
from proxy.simulator.directives import Directives
from proxy.simulator.truth import Request

Object = dict[str, object]


@dataclass(frozen=True, slots=True)
class Bill:
    """What one response consumed."""

    model: str
    usage: Mapping[str, float]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The session ends with this close code."""

    code: int
    reason: str = ""


Spoken = Object | Bill | Goodbye
"""A JSON message, something for the truth log, or the end."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a session knows from its handshake."""

    request: Request
    wishes: Directives
    identity: str
    """Hexadecimal digest: the source of everything that looks random."""
    counter: TokenCounter
    desk: Desk

    def dice(self, salt: str) -> random.Random:
        """Return chance that is the same in every run."""
        return random.Random(f"{self.identity}{salt}")


class Session(Protocol):
    """One connection's conversation."""

    is_binary: bool
    """Its JSON goes out in binary frames."""

    def greet(self) -> Iterator[Spoken]:
        """Say what is said without being asked."""
        ...

    def hear(self, message: Mapping[str, object]) -> Iterator[Spoken]:
        """Answer a message."""
        ...


def sound(dice: random.Random, size: int) -> str:
    """Return made-up sound, base64-encoded."""
    return base64.b64encode(dice.randbytes(size)).decode()


def decoded_size(text: object) -> int:
    """Return the bytes that base64 text stands for."""
    return len(text) * 3 // 4 if isinstance(text, str) else 0


def texts_in(value: object) -> str:
    """Return every `text` in a nested value, joined."""
    if isinstance(value, Mapping):
        own = value.get("text")
        return (own if isinstance(own, str) else "") + "".join(texts_in(inner) for inner in value.values())
    return "".join(texts_in(inner) for inner in value) if isinstance(value, list) else ""
