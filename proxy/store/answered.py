"""The request that a provider's own id belongs to.

No index leads to it: one would cost every record something, and people ask this a few times a day. So the newest rows
are looked at first, until the time for a question is over.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from proxy.store.listing import Rows, Step, TimeIsUp
from proxy.store.query import Plan

SLICE: Final = 20_000
"""Rows in one step: some 40 ms."""


def answered_as(response_id: str) -> Plan[str | None]:
    """Ask for the newest request whose answer has this id; None: none is known, or it is too long ago to be found."""

    def steps() -> Generator[Step, Rows, str | None]:
        try:
            ((end,),) = yield "SELECT coalesce(max(seq), 0) FROM exchanges", ()
            while end > 0:
                rows = yield (
                    "SELECT id FROM exchanges WHERE seq > ? AND seq <= ? AND response_id = ? ORDER BY seq DESC LIMIT 1",
                    (end - SLICE, end, response_id),
                )
                if rows:
                    return str(rows[0][0])
                end -= SLICE
        except TimeIsUp:
            pass
        return None

    return Plan(steps)
