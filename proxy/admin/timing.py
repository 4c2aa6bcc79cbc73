"""Where the time of a request went, step by step."""

from __future__ import annotations

from typing import Literal

import msgspec

from proxy.store.detail import Detail

StepName = Literal["receive", "admit", "connect", "wait", "stream"]


class TimeStep(msgspec.Struct, frozen=True):
    """One step of a request, in ms after its head."""

    name: StepName
    """receive: its body; admit: key and budget; connect; wait: for the first token, or for the answer; stream."""
    start_ms: float
    end_ms: float


class Timing(msgspec.Struct, frozen=True):
    """The steps of a request, as far as they are known."""

    steps: tuple[TimeStep, ...]
    is_reused: bool
    """A connection was open already."""
    overhead_ms: float | None
    """What Glassline added."""
    first_token_ms: float | None
    first_visible_ms: float | None
    """The first token that is more than reasoning."""
    duration_ms: float | None
    """None: nobody saw the end."""


def read_timing(known: Detail) -> Timing:
    """Return where the time went; a step that nobody timed is left out."""
    dispatched, connect = known.dispatched_us, known.connect_us or 0
    ended = known.duration_us
    begun = known.first_token_us if known.first_token_us is not None else known.response_head_us
    steps: list[TimeStep] = []
    at = 0
    if dispatched is not None:
        sent = max(0, dispatched - connect)
        if known.request_complete_us is not None and known.request_complete_us <= sent:
            at = _add(steps, "receive", 0, known.request_complete_us)
        at = _add(steps, "admit", at, sent)
        if known.connect_us is not None:
            at = _add(steps, "connect", at, dispatched)
        waited_to = begun if begun is not None else ended
        if waited_to is not None:
            at = _add(steps, "wait", dispatched, waited_to)
        if begun is not None and ended is not None:
            _add(steps, "stream", at, ended)
    elif ended is not None:
        _add(steps, "admit", 0, ended)
    return Timing(
        tuple(steps),
        is_reused=dispatched is not None and known.connect_us is None,
        overhead_ms=_ms(known.overhead_us),
        first_token_ms=_ms(known.first_token_us),
        first_visible_ms=_ms(known.first_visible_us),
        duration_ms=_ms(ended),
    )


def _add(steps: list[TimeStep], name: StepName, start: int, end: int) -> int:
    end = max(start, end)
    steps.append(TimeStep(name, start / 1000, end / 1000))
    return end


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
