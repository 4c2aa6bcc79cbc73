"""Directives: how one answer is to be shaped, slowed down or broken.

They arrive in the `x-simulate` request header, or from a scenario file under the same names:

    x-simulate: ttft=0.2; pace=50; tokens=120; cut=5

A name that does not exist is refused: a test that misspells its fault would otherwise test nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from proxy.errors import BadRequest
from proxy.simulator.coding import PACKERS


@dataclass(frozen=True, slots=True)
class Span:
    """A quantity drawn anew for each request, between two bounds; equal bounds make it fixed."""

    low: float
    high: float

    def draw(self, rng: random.Random) -> float:
        """Draw a value; evenly over the orders of magnitude, as latencies are spread."""
        if self.low == self.high or self.low <= 0:
            return rng.uniform(self.low, self.high)
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


@dataclass(frozen=True, slots=True)
class Directives:
    """Wishes about one answer. None everywhere means: unless another layer says so, the natural behaviour.

    The five that count events (`cut`, `fin`, `eof`, `stall`, `error`) count whole server-sent events.
    An answer that is not streamed has only one place to break: nothing sent (0), or half of the body (any other number).
    """

    status: int | None = None
    """Answer with this status and OpenAI's error envelope for it (200: no error)."""
    code: str | None = None
    """The `code` and `type` of that envelope, instead of the usual ones."""
    retry_after: str | None = None
    """Value of the `retry-after` header, as given."""
    ttft: Span | None = None
    """Seconds before the first byte of the answer."""
    pace: Span | None = None
    """Output tokens per second; hidden reasoning takes its time too."""
    tokens: int | None = None
    """Length of the visible text of each choice, in tokens, before any limit of the request."""
    tools: int | None = None
    """Number of tool calls to make, if the request offers tools; 0 forbids them."""
    reasoning: int | None = None
    """Reasoning tokens, streamed visibly as `reasoning_content` (or as the summary, in Responses)."""
    hidden_reasoning: int | None = None
    """Reasoning tokens that are billed but never shown."""
    cut: int | None = None
    """Reset the TCP connection (RST) after this many events."""
    fin: int | None = None
    """Close the TCP connection (FIN) in the middle of the body after this many events."""
    eof: int | None = None
    """End the body politely after this many events, without its ending."""
    stall: int | None = None
    """Send nothing more after this many events, and keep the connection open."""
    error: int | None = None
    """Send an error event after this many events and end; a plain answer becomes a 500."""
    no_usage: bool | None = None
    """Leave usage out of the answer."""
    header_stall: bool | None = None
    """Take the request and never answer."""
    gzip: bool | None = None
    """Send the body gzip-encoded, flushed at every event."""
    coding: str | None = None
    """The same with another content coding: gzip, deflate, br or zstd."""
    chunk: int | None = None
    """Split the body into writes of this many bytes."""
    close: bool | None = None
    """Announce `connection: close`."""
    hang_up: int | None = None
    """Close a WebSocket with this code, after one message or as many as `eof` says."""

    def under(self, upper: Directives) -> Directives:
        """Return these directives overridden by those that `upper` sets."""
        chosen = {field.name: getattr(upper, field.name) for field in fields(upper)}
        return replace(self, **{name: value for name, value in chosen.items() if value is not None})


def read_directives(header: str) -> Directives:
    """Read the value of an `x-simulate` header. Raises BadRequest for what it does not know."""
    wishes = (wish.strip().partition("=") for wish in header.split(";") if wish.strip())
    return directives_from({name.strip(): value.strip() or None for name, _, value in wishes})


def directives_from(wishes: Mapping[str, object]) -> Directives:
    """Read directives given as names and values; a None value stands for a name without one."""
    return Directives(**dict(_read_wishes(wishes.items())))


def _read_wishes(wishes: Iterable[tuple[str, object]]) -> Iterable[tuple[str, Any]]:
    for name, value in wishes:
        read = _READERS.get(name)
        if read is None:
            raise BadRequest(f"Unknown directive {name!r}; there are: {', '.join(sorted(_READERS))}.")
        try:
            yield name.replace("-", "_"), read(value)
        except ValueError:
            raise BadRequest(f"Directive {name!r} cannot be {value!r}.") from None


def _read_count(value: object) -> int:
    count = int(str(value))
    if count < 0:
        raise ValueError(value)
    return count


def _read_size(value: object) -> int:
    size = int(str(value))
    if size < 1:
        raise ValueError(value)
    return size


def _read_status(value: object) -> int:
    status = int(str(value))
    if not 200 <= status <= 599:
        raise ValueError(value)
    return status


def _read_tools(value: object) -> int:
    return 1 if value is None or value is True else _read_count(value)


def _read_text(value: object) -> str:
    if value is None:
        raise ValueError(value)
    return str(value)


def _read_flag(value: object) -> bool:
    if value is None or str(value).lower() in ("true", "1"):
        return True
    if str(value).lower() in ("false", "0"):
        return False
    raise ValueError(value)


def _read_coding(value: object) -> str:
    if value not in PACKERS:
        raise ValueError(value)
    return str(value)


def _read_span(value: object) -> Span:
    low, _, high = str(value).partition("..")
    span = Span(float(low), float(high or low))
    if not (0 <= span.low <= span.high and math.isfinite(span.high)):
        raise ValueError(value)
    return span


_READERS: dict[str, Callable[[object], object]] = {
    "status": _read_status,
    "code": _read_text,
    "retry-after": _read_text,
    "ttft": _read_span,
    "pace": _read_span,
    "tokens": _read_count,
    "tools": _read_tools,
    "reasoning": _read_count,
    "hidden-reasoning": _read_count,
    "cut": _read_count,
    "fin": _read_count,
    "eof": _read_count,
    "stall": _read_count,
    "error": _read_count,
    "no-usage": _read_flag,
    "header-stall": _read_flag,
    "gzip": _read_flag,
    "coding": _read_coding,
    "chunk": _read_size,
    "close": _read_flag,
    "hang-up": _read_count,
}
