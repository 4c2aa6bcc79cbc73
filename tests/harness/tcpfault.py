"""A TCP proxy that makes the line between any two parts bad: slow, late, stalled, cut, dead. Changeable at run time.

It never looks at what passes. A `Line` says how each direction of every connection behaves; `change` replaces it for
connections that are open as well as for those to come.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
_PIECE: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """How bytes get through."""

    latency_s: float = 0.0
    """Added to each piece, in each direction."""
    jitter_s: float = 0.0
    """At most so much more, at random."""
    bytes_per_s: float | None = None
    """None: as fast as it goes."""
    stall_after: int | None = None
    """Bytes from the server behind which nothing comes any more; None: everything comes."""
    reset_after: int | None = None
    """Bytes from the server behind which both sides are reset."""
    is_blackhole: bool = False
    """Bytes are taken and lead nowhere."""
    refuses: bool = False
    """New connections are reset at once."""


class TcpFault:
    """Listens on a free port of 127.0.0.1 and leads to another."""

    def __init__(self, to_port: int, line: Line | None = None, *, seed: int = 0) -> None:
        self.line = line or Line()
        self.connections = 0
        """Taken since the start, refused ones included."""
        self._to_port = to_port
        self._random = random.Random(seed)
        self._open: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Base URL to configure."""
        return f"http://127.0.0.1:{self.port}/v1"

    def change(self, line: Line | None = None, **changes: Any) -> None:
        """Let the line behave like `line`, or like now with some `changes`, from now on."""

        async def apply() -> None:
            self.line = line if line is not None else replace(self.line, **changes)
            self._changed.set()
            self._changed = asyncio.Event()

        self._call(apply())

    def reset_all(self) -> None:
        """Reset every connection that is open."""

        async def reset() -> None:
            for task in tuple(self._open):
                task.cancel()

        self._call(reset())

    def close(self) -> None:
        """Stop listening and end every connection."""

        async def stop() -> None:
            tasks = tuple(self._open)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._listener.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    # --- in its own thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._listener, backlog=1024, limit=_PIECE)
        )
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        if self.line.refuses:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port, limit=_PIECE)
        except OSError:
            _reset(writer)
            return
        try:
            await self._join(reader, writer, far_reader, far_writer)
        except (asyncio.CancelledError, _Cut, OSError):
            _reset(writer)
            _reset(far_writer)

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        up = asyncio.ensure_future(_Pump(self, reader, far_writer, is_answer=False).run())
        down = asyncio.ensure_future(_Pump(self, far_reader, writer, is_answer=True).run())
        try:
            await asyncio.gather(up, down)
        finally:
            up.cancel()
            down.cancel()
        writer.close()
        far_writer.close()

    async def changed(self) -> None:
        """Wait until the line behaves differently."""
        await self._changed.wait()

    def pause_s(self, size: int) -> float:
        """Return how long so many bytes take."""
        line = self.line
        pause = line.latency_s + self._random.random() * line.jitter_s
        return pause + size / line.bytes_per_s if line.bytes_per_s else pause


class _Pump:
    """One direction of one connection."""

    def __init__(
        self, fault: TcpFault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        self._fault = fault
        self._reader = reader
        self._writer = writer
        self._is_answer = is_answer
        self._passed = 0

    async def run(self) -> None:
        """Pass everything on, as the line lets it."""
        while data := await self._reader.read(_PIECE):
            if pause := self._fault.pause_s(len(data)):
                await asyncio.sleep(pause)
            await self._pass(data)
        while self._fault.line.is_blackhole:
            await self._fault.changed()
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def _pass(self, data: bytes) -> None:
        while data:
            line = self._fault.line
            room = len(data)
            if line.is_blackhole:
                room = 0
            elif self._is_answer:
                limits = [limit for limit in (line.stall_after, line.reset_after) if limit is not None]
                room = max(0, min([room, *(limit - self._passed for limit in limits)]))
            piece, data = data[:room], data[room:]
            if piece:
                self._passed += room
                self._writer.write(piece)
                await self._writer.drain()
            if self._is_answer and line.reset_after is not None and self._passed >= line.reset_after:
                await asyncio.sleep(0.005)  # what waits in the kernel would be lost with the reset
                raise _Cut
            if data:
                await self._fault.changed()


class _Cut(Exception):
    pass


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
