"""Quality: what answers say of themselves: refused, empty, cut off, sent again. Two weeks of them, by day.

The sums do not know how answers ended, so rows are read: all of them where there are few, and otherwise blocks of rows
spread evenly over the time. What a share is told from stands beside it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

from proxy.store.listing import Rows, Step
from proxy.store.query import Plan
from proxy.store.rollups import DAY_MS

MOST: Final = 20_000
"""Rows that are read: about 40 ms."""
_BLOCK: Final = 128
REFUSALS: Final = (
    *("content_filter", "refusal", "content_filtered", "guardrail_intervened"),
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"),
)
"""How answers end that were refused, as the providers write it."""
CUTS: Final = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_context_window_exceeded")
"""How answers end that were cut off at a limit of tokens."""


class Day(NamedTuple):
    """What was counted among the rows of one day that were read."""

    start: int
    """Unix ms, UTC."""
    forwarded: int
    answers: int
    """That ended for a reason that the provider gave."""
    refusals: int
    empty: int
    """Ended well, with no text and no tool call."""
    cut: int
    retries: int
    """Sent again after a failure, among all that were forwarded."""


class Counted(msgspec.Struct, frozen=True):
    """The days and how much of them was read."""

    days: list[Day]
    read: int
    of: int
    """Rows that there are in the time, about."""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_SELECT: Final = f"""
SELECT started_at - started_at % {DAY_MS}, count(*), sum(has_finish), sum(has_finish AND finish_reason IN ({_listed(REFUSALS)})),
    sum(has_finish AND coalesce(output_tokens, 0) = 0 AND tool_calls = '[]'
        AND finish_reason NOT IN ({_listed(REFUSALS)})),
    sum(has_finish AND finish_reason IN ({_listed(CUTS)})), sum(retry_of IS NOT NULL)
FROM (
    SELECT started_at, finish_reason, output_tokens, tool_calls, retry_of,
        finish_reason IS NOT NULL AND outcome = 'completed' AND output_tokens IS NOT NULL AS has_finish
    FROM (SELECT value AS first FROM json_each(?)) CROSS JOIN exchanges NOT INDEXED
    WHERE seq >= first AND seq < first + ? AND started_at >= ? AND outcome != 'refused'
) GROUP BY 1 ORDER BY 1
"""  # noqa: S608 (constants)


def quality(since_ms: int) -> Plan[Counted]:
    """Ask how the answers since then ended."""

    def steps() -> Generator[Step, Rows, Counted]:
        bounds = yield (
            "SELECT (SELECT seq FROM exchanges WHERE started_at >= ? ORDER BY started_at LIMIT 1), max(seq) FROM exchanges",
            (since_ms,),
        )
        first, last = bounds[0]
        if first is None:
            return Counted([], 0, 0)
        blocks = _blocks(first, last)
        rows = yield _SELECT, (msgspec.json.encode(blocks).decode(), _BLOCK, since_ms)
        days = [Day(*row) for row in rows]
        return Counted(days, sum(day.forwarded for day in days), last - first + 1)

    return Plan(steps)


def _blocks(first: int, last: int) -> list[int]:
    """Return where each block begins: end to end, or spread evenly."""
    count = (last - first) // _BLOCK + 1
    taken = min(count, MOST // _BLOCK)
    return [first + (number * count // taken) * _BLOCK for number in range(taken)]
