"""Measures of quality: what is counted about answers and what is said of them, as shares of two weeks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from proxy.store.feedback import FeedbackDay
from proxy.store.quality import CUTS, REFUSALS, Counted, Day
from proxy.store.rollups import DAY_MS

WEEK: Final = 7
Counts = TypeVar("Counts", Day, FeedbackDay)


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One share, day by day."""

    name: str
    label: str
    share: float | None
    """Of the last seven days. None: there was nothing to count."""
    before: float | None
    """Of the seven days before."""
    counted: int
    of: int
    """Of so many that were looked at."""
    starts: list[int]
    """Of each day (UTC), Unix ms."""
    days: list[float | None]
    days_before: list[float | None]
    parts: list[tuple[str, int]]
    """What it consists of."""
    q: str
    """A filter for those that are counted."""


class _Kind(NamedTuple, Generic[Counts]):
    name: str
    label: str
    counted: Callable[[Counts], int]
    of: Callable[[Counts], int]
    parts: tuple[tuple[str, Callable[[Counts], int]], ...]
    q: str


_KINDS: Final[tuple[_Kind[Day], ...]] = (
    _Kind(
        "refusals",
        "Refusals and empty answers",
        lambda day: day.refusals + day.empty,
        lambda day: day.answers,
        (("refused", lambda day: day.refusals), ("empty", lambda day: day.empty)),
        f"finish:({' OR '.join(REFUSALS)}) OR outcome:completed output:0 has:finish tools:false",
    ),
    _Kind(
        "cut",
        "Cut off at the token limit",
        lambda day: day.cut,
        lambda day: day.answers,
        (),
        f"finish:({' OR '.join(CUTS)})",
    ),
    _Kind(
        "retries", "Sent again after a failure", lambda day: day.retries, lambda day: day.forwarded, (), "retry:true"
    ),
)


_FEEDBACK: Final[_Kind[FeedbackDay]] = _Kind(
    "feedback",
    "Positive feedback",
    lambda day: day.positive,
    lambda day: day.given,
    (("positive", lambda day: day.positive), ("negative", lambda day: day.negative)),
    "feedback:positive",
)


def measures(counted: Counted, given: Sequence[FeedbackDay], first_ms: int) -> list[Measure]:
    """Return the shares of fourteen days from `first_ms` on."""
    return [*(_measure(kind, counted.days, first_ms) for kind in _KINDS), _measure(_FEEDBACK, given, first_ms)]


def _measure(kind: _Kind[Counts], days: Sequence[Counts], first_ms: int) -> Measure:
    by_start = {day.start: day for day in days}
    start = first_ms + WEEK * DAY_MS
    before, now = ([by_start.get(begin + number * DAY_MS) for number in range(WEEK)] for begin in (first_ms, start))
    known = [day for day in now if day is not None]
    return Measure(
        name=kind.name,
        label=kind.label,
        share=_share(kind, known),
        before=_share(kind, [day for day in before if day is not None]),
        counted=sum(map(kind.counted, known)),
        of=sum(map(kind.of, known)),
        starts=[start + number * DAY_MS for number in range(WEEK)],
        days=[_share(kind, [day] if day else []) for day in now],
        days_before=[_share(kind, [day] if day else []) for day in before],
        parts=[(label, sum(map(part, known))) for label, part in kind.parts],
        q=kind.q,
    )


def _share(kind: _Kind[Counts], days: Sequence[Counts]) -> float | None:
    of = sum(map(kind.of, days))
    return sum(map(kind.counted, days)) / of if of else None
