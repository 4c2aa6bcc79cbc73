"""Many requests on few connections, as fast as one process can: for what only shows after thousands."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.harness import Glassline
from tests.harness.upstream import Connection, with_length

_LENGTH: Final = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)


def answer_any(connection: Connection) -> None:
    """Answer with the status that the request asks for by `x-status`, and whatever model it names."""
    asked = re.search(rb"x-status: (\d{3})\r\n", connection.request, re.IGNORECASE)
    named = re.search(rb'"model": ?"([^"]*)"', connection.request)
    model = named[1] if named else b"gpt-4o-mini"
    body = b'{"model":"%b","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}' % model
    connection.send(with_length(body, status=f"{asked[1].decode() if asked else '200'} Whatever"))


def send_all(port: int, count: int, make: Callable[[int], bytes], *, connections: int = 4) -> list[int]:
    """Send requests 0 to `count` - 1 over kept connections; return the statuses, in no order. Bad answers raise."""
    statuses: list[int] = []
    errors: list[BaseException] = []

    def client(first: int) -> None:
        try:
            statuses.extend(_send_some(port, range(first, count, connections), make))
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return statuses


def resident_kb(glassline: Glassline) -> dict[str, int]:
    """Return the memory of each process that has a role."""
    found = {}
    for pid in glassline.pids():
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if "VmRSS:" not in text:
            continue  # it has ended and nobody has taken note of it yet
        name = text.partition("Name:\t")[2].partition("\n")[0]
        found[name if name.startswith("gl-") else "supervisor"] = int(text.partition("VmRSS:")[2].split()[0])
    return found


def open_files(glassline: Glassline) -> int:
    """Return how many descriptors the processes hold."""
    total = 0
    for pid in glassline.pids():
        try:
            total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return total


def _send_some(port: int, numbers: range, make: Callable[[int], bytes]) -> list[int]:
    statuses = []
    connection: socket.socket | None = None
    for number in numbers:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(make(number))
        head, _, closes = read_answer(connection)
        statuses.append(int(head.split(b" ", 2)[1]))
        if closes:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return statuses


def read_answer(connection: socket.socket) -> tuple[bytes, bytes, bool]:
    """Return head and body of one answer, and whether the connection ends with it. Raises OSError."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {len(data)} bytes of an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    found = _LENGTH.search(head + b"\r\n")
    while found and len(body) < int(found[1]):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed within a body")
        body += piece
    return head, body, b"connection: close" in head.lower()
