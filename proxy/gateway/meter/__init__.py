"""An upper bound of the output tokens in a running stream, so that a hard cap can end it in time.

The bound counts bytes of text and is about four times the truth for English; settlement corrects it. Only streams of
keys with a hard budget are metered, and only those of models that bill nothing invisible.

Invariant: of a metered stream nothing is passed on that the reservation does not cover, however its bytes are split
and however many arrive at once. What is not covered is held until it is, or the stream is cut. A stream that cannot
be read, because it is compressed or is no stream at all, is held until the whole request is covered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.gateway.meter.text import Output
from proxy.gateway.meter.units import Frames, Lines, Unit, payload_of
from proxy.gateway.refusal import Refusal

__all__ = ["EVERYTHING", "EXTEND_AHEAD", "Allowance", "Meter"]

_OVERHEAD_TOKENS: Final = 64
"""For what a provider counts beside text: end markers, the frame of a tool call."""
EXTEND_AHEAD: Final = 512
"""Tokens left in the reservation of a stream when more are asked for: some 100 ms of a fast model, many round trips."""
EVERYTHING: Final = 2**53
"""More tokens than any request can produce: the ledger cuts it to what this one can."""
_EVENTS: Final = b"text/event-stream"
_OBJECTS: Final = (b"application/x-ndjson", b"application/jsonl", b"application/x-jsonlines")
_FRAMES: Final = b"application/vnd.amazon.eventstream"
_LINE_END: Final = 2
"""Bytes of the longest."""
_FIELDS: Final = (b":", b"event:", b"id:", b"retry:", b"event\n", b"\n", b"\r")
"""How the lines of an event begin that hold no data."""


class Meter:
    """Counts a stream as it passes."""

    __slots__ = ("_count", "_output", "_overhead", "_splitter")

    def __init__(self, choices: int, content_type: bytes = _EVENTS) -> None:
        """`content_type`: lower case, with parameters; of a kind that `can_read` affirms."""
        self._output = Output()
        self._overhead = _OVERHEAD_TOKENS * choices
        self._splitter: Lines | Frames = Lines()
        self._count: Callable[[bytes], None]
        if content_type.startswith(_EVENTS):
            self._count = self._count_event_line
        elif content_type.startswith(_FRAMES):
            self._splitter = Frames()
            self._count = self._count_frame
        else:
            self._count = self._count_object

    @staticmethod
    def can_read(content_type: bytes) -> bool:
        """Say whether a response of this type is a stream that can be counted."""
        return content_type.startswith((_EVENTS, _FRAMES, *_OBJECTS))

    @property
    def output_tokens(self) -> int:
        """Upper bound of the tokens in all units handed out so far."""
        return self._output.size + self._overhead

    def feed(self, data: bytes) -> list[tuple[bytes, int]]:
        """Return the units that `data` completes, each with the upper bound of all tokens up to its end."""
        return self._counted(self._splitter.feed(data))

    def close(self) -> list[tuple[bytes, int]]:
        """Return what is left when the stream is over."""
        return self._counted(self._splitter.close())

    def _counted(self, units: list[Unit]) -> list[tuple[bytes, int]]:
        output, overhead, counted = self._output, self._overhead, []
        for data, is_whole in units:
            if not is_whole:
                output.add_bytes(len(data))
            elif len(data) > _LINE_END:
                self._count(data)
            counted.append((data, output.size + overhead))
        return counted

    def _count_event_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data != b"[DONE]":
                self._output.add_json(data)
        elif not line.startswith(_FIELDS):
            self._output.add_bytes(len(line))

    def _count_object(self, line: bytes) -> None:
        if stripped := line.strip():
            self._output.add_json(stripped)

    def _count_frame(self, frame: bytes) -> None:
        self._output.add_invocation(payload_of(frame))


class Allowance:
    """What a stream may still produce before more must be reserved, and what waits for that."""

    __slots__ = ("_asked_tokens", "_choices", "_held", "_meter", "_produced", "granted_tokens", "is_ended", "refusal")

    def __init__(self, granted_tokens: int, choices: int) -> None:
        self.granted_tokens: int | None = granted_tokens
        """Output tokens that the reservation covers; None: all that the request can produce."""
        self.refusal: Refusal | None = None
        """Why no more will be covered; the stream may use up what it has."""
        self.is_ended = False
        """The response is complete, and waits only for what is held."""
        self._meter: Meter | None = None
        self._choices = choices
        self._held: deque[tuple[bytes, int]] = deque()
        self._produced = 0
        self._asked_tokens = 0

    def begin(self, content_type: bytes, *, is_encoded: bool) -> None:
        """Take note of what kind of response begins."""
        is_readable = not is_encoded and Meter.can_read(content_type)
        self._meter = Meter(self._choices, content_type) if is_readable else None

    @property
    def is_blind(self) -> bool:
        """Say whether nothing may pass before everything is covered, for the response cannot be read."""
        return self._meter is None and self.granted_tokens is not None

    @property
    def is_holding(self) -> bool:
        """Say whether something waits to be covered."""
        return bool(self._held)

    def take(self, pieces: list[bytes]) -> list[bytes]:
        """Count what came; return what may be passed on now, in order with what was held before."""
        meter = self._meter
        if meter is None:
            self._hold([(piece, EVERYTHING) for piece in pieces])
        else:
            for piece in pieces:
                self._hold(meter.feed(piece))
        return self._covered()

    def grant(self, tokens: int | None) -> list[bytes]:
        """Take note of what is covered from now on; return what may be passed on now, all of it where all is covered."""
        self.granted_tokens = tokens
        return self._covered() if tokens is not None else self.close()

    def close(self) -> list[bytes]:
        """Count what is left at the end of the response; return what may be passed on now."""
        if self._meter is not None:
            self._hold(self._meter.close())
        return self._covered()

    def _hold(self, units: list[tuple[bytes, int]]) -> None:
        if units:
            self._held += units
            self._produced = units[-1][1]

    def _covered(self) -> list[bytes]:
        held, granted = self._held, self.granted_tokens
        passing = []
        while held and (granted is None or held[0][1] <= granted):
            passing.append(held.popleft()[0])
        return passing if len(passing) <= 1 else [b"".join(passing)]

    def tokens_to_ask(self) -> int | None:
        """Return how many tokens the ledger should cover in all; None: nothing to ask now. Each is returned once."""
        if self.granted_tokens is None or self.refusal is not None:
            return None
        needed = EVERYTHING if self.is_blind else self._produced + EXTEND_AHEAD
        if needed <= self.granted_tokens or needed <= self._asked_tokens:
            return None
        self._asked_tokens = needed
        return needed
