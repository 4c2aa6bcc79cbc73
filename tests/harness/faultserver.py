"""The process of a provider that fails on order: connections, requests as they come, and the log of the truth."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

from tests.harness.faultprogram import PROGRAMS, Answering, Left
from tests.harness.faultupstream import Served


@dataclass(slots=True)
class _Request:
    """A request, as far as it has come."""

    method: str
    path: str
    headers: dict[str, str]
    began: float
    needed: int
    """Bytes of the body that are missing; -1: it is chunked."""
    body: bytearray


class _Connection(asyncio.Protocol):
    """One connection of a peer."""

    def __init__(self, server: _Server, number: int) -> None:
        self.number = number
        self.count = 0
        self.has_left = False
        self.left_at: float | None = None
        self.idle_s: float | None = None
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting = bytearray()
        self._request: _Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._body_has_come = asyncio.Event()

    # --- what a program does -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting += data

    def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self, how: str) -> None:
        self._flush()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if how == "rst":
            # Bytes that wait in the kernel would be lost with the reset: the peer gets a moment to take them.
            asyncio.get_running_loop().call_later(0.005, self._reset)
        elif how == "half":
            transport.write_eof()
        else:
            transport.close()

    def _reset(self) -> None:
        transport = self._transport
        if transport is not None:
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            transport.abort()

    async def drained(self) -> None:
        await self._writable.wait()
        await asyncio.sleep(0)
        if self.has_left:
            raise Left

    async def wait_left(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._left.wait(), seconds)
        if self.has_left:
            raise Left

    # --- what the peer does ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        self._note_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        self._note_left()
        self._transport = None

    def _note_left(self) -> None:
        if not self.has_left:
            self.has_left = True
            self.left_at = time.monotonic()
            self._left.set()
            self._writable.set()
            self._body_has_come.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def _read(self) -> None:
        if self._request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or self._task is not None:
                return
            self._request = _read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if " early " in f" {self._program(self._request)} ":
                self._start(self._request)
        self._read_body(self._request)

    def _read_body(self, request: _Request) -> None:
        if request.needed < 0:
            request.body += self._buffer
            self._buffer.clear()
            if not request.body.endswith(b"0\r\n\r\n"):
                return
            request.body = bytearray(_unchunked(bytes(request.body)))
            request.needed = 0
        elif request.needed:
            piece = self._buffer[: request.needed]
            request.body += piece
            request.needed -= len(piece)
            del self._buffer[: len(piece)]
        if not request.needed:
            self._body_has_come.set()
            if self._task is None:
                self._start(request)

    def _program(self, request: _Request) -> str:
        fault = self._fault(request)
        if fault.startswith("turns;"):
            # Each time that a request of this name comes, the next one; the last one for good.
            faults = fault.removeprefix("turns;").split(" || ")
            seen = self._server.times(request.headers.get("x-name", ""))
            fault = faults[min(seen, len(faults) - 1)]
        name, _, argument = fault.partition(";")
        return argument if name == "run" else PROGRAMS[name].format(arg=argument)

    def _fault(self, request: _Request) -> str:
        named = request.headers.get("x-fault")
        if named is None:
            with contextlib.suppress(ValueError, AttributeError, TypeError):
                model = json.loads(bytes(request.body) or b"{}").get("model", "")
                named = model.removeprefix("fault/") if model.startswith("fault/") else None
        if named is None:
            is_stream = b'"stream": true' in request.body or b'"stream":true' in request.body
            named = "stream" if is_stream else "ok"
        return named

    def _start(self, request: _Request) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: _Request) -> None:
        self.count += 1
        answering = Answering(self, request.headers.get("x-name", ""))
        program = self._program(request)
        self._server.count(answering.name)
        try:
            await answering.run(program)
        except Left:
            answering.is_whole = answering.is_whole and not self.has_left
        if self.left_at is not None and answering.aborted_at is None:
            answering.is_whole = answering.is_whole and not self._is_cut_short(program)
        if not request.needed or self.has_left:
            self._finish(request, answering)
            return
        await self._body_has_come.wait()
        self._finish(request, answering)

    @staticmethod
    def _is_cut_short(program: str) -> bool:
        return "silence" in program or "endless" in program

    def _finish(self, request: _Request, answering: Answering) -> None:
        self._server.note(
            Served(
                number=self._server.next_number(),
                connection=self.number,
                on_connection=self.count,
                name=answering.name,
                fault=self._fault(request),
                method=request.method,
                path=request.path,
                authorization=request.headers.get("authorization", ""),
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                body_bytes=len(request.body),
                began=request.began,
                ended=time.monotonic(),
                wire_bytes=answering.wire_bytes,
                sent_sha256=answering.digest.hexdigest(),
                sent_bytes=answering.body_bytes,
                tokens=answering.tokens,
                is_whole=answering.is_whole,
                aborted_at=answering.aborted_at,
                peer_left=self.left_at,
            )
        )
        self._task = self._request = None
        self._body_has_come.clear()
        if self._buffer:
            self._read()
        elif self.idle_s is not None:
            asyncio.get_running_loop().call_later(self.idle_s, self._close_if_idle, self.count)

    def _close_if_idle(self, count: int) -> None:
        if count == self.count and self._request is None and not self._buffer:
            self.end("fin")


def _read_head(head: bytes) -> _Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    needed = -1 if "transfer-encoding" in headers else int(headers.get("content-length", 0))
    return _Request(method, path, headers, time.monotonic(), needed, bytearray())


def _unchunked(data: bytes) -> Iterator[int]:
    position = 0
    while True:
        end = data.index(b"\r\n", position)
        size = int(data[position:end], 16)
        if not size:
            return
        yield from data[end + 2 : end + 2 + size]
        position = end + 4 + size


class _Server:
    """The listening side and the log."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("a", encoding="utf-8", buffering=1)
        self._connections = 0
        self._requests = 0
        self._times: Counter[str] = Counter()

    def next_number(self) -> int:
        self._requests += 1
        return self._requests

    def times(self, name: str) -> int:
        """Return how many requests of that name have been answered or are."""
        return self._times[name]

    def count(self, name: str) -> None:
        self._times[name] += 1

    def note(self, served: Served) -> None:
        self._log.write(json.dumps(asdict(served)) + "\n")

    def connection(self) -> _Connection:
        self._connections += 1
        return _Connection(self, self._connections)


async def _main(port_file: Path, log: Path) -> None:
    server = _Server(log)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    serving = await asyncio.get_running_loop().create_server(server.connection, sock=listener, backlog=4096)
    ready = port_file.with_suffix(".new")
    ready.write_text(str(listener.getsockname()[1]))
    ready.rename(port_file)
    await serving.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port_file", type=Path)
    parser.add_argument("log", type=Path)
    options = parser.parse_args()
    uvloop.run(_main(options.port_file, options.log))
