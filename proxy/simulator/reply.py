"""What is to be sent: a plain body or a stream of events. Values only; `delivery` sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.simulator.answer import Usage

JSON = "application/json"


class Event(NamedTuple):
    """One server-sent event, and the tokens the provider had to generate for it."""

    data: bytes
    """The whole event with its blank line; empty: tokens that are generated but not shown."""
    output_tokens: int = 0
    """Reasoning included."""
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plain:
    """A response with one body."""

    status: int
    body: bytes
    usage: Usage | None = None
    """What is billed for it. None: nothing."""
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """A response of server-sent events."""

    events: Iterator[Event]
    prompt: Usage
    """What is billed before the first token is out."""
    failure: Callable[[int], bytes]
    """Returns the events by which this wire reports a failure after so many events."""


Reply = Plain | Stream
