"""Deployed: which models, prompts and versions of applications are in use, and since when."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from proxy.store.listing import Rows, Step
from proxy.store.query import Plan
from proxy.store.rollups import DAY_MS, HOUR_MS, OTHER

APP_TAGS: Final = ("version", "app_version", "release", "commit")
"""Tags that say which version of an application asks."""
_MOST: Final = 8
_CLOSE_MS: Final = 14 * DAY_MS
"""So far back, the hour is told; before, the day."""


class Deployed(msgspec.Struct, frozen=True):
    """One model, prompt or version of an application."""

    name: str
    version: str
    """Of a prompt or an application; '': it says none."""
    requests: int
    """In the last 24 hours; of tags, since yesterday (UTC)."""
    first_seen: int
    """Start of the hour or day (UTC) of the first request, Unix ms."""
    is_to_the_hour: bool
    is_from_the_start: bool
    """It was there when records begin."""


class Deployments(msgspec.Struct, frozen=True):
    """What is in use."""

    models: list[Deployed]
    prompts: list[Deployed]
    apps: list[Deployed]
    """By tag: `version`, `app_version`, `release` or `commit`."""


def deployments(now_ms: int) -> Plan[Deployments]:
    """Ask what is in use."""

    def steps() -> Generator[Step, Rows, Deployments]:
        start = yield "SELECT min(start) FROM rollups WHERE dimension = 'all' AND span = 'day'", ()
        begin = start[0][0]
        if begin is None:
            return Deployments([], [], [])
        models = yield from _of_hours("model", now_ms, begin)
        prompts = yield from _of_hours("prompt", now_ms, begin)
        apps = yield from _of_tags(now_ms, begin)
        return Deployments(models, prompts, apps)

    return Plan(steps)


def _of_hours(dimension: str, now_ms: int, begin: int) -> Generator[Step, Rows, list[Deployed]]:
    live = yield (
        (
            "SELECT value, part, sum(requests) FROM rollups WHERE dimension = ? AND span = 'hour' AND start >= ?"
            " AND value NOT IN ('', ?) GROUP BY 1, 2 ORDER BY 3 DESC LIMIT ?"
        ),
        (dimension, now_ms - now_ms % HOUR_MS - DAY_MS, OTHER, _MOST),
    )
    days = yield _first("day"), (dimension, 0, _names(live))
    hours = yield _first("hour"), (dimension, now_ms - _CLOSE_MS, _names(live))
    return _seen(live, days, hours, now_ms, begin)


def _of_tags(now_ms: int, begin: int) -> Generator[Step, Rows, list[Deployed]]:
    live = yield (
        (
            "SELECT value, part, sum(requests) FROM rollups WHERE dimension = 'tag' AND span = 'day' AND start >= ?"
            " AND value IN (SELECT value FROM json_each(?)) GROUP BY 1, 2 ORDER BY 3 DESC LIMIT ?"
        ),
        (now_ms - now_ms % DAY_MS - DAY_MS, msgspec.json.encode(APP_TAGS).decode(), _MOST),
    )
    days = yield _first("day"), ("tag", 0, _names(live))
    return _seen(live, days, [], now_ms, begin)


def _first(span: str) -> str:
    return (
        f"SELECT value, part, min(start) FROM rollups WHERE dimension = ? AND span = '{span}' AND start >= ?"  # noqa: S608
        " AND value IN (SELECT value FROM json_each(?)) GROUP BY 1, 2"
    )


def _names(live: Rows) -> str:
    return msgspec.json.encode(sorted({row[0] for row in live})).decode()


def _seen(live: Sequence[tuple[Any, ...]], days: Rows, hours: Rows, now_ms: int, begin: int) -> list[Deployed]:
    first_day = {(value, part): start for value, part, start in days}
    first_hour = {(value, part): start for value, part, start in hours}
    found = []
    for value, part, requests in live:
        day = first_day.get((value, part), now_ms)
        hour = first_hour.get((value, part))
        is_exact = hour is not None and hour - hour % DAY_MS == day
        found.append(
            Deployed(value, part, requests, hour if is_exact and hour is not None else day, is_exact, day <= begin)
        )
    return found
