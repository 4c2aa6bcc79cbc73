"""What is to be sent: a plain body or a stream of events (server-sent, JSON lines, binary frames: bytes are bytes). Values only; `delivery` sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.simulator.answer import Buckets, Usage

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


class Event(NamedTuple):
    """One event of a stream, and the tokens the provider had to generate for it."""

    data: bytes
    """The whole event with its framing (the blank line of a server-sent event); empty: tokens that are generated but not shown."""
    output_tokens: int = 0
    """Reasoning included."""
    reasoning_tokens: int = 0
    extra: Buckets = ()
    """What is billed besides tokens of output, such as images; added when the event is sent."""


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
    """A response that comes event by event."""

    events: Iterator[Event]
    prompt: Usage
    """What is billed before the first token is out."""
    failure: Callable[[int], bytes]
    """Returns the bytes by which this wire reports a failure after so many events."""
    content_type: str = SSE
    headers: tuple[tuple[bytes, bytes], ...] = ()


Reply = Plain | Stream
