"""User: what one of them did in a stretch of time.

Days come from roll-ups; a stretch of two days at most is read from the rows by the hour, when they are not too many.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from proxy.store.filter import Clause, Filter, both, parse_filter
from proxy.store.listing import Rows, Step
from proxy.store.periods import period
from proxy.store.query import Plan
from proxy.store.rollups import DAY_MS, ERRORS, HOUR_MS, MODEL

_LOOKED_AT: Final = 10_000
"""The newest requests, by which models and hours are told."""
_SHORT_MS: Final = 2 * DAY_MS
_SUMS: Final = ("requests", "errors", "unpriced", "cost_nano_usd", "input_tokens", "output_tokens")
_FAILED: Final = "(outcome != 'completed' OR coalesce(status >= 400, 0))"
_RAW: Final = (
    f"count(*), coalesce(sum({_FAILED}), 0), coalesce(sum(is_unpriced), 0), coalesce(sum(cost_nano_usd), 0),"
    " coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)"
)
FAILURES: Final = "(-outcome:completed OR status:>=400)"


class UserPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one step."""

    start: int
    """Unix ms, UTC."""
    requests: int
    errors: int
    unpriced: int
    cost_nano_usd: int
    input_tokens: int
    output_tokens: int


class UserModel(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of one model."""

    model: str
    """'': nobody knows which."""
    requests: int
    errors: int
    unpriced: int
    cost_nano_usd: int
    input_tokens: int
    output_tokens: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one user did."""

    first_at: int | None
    """When the first request that is stored started, at any time, Unix ms. None: none is."""
    last_at: int | None
    total: UserPoint
    step_ms: int
    points: list[UserPoint]
    """Of each step in which there was something, in order."""
    models: list[UserModel]
    models_of: int | None
    """Of so many newest requests. None: of all."""


def is_user(name: str) -> Filter:
    """Return the condition that a request is of this user."""
    clause = Clause("user = ?", (name,))
    return Filter(*clause, anchor=clause, rest=Clause())


def failures(name: str) -> Filter:
    """Return the condition that a request of this user failed."""
    return both(is_user(name), parse_filter(FAILURES))


def profile(name: str, from_ms: int, to_ms: int) -> Plan[Profile | None]:
    """Ask what a user did in [from, to). None: nothing of theirs is known."""

    def steps() -> Generator[Step, Rows, Profile | None]:
        ((first_at, last_at),) = yield _BOUNDS, (name,)
        points = yield from _days(name, from_ms, to_ms)
        if first_at is None and not points:
            return None
        total = _total(from_ms, points)
        step_ms = DAY_MS
        if to_ms - from_ms <= _SHORT_MS and total.requests <= _LOOKED_AT:
            step_ms = HOUR_MS
            points = yield from _hours(name, from_ms, to_ms)
        rows = yield _MODELS, (name, from_ms, to_ms, _LOOKED_AT)
        return Profile(
            first_at=first_at,
            last_at=last_at,
            total=total,
            step_ms=step_ms,
            points=points,
            models=[UserModel(model=model, **_sums(sums)) for model, *sums in rows],
            models_of=_LOOKED_AT if total.requests > _LOOKED_AT else None,
        )

    return Plan(steps)


_BOUNDS: Final = """
SELECT (SELECT min(started_at) FROM exchanges WHERE user = ?1), (SELECT max(started_at) FROM exchanges WHERE user = ?1)
"""
_MODELS: Final = f"""
SELECT coalesce({MODEL}, ''), {_RAW} FROM exchanges WHERE seq IN (
    SELECT seq FROM exchanges WHERE user = ? AND started_at >= ? AND started_at < ? ORDER BY started_at DESC LIMIT ?
) GROUP BY 1 ORDER BY sum(cost_nano_usd) DESC, count(*) DESC LIMIT 50
"""  # noqa: S608 (constants)


def _days(name: str, from_ms: int, to_ms: int) -> Generator[Step, Rows, list[UserPoint]]:
    measures = [each for each in _SUMS if each != "errors"]
    asked = period("user", from_ms, to_ms, [*measures, *ERRORS])
    sums = ", ".join(f"sum({' + '.join(ERRORS)})" if each == "errors" else f"sum({each})" for each in _SUMS)
    sql = f"SELECT at - at % {DAY_MS}, {sums} FROM {asked.sql} WHERE value = ? GROUP BY 1 ORDER BY 1"  # noqa: S608 (constants)
    rows = yield sql, (*asked.parameters, name)
    return [UserPoint(start=start, **_sums(more)) for start, *more in rows]


def _hours(name: str, from_ms: int, to_ms: int) -> Generator[Step, Rows, list[UserPoint]]:
    sql = (
        f"SELECT started_at - started_at % {HOUR_MS}, {_RAW} FROM exchanges"  # noqa: S608 (constants)
        " WHERE user = ? AND started_at >= ? AND started_at < ? GROUP BY 1 ORDER BY 1"
    )
    rows = yield sql, (name, from_ms, to_ms)
    return [UserPoint(start=start, **_sums(more)) for start, *more in rows]


def _total(start: int, points: list[UserPoint]) -> UserPoint:
    return UserPoint(start=start, **{name: sum(getattr(point, name) for point in points) for name in _SUMS})


def _sums(values: list[Any]) -> dict[str, int]:
    return dict(zip(_SUMS, values, strict=True))
