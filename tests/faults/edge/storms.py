"""Many bad clients at once beside a few good ones: what it costs, in figures.

Each function drives one running Glassline in front of a `FaultUpstream` and returns what it saw; none asserts anything.
They are bounded in count and time, talk to 127.0.0.1 alone and leave nothing open.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.faults.edge.good import Fared, good_clients
from tests.harness import Glassline

_AT_ONCE: Final = 100
"""Connections that are opened side by side."""
_SETTLE_S: Final = 1.0


def slow_headers(glassline: Glassline, connections: int, *, most_s: float = 30.0) -> dict[str, float]:
    """Open connections that are silent, stop in a head or drip one; good clients go on meanwhile.

    Returns `closed` connections, seconds until the `slowest_s` was closed, `good` and `failed` requests beside them,
    their p99 in ms before and during, the growth of memory in MB and the descriptors left over.
    """
    return asyncio.run(_slow_headers(glassline, connections, most_s))


async def _slow_headers(glassline: Glassline, connections: int, most_s: float) -> dict[str, float]:
    allow_descriptors()
    calm = await _calm(glassline.port)
    before, descriptors = resident_mb(glassline), open_descriptors(glassline)
    lasted: list[float] = []
    starts = (b"", b"GET /v1/models HTTP/1.1\r\nHost: lo", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n")

    async def bad(number: int) -> None:
        async with _connection(glassline.port) as (reader, writer):
            began = time.monotonic()
            writer.write(starts[number % 3])
            ending = asyncio.create_task(reader.read())
            while not ending.done() and time.monotonic() - began < most_s:
                await asyncio.wait([ending], timeout=1)
                if number % 3 == 2 and not ending.done():
                    writer.write(b"X: 1\r\n")
            if ending.done():
                lasted.append(time.monotonic() - began)
            else:
                ending.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await ending

    async with good_clients(glassline.port) as stormy:
        await _all_of(bad, connections, at_once=connections)
    await asyncio.sleep(_SETTLE_S)
    return {
        "connections": connections,
        "closed": len(lasted),
        "slowest_s": max(lasted, default=0.0),
        "good": stormy.requests,
        "failed": stormy.failed,
        "p99_ms_before": calm.p99_ms,
        "p99_ms_during": stormy.p99_ms,
        "grown_mb": resident_mb(glassline) - before,
        "descriptors_left": open_descriptors(glassline) - descriptors,
    }


def resets(glassline: Glassline, count: int, *, per_second: float = 1000.0) -> dict[str, float]:
    """Let clients end their connections by a reset at every stage of a request; good clients go on meanwhile.

    Returns `count`, `good` and `failed` requests beside them, the growth of memory in MB, the descriptors left over.
    """
    return asyncio.run(_resets(glassline, count, per_second))


async def _resets(glassline: Glassline, count: int, per_second: float) -> dict[str, float]:
    allow_descriptors()
    body = b'{"model":"gpt-4o-mini","messages":[]}'
    whole = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    stages = (b"", whole[:20], whole[:-5], whole)
    for number in range(100):  # what is allocated once and kept
        _reset(glassline.port, stages[number % 4])
    await asyncio.sleep(_SETTLE_S)
    before, descriptors = resident_mb(glassline, "gateway"), open_descriptors(glassline)
    began = time.monotonic()
    async with good_clients(glassline.port) as stormy:
        for number in range(count):
            _reset(glassline.port, stages[number % 4])
            if number % 20 == 19:
                await asyncio.sleep(max(0.001, began + number / per_second - time.monotonic()))
        took_s = time.monotonic() - began
    await asyncio.sleep(_SETTLE_S)
    return {
        "count": count,
        "per_second": count / took_s,
        "good": stormy.requests,
        "failed": stormy.failed,
        "grown_mb": resident_mb(glassline, "gateway") - before,
        "descriptors_left": open_descriptors(glassline) - descriptors,
    }


def _reset(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        if request:
            connection.sendall(request)


def slow_readers(glassline: Glassline, count: int, *, for_s: float = 5.0) -> dict[str, float]:
    """Let clients read 1 KB a second of an answer of a gigabyte; good clients go on meanwhile.

    Returns `count`, the growth of the gateway's memory in MB a reader, and how good clients fared before and during.
    """
    return asyncio.run(_slow_readers(glassline, count, for_s))


async def _slow_readers(glassline: Glassline, count: int, for_s: float) -> dict[str, float]:
    allow_descriptors()
    calm = await _calm(glassline.port)
    before = resident_mb(glassline, "gateway")
    endless = b"x-fault: run;json | length | endless 1024"
    request = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % endless
    is_over = asyncio.Event()

    async def bad(_: int) -> None:
        async with _connection(glassline.port, limit=4096, receive_bytes=4096) as (reader, writer):
            writer.write(request)
            while not is_over.is_set():
                await reader.read(1024)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), 1)
            writer.transport.abort()

    readers = asyncio.create_task(_all_of(bad, count, at_once=count))
    async with good_clients(glassline.port) as filling:  # while the buffers fill up
        peak = await _peak_mb(glassline, for_s)
    async with good_clients(glassline.port) as stormy:
        peak = max(peak, await _peak_mb(glassline, for_s))
    is_over.set()
    await readers
    return {
        "count": count,
        "grown_mb_each": (peak - before) / count,
        "good": filling.requests + stormy.requests,
        "failed": filling.failed + stormy.failed,
        "p99_ms_before": calm.p99_ms,
        "p99_ms_filling": filling.p99_ms,
        "p99_ms_during": stormy.p99_ms,
    }


def idle_streams(glassline: Glassline, count: int) -> dict[str, float]:
    """Hold streams open on which nothing comes after the first event.

    Returns `count`, how many were `answered`, `kb_each` of memory over all processes of Glassline, descriptors a stream
    and `errors`.
    """
    return asyncio.run(_idle_streams(glassline, count))


async def _idle_streams(glassline: Glassline, count: int) -> dict[str, float]:
    allow_descriptors()
    body = b'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    lines = b"Host: localhost\r\nx-fault: stall\r\nContent-Length: %d\r\n" % len(body)
    request = b"POST /v1/chat/completions HTTP/1.1\r\n" + lines + b"\r\n" + body
    errors = 0
    held: list[asyncio.StreamWriter] = []

    async def hold(_: int) -> None:
        nonlocal errors
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", glassline.port)
            held.append(writer)
            writer.write(request)
            await asyncio.wait_for(reader.readuntil(b"data: "), 30)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            errors += 1

    await _all_of(hold, 20)  # what is allocated once and kept
    await asyncio.sleep(_SETTLE_S)
    before, descriptors = resident_mb(glassline), open_descriptors(glassline)
    await _all_of(hold, count)
    await asyncio.sleep(2 * _SETTLE_S)
    after, descriptors_after = resident_mb(glassline), open_descriptors(glassline)
    for writer in held:
        writer.transport.abort()
    return {
        "count": count,
        "answered": len(held) - 20 - errors,
        "errors": errors,
        "kb_each": (after - before) * 1e6 / 1024 / count,
        "descriptors_each": (descriptors_after - descriptors) / count,
    }


async def _calm(port: int) -> Fared:
    async with good_clients(port) as fared:
        await asyncio.sleep(2)
    return fared


async def _peak_mb(glassline: Glassline, for_s: float) -> float:
    """Return the most memory that the gateway had in the next seconds."""
    peak, until = 0.0, time.monotonic() + for_s
    while time.monotonic() < until:
        peak = max(peak, resident_mb(glassline, "gateway"))
        await asyncio.sleep(0.2)
    return peak


@asynccontextmanager
async def _connection(
    port: int, *, limit: int = 65536, receive_bytes: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setblocking(False)
    if receive_bytes is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=limit)
    except OSError:
        raw.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _all_of(make: Callable[[int], Awaitable[object]], count: int, *, at_once: int = _AT_ONCE) -> None:
    """Await `make(0)` … `make(count - 1)`, so many at once, begun in the steps in which a kernel can accept them."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with places:
            await make(number)

    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(one(number)))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)


def allow_descriptors() -> None:
    """Let this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_mb(glassline: Glassline, role: str | None = None) -> float:
    """Return the memory of Glassline's processes, or of those of one role, in MB."""
    pids = glassline.pids() if role is None else glassline.pids_of(role)
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * 4096 / 1e6


def open_descriptors(glassline: Glassline) -> int:
    """Count the open descriptors of all gateways."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in glassline.pids_of("gateway"))
