"""Delivery: sends a reply over a line in the manner, and with the faults, that the directives ask for."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from proxy.simulator.answer import Buckets, Usage
from proxy.simulator.coding import PACKERS
from proxy.simulator.directives import Directives
from proxy.simulator.line import ClientGoneError, Line
from proxy.simulator.reply import Event, Plain, Reply, Stream

if TYPE_CHECKING:
    from hashlib import _Hash

Headers = list[tuple[bytes, bytes]]

_EVENTS_PER_TURN = 64
"""An answer without a pace yields to other requests after so many events."""


@dataclass(slots=True)
class Receipt:
    """What was sent and what is billed for it, so far."""

    status: int = 0
    """0: no head was sent."""
    usage: Usage | None = None
    """None: nothing is billed."""
    events: int = 0
    """Events of a stream written."""
    size_bytes: int = 0
    """Bytes of the body, as encoded."""
    sha256: _Hash = field(default_factory=hashlib.sha256)
    """Of those bytes."""
    is_finished: bool = False
    """The whole answer was written."""

    def bill(self, output_tokens: int, reasoning_tokens: int, extra: Buckets = ()) -> None:
        """Add what was generated."""
        if self.usage is not None:
            self.usage = self.usage.plus(output_tokens, reasoning_tokens, extra)


class Delivery:
    """Sends one reply."""

    def __init__(self, line: Line, wishes: Directives, rng: random.Random) -> None:
        self.receipt = Receipt()
        self._line = line
        self._wishes = wishes
        self._ttft_s = wishes.ttft.draw(rng) if wishes.ttft else 0.0
        self._pace = wishes.pace.draw(rng) if wishes.pace else 0.0
        self._due = 0.0
        self._coding = wishes.coding or ("gzip" if wishes.gzip else None)
        self._packer = PACKERS[self._coding]() if self._coding is not None else None

    async def send(self, reply: Reply, headers: Headers) -> None:
        """Send the reply. Returns also when the client leaves, or when a fault ends the response."""
        try:
            if self._wishes.header_stall:
                await self._line.wait_until_gone()
            await self._think()
            if isinstance(reply, Stream):
                await self._send_stream(reply, headers)
            else:
                # A plain answer that is to fail has become a 500 before it came here.
                self._wishes = replace(self._wishes, error=None)
                await self._send_plain(reply, headers)
        except ClientGoneError:
            pass
        await self._line.close()

    async def _think(self) -> None:
        if self._ttft_s:
            await self._line.wait(self._ttft_s)
        self._due = asyncio.get_running_loop().time()

    async def _send_plain(self, reply: Plain, headers: Headers) -> None:
        self.receipt.usage = reply.usage and replace(reply.usage, output_tokens=0, reasoning_tokens=0)
        if reply.usage is not None:
            await self._generate(reply.usage.output_tokens, reply.usage.reasoning_tokens)
        body = self._encode(reply.body, is_last=True)
        breaks_at = self._first_break()
        if breaks_at is not None:
            await self._send_broken(reply, headers, body if breaks_at else b"")
            return
        await self._open(reply.status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._write(body, is_last=True)
        self.receipt.is_finished = True

    async def _send_broken(self, reply: Plain, headers: Headers, body: bytes) -> None:
        """Send half of a body, or nothing, and break."""
        if not body and self._wishes.eof is None:
            await self._break()
            return
        length = [] if self._wishes.eof is not None else [(b"content-length", b"%d" % len(body))]
        await self._open(reply.status, [*headers, *length])
        await self._write(body[: len(body) // 2])
        await self._break()

    async def _send_stream(self, reply: Stream, headers: Headers) -> None:
        self.receipt.usage = reply.prompt
        breaks_at = self._first_break()
        if breaks_at == 0 and (self._wishes.cut == 0 or self._wishes.fin == 0):
            await self._break()
            return
        self._line.watch()
        await self._open(200, headers)
        for event in reply.events:
            if self.receipt.events == breaks_at and event.data:
                await self._break(reply)
                return
            await self._send_event(event)
        if self.receipt.events == breaks_at:
            await self._break(reply)
            return
        await self._write(self._encode(b"", is_last=True), is_last=True)
        self.receipt.is_finished = True

    async def _send_event(self, event: Event) -> None:
        if event.output_tokens:
            await self._generate(event.output_tokens, event.reasoning_tokens)
        if not event.data:
            return
        if event.extra:
            self.receipt.bill(0, 0, event.extra)
        self.receipt.events += 1
        await self._write(self._encode(event.data))
        if self.receipt.events % _EVENTS_PER_TURN == 0:
            await asyncio.sleep(0)

    async def _generate(self, output_tokens: int, reasoning_tokens: int) -> None:
        """Take the time that the tokens need, and bill them; of a client that leaves, those made until then."""
        if not self._pace:
            self.receipt.bill(output_tokens, reasoning_tokens)
            return
        loop = asyncio.get_running_loop()
        began = self._due
        self._due += output_tokens / self._pace
        try:
            if (delay := self._due - loop.time()) > 0:
                await self._line.wait(delay)
        except ClientGoneError:
            made = min(output_tokens, int((loop.time() - began) * self._pace))
            self.receipt.bill(made, min(made, reasoning_tokens))
            raise
        self.receipt.bill(output_tokens, reasoning_tokens)

    def _first_break(self) -> int | None:
        wishes = self._wishes
        points = (wishes.cut, wishes.fin, wishes.eof, wishes.stall, wishes.error)
        return min((point for point in points if point is not None), default=None)

    async def _break(self, stream: Stream | None = None) -> None:
        match self._fault():
            case "cut":
                await self._line.reset()
            case "fin":
                await self._line.hang_up()
            case "stall":
                await self._line.wait_until_gone()
            case "error" if stream is not None:
                self.receipt.events += 1
                failure = stream.failure(self.receipt.events - 1)
                await self._write(self._encode(failure, is_last=True), is_last=True)
            case _:
                await self._write(self._encode(b"", is_last=True), is_last=True)

    def _fault(self) -> str:
        """Return the name of the fault that comes first; of two at the same event, the ruder one."""
        point = self._first_break()
        return next(name for name in ("cut", "fin", "stall", "error", "eof") if getattr(self._wishes, name) == point)

    async def _open(self, status: int, headers: Headers) -> None:
        self.receipt.status = status
        if self._coding is not None:
            headers = [*headers, (b"content-encoding", self._coding.encode())]
        if self._wishes.close:
            headers = [*headers, (b"connection", b"close")]
        await self._line.open(status, headers)

    def _encode(self, data: bytes, *, is_last: bool = False) -> bytes:
        return data if self._packer is None else self._packer.pack(data, is_last=is_last)

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        if self._wishes.chunk is None:
            await (self._line.end(data) if is_last else self._line.write(data))
            self._count(data)
            return
        for part in self._split(data, self._wishes.chunk):
            await self._line.write(part)
            self._count(part)
            # Writes of one turn of the event loop leave as one: each part gets a turn of its own.
            await asyncio.sleep(0)
        if is_last:
            await self._line.end()

    @staticmethod
    def _split(data: bytes, size: int) -> list[bytes]:
        return [data[start : start + size] for start in range(0, len(data), size)]

    def _count(self, data: bytes) -> None:
        self.receipt.size_bytes += len(data)
        self.receipt.sha256.update(data)
