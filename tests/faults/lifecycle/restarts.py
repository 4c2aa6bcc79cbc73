"""Replace the program while requests flow, and count those that failed: no client here tries anything twice."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.faults.lifecycle.traffic import read_answer
from tests.harness import Glassline
from tests.harness.client import post
from tests.harness.process import wait_until


@dataclass
class _Count:
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    told_to_close: int = 0
    slowest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, problem: str | None, seconds: float, *, closes: bool) -> None:
        with self.lock:
            self.requests += 1
            self.told_to_close += closes
            self.slowest_s = max(self.slowest_s, seconds)
            if problem is not None:
                self.failures.append(problem)


def rolling_restart(
    glassline: Glassline, requests: int, restarts: int, *, clients: int = 8, key: str = "sk-raw-0123456789abcdef"
) -> dict[str, Any]:
    """Send at least `requests`, half on kept connections and half on fresh ones, and restart meanwhile."""
    count, stop = _Count(), threading.Event()
    request = post("/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "messages": []}).encode(), key=key)
    kept = request.replace(b"Connection: close\r\n", b"")
    threads = [
        threading.Thread(target=_client, args=(glassline.port, kept if n % 2 else request, count, stop), daemon=True)
        for n in range(clients)
    ]
    for thread in threads:
        thread.start()
    took = []
    try:
        for number in range(restarts):
            wait_until(lambda n=number: count.requests >= requests * n // restarts, "traffic", timeout_s=120)  # type: ignore[misc]  # a bound default
            took.append(restart(glassline))
        wait_until(lambda: count.requests >= requests, "the rest of the traffic", timeout_s=300)
        wait_until(lambda: count.told_to_close, "a kept connection that is told to close", timeout_s=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    return {
        "requests": count.requests,
        "restarts": len(took),
        "failed": len(count.failures),
        "first_failures": count.failures[:3],
        "told_to_close": count.told_to_close,
        "slowest_ms": round(count.slowest_s * 1000, 1),
        "restart_s": [round(seconds, 2) for seconds in took],
    }


def restart(glassline: Glassline, *, timeout_s: float = 60.0) -> float:
    """Send SIGUSR2 and wait until the new program is ready; return how long it took."""
    before, started = glassline.ports_file.stat().st_ino, time.monotonic()
    glassline.process.send_signal(signal.SIGUSR2)

    def is_new() -> bool:
        return glassline.ports_file.exists() and glassline.ports_file.stat().st_ino != before

    glassline.process.wait_for(is_new, "the new program", timeout_s=timeout_s)
    return time.monotonic() - started


def _client(port: int, request: bytes, count: _Count, stop: threading.Event) -> None:
    connection: socket.socket | None = None
    while not stop.is_set():
        started = time.monotonic()
        problem, closes = None, False
        is_fresh = connection is None
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.sendall(request)
            head, body, closes = read_answer(connection)
            if not head.startswith(b"HTTP/1.1 200"):
                problem = (head[:200] + body[:200]).decode(errors="replace")
        except OSError as error:
            problem = f"{type(error).__name__} on a {'fresh' if is_fresh else 'kept'} connection: {error}"
        count.note(problem, time.monotonic() - started, closes=closes and b"Connection: close" not in request)
        if connection is not None and (problem is not None or closes):
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
