"""The live tail: what was recorded, told as it happens, over server-sent events.

One look at the store five times a second serves everybody who listens: it reads the rows that are new, once for each
different filter. A message holds all rows of a look, or, where there are too many to follow, an even sample of them and
how many there were. So a stream costs what is new, however many tabs are open, and never more than there is time for.

Events: `rows` (new requests, oldest first; its id is the place up to which everything was seen), `gap` (too much passed
meanwhile: ask for the list again), `over` (come again). A comment keeps the connection alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.answers import HeldStream
from proxy.admin.declared import DeclaredRoute, asker
from proxy.admin.instruments import Instruments
from proxy.admin.shapes import request_shape
from proxy.errors import GlasslineError, StoreBusy
from proxy.store import query as ask
from proxy.store.filter import Filter, parse_filter
from proxy.store.query import MAX_ROWS, RequestRow

LOOK_S: Final = 0.2
"""Five messages a second are as fast as people see."""
MOST_ROWS: Final = 40
"""Of one message: 200 rows a second; of more a sample is told."""
MOST_STREAMS: Final = 32
MOST_OF_ONE: Final = 16
"""Streams of one person: there is room for others."""
HEARTBEAT_S: Final = 15.0
LIFETIME_S: Final = 600.0
"""Then the client comes again, and is asked again who it is."""


@dataclass(slots=True, eq=False)
class _Listener:
    """One stream."""

    actor: str
    question: str
    where: Filter
    seq: int = 0
    """Place of the last row that was looked at."""
    messages: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(maxsize=8))


class Live:
    """The endpoint, and the one task that looks for everybody."""

    def __init__(self, instruments: Instruments) -> None:
        self._read = instruments
        self._coming: set[_Listener] = set()
        """Not listening yet."""
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None

    def routes(self) -> list[DeclaredRoute]:
        """Return the route."""
        return [DeclaredRoute("/api/requests/stream", self.stream, least="viewer")]

    async def stream(self, request: Request) -> Response:
        """Tell what is recorded from now on, or since the place that `Last-Event-ID` or `after` names."""
        question, actor = request.query_params.get("q", ""), asker(request).actor
        own = sum(each.actor == actor for each in (*self._coming, *self._listeners))
        if own >= MOST_OF_ONE or len(self._coming) + len(self._listeners) >= MOST_STREAMS:
            raise StoreBusy("too many live tails are open: close one")
        listener = _Listener(actor, question, parse_filter(question))
        self._coming.add(listener)
        try:
            newest = await self._newest()
        except BaseException:
            self._leave(listener)
            raise
        # A browser that opens a stream anew, and not by itself, cannot send the header.
        seen = request.headers.get("last-event-id") or request.query_params.get("after", "")
        is_back = seen.isascii() and seen.isdecimal() and len(seen) < 19 and int(seen) <= newest
        listener.seq = int(seen) if is_back else newest
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        told = self._told(listener)
        return HeldStream(told, lambda: self._leave(listener), headers=headers, media_type="text/event-stream")

    def _leave(self, listener: _Listener) -> None:
        self._coming.discard(listener)
        self._listeners.discard(listener)

    async def _told(self, listener: _Listener) -> AsyncIterator[bytes]:
        self._coming.discard(listener)
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        ends_at = time.monotonic() + LIFETIME_S
        yield b"retry: 1000\n: live\n\n"
        while (left := ends_at - time.monotonic()) > 0:
            try:
                yield await asyncio.wait_for(listener.messages.get(), min(HEARTBEAT_S, left))
            except TimeoutError:
                yield b": still here\n\n"
        yield _event("over", {}, listener.seq)

    async def _look_on(self) -> None:
        """Look for all listeners, until there is none."""
        while self._listeners:
            started = time.monotonic()
            # Who reads slowly is told later: rows wait in the store, not here.
            waiting = [each for each in self._listeners if not each.messages.full()]
            with contextlib.suppress(GlasslineError):
                await self._look(waiting)
            # A look that took long is followed by as long a rest.
            spent = time.monotonic() - started
            await asyncio.sleep(max(LOOK_S - spent, spent, 0.01))

    async def _look(self, listeners: Sequence[_Listener]) -> None:
        newest = await self._newest()
        groups: dict[tuple[str, int], list[_Listener]] = {}
        for listener in listeners:
            if listener.seq > newest:
                listener.seq = newest  # the store was replaced by another one
            if listener.seq < newest:
                groups.setdefault((listener.question, listener.seq), []).append(listener)
        for (_, seq), group in groups.items():
            try:
                async with self._read.live() as store:
                    rows = await store.run(ask.requests_after(seq, group[0].where, until=newest)) if store else []
                message = _message(rows, newest)
            except GlasslineError:
                # What cannot be looked through in time must hold up nobody, neither now nor again and again.
                message = _event("gap", {}, newest)
            for listener in group:
                listener.seq = newest
                if message:
                    listener.messages.put_nowait(message)

    async def _newest(self) -> int:
        async with self._read.live() as store:
            return await store.run(ask.newest_seq()) if store else 0


def _message(rows: Sequence[RequestRow], newest: int) -> bytes:
    """Return what is told of new rows; empty: nothing."""
    if not rows:
        return b""
    if len(rows) == MAX_ROWS:
        return _event("gap", {}, newest)
    shown = rows if len(rows) <= MOST_ROWS else [rows[at * len(rows) // MOST_ROWS] for at in range(MOST_ROWS)]
    return _event("rows", {"rows": [request_shape(row) for row in shown], "of": len(rows)}, newest)


def _event(name: str, data: dict[str, Any], seq: int) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), seq, msgspec.json.encode(data))
