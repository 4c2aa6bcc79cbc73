"""A provider that fails on order, byte by byte, and keeps a log of the truth.

A request names its fault in the header `x-fault: name;argument` or in its model (`fault/<name>`); each name stands for a
program in a small language, and `x-fault: run;<program>` carries one of its own; `x-fault: turns;<fault> || <fault>` is
one after the other, for requests of the same `x-name`. No HTTP library has a hand in it, so it
can be as wrong as it likes. It runs in a process of its own, serves a thousand connections at once and writes down what
it saw and sent, as JSON lines of `Served`.

A program is steps joined by ` | `. Before the head: `status 503`, `header name: value`, `headers 5000`, `sse`, `json`,
`bare` (no content type), `length`, `length 10` (a lie), `chunked`, `until-close`, `both` (length and chunks), `keep` and
`close` (what `connection` says), `informational 20`. The body: `answer` (a chat completion), `event 3` (tokens of a stream), `usage`, `done`,
`comment`, `text …`, `bytes 1000`, `ones 1000` (one-byte chunks), `gzip good|cut|lying|bomb|twice`, `endless 100` (MB, 0:
without end), `drip 0.1 …` (a byte each so many seconds), `end` (the last chunk). On the wire: `raw …` (as it stands,
with \\r \\n \\x..), `sleep 0.5`, `silence` (until the peer closes), `rst`, `fin`, `half` (close the sending side only),
`cut 100 rst` (from here on only so many bytes, then reset; or `fin`), `idle 0.01` (when the answer is over and nothing
comes for so long, close). `early` in front: begin before the body has come.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import json
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import uvloop

from tests.harness.process import ROOT, Process

MODEL: Final = "gpt-4o-mini-2024-07-18"
PROMPT_TOKENS: Final = 9
HEAD_LIMIT: Final = 64 * 1024
_PIECE: Final = b"x" * 65536

PROGRAMS: Final[dict[str, str]] = {
    "ok": "json | length | answer",
    "stream": "sse | chunked | event 5 | usage | done | end",
    "refuse-tls": "raw \\x15\\x03\\x01 | rst",
    "silence": "silence",
    "head-stall": "raw HTTP/1.1 200 OK\\r\\ncontent-ty | silence",
    "head-drip": "raw HTTP/1.1 200 OK\\r\\nx-drip: | drip 0.05 {arg} | silence",
    "rst": "rst",
    "fin": "fin",
    "rst-in-head": "raw HTTP/1.1 200 OK\\r\\ncontent-type: app | rst",
    "fin-in-head": "raw HTTP/1.1 200 OK\\r\\ncontent-type: app | fin",
    "stall": "sse | chunked | event 2 | silence",
    "stall-body": 'json | length 200 | text {{"id":"cut | silence',
    "garbage": "raw SSH-2.0-OpenSSH_9.2\\r\\n\\r\\n | silence",
    "html": "raw <html>hello</html> | fin",
    "status-999": "raw HTTP/1.1 999 Odd\\r\\ncontent-length: 0\\r\\n\\r\\n | silence",
    "http-2": "raw HTTP/2.0 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n | silence",
    "informational": "informational {arg} | json | length | answer",
    "big-header": "headers 1 {arg} | json | length | answer",
    "many-headers": "headers {arg} | json | length | answer",
    "ones": "json | chunked | ones {arg} | end",
    "short-length": "json | length -20 | answer",
    "both": "json | both | answer | end",
    "two-lengths": "raw HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\ncontent-length: 4\\r\\n\\r\\nabcd | silence",
    "204-body": 'raw HTTP/1.1 204 No Content\\r\\n\\r\\n{{"stolen":true}}',
    "204-late-body": "raw HTTP/1.1 204 No Content\\r\\n\\r\\n | sleep 0.002 | raw HTTP/1.1 200 OK\\r\\ncontent-length: 6\\r\\n\\r\\nstolen",
    "glued": "json | length | answer | raw HTTP/1.1 200 OK\\r\\ncontent-length: 6\\r\\n\\r\\nstolen",
    "glued-late": "json | length | answer | sleep 0.002 | raw HTTP/1.1 200 OK\\r\\ncontent-length: 6\\r\\n\\r\\nstolen",
    "glued-chunked": "sse | chunked | event 2 | done | end | raw HTTP/1.1 200 OK\\r\\ncontent-length: 6\\r\\n\\r\\nstolen",
    "early": "early | json | length | answer",
    "redirect": "status 307 | header location: {arg} | length | text moved",
    "header": "header {arg} | json | length | answer",
    "limited": "status 429 | header retry-after: 7 | header x-ratelimit-remaining-requests: 0 | json | length | text "
    '{{"error":{{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}}}',
    "status": 'status {arg} | json | length | text {{"error":{{"message":"no","type":"server_error","code":null}}}}',
    "error-event": 'sse | chunked | event 2 | text data: {{"error":{{"message":"boom","type":"server_error"}}}}\\n\\n | end',
    "close-after": "close | json | length | answer | fin",
    "close-silently": "keep | json | length | answer | fin",
    "close-idle": "keep | idle {arg} | json | length | answer",
}


@dataclass(frozen=True, slots=True)
class Served:
    """The truth about one request. Times are seconds of the monotonic clock, which all processes share."""

    number: int
    """Counted in the order in which requests were complete."""
    connection: int
    """Which of its connections it came on, counted from 1."""
    on_connection: int
    """Which request of that connection it was, counted from 1."""
    name: str
    """`x-name` of the request: what the client calls it."""
    fault: str
    method: str
    path: str
    authorization: str
    body_sha256: str
    """Of the request's body."""
    body_bytes: int
    began: float
    """When its head was complete."""
    ended: float
    wire_bytes: int
    """Bytes sent, heads and framing included."""
    sent_sha256: str
    """Of the bytes of the answer's body."""
    sent_bytes: int
    tokens: int
    """Output tokens sent."""
    is_whole: bool
    """The answer was sent to its proper end."""
    aborted_at: int | None
    """Byte on the wire behind which it broke off by its own will; None: it did not."""
    peer_left: float | None
    """When the peer closed while it was served; None: it did not."""


class FaultUpstream:
    """The provider, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "truth.jsonl"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        port_file = directory / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.harness.faultupstream", str(port_file), str(self._log)]
        self._process = Process(command, directory, name="faultupstream", env={"PYTHONPATH": str(ROOT)})
        self._process.wait_for(port_file.exists, "its port")
        self.port = int(port_file.read_text())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        """Base URL to configure."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def truth(self) -> list[Served]:
        """Return everything served so far, in order of its end."""
        if not self._log.exists():
            return []
        whole = self._log.read_bytes().rpartition(b"\n")[0]
        return [Served(**json.loads(line)) for line in whole.splitlines()]

    def close(self) -> None:
        """End it."""
        self._process.close()


def body_of(name: str) -> bytes:
    """Return the whole answer that `answer` sends to the request called `name`: it says for whom it is."""
    message = {"role": "assistant", "content": f"for {name}"}
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 2, "total_tokens": PROMPT_TOKENS + 2}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def event_of(name: str) -> bytes:
    """Return one event of a stream for the request called `name`: one token."""
    choice = {"index": 0, "delta": {"content": f" {name}"}}
    return b"data: " + json.dumps({"model": MODEL, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def usage_of(tokens: int) -> bytes:
    """Return the event that tells the usage of a stream."""
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}
    return b"data: " + json.dumps({"model": MODEL, "choices": [], "usage": usage}).encode() + b"\n\n"


class _Left(Exception):
    pass


class _Answering:
    """One answer: the state that a program's steps change."""

    def __init__(self, connection: _Connection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.status = 200
        self.headers: list[str] = []
        self.framing = "until-close"
        self.lie: int | None = None
        self.is_begun = False
        self.is_whole = True
        self.tokens = 0
        self.body_bytes = 0
        self.digest = hashlib.sha256()
        self.wire_bytes = 0
        self.limit: int | None = None
        self.cut_how = "rst"
        self.aborted_at: int | None = None

    def wire(self, data: bytes) -> None:
        """Send bytes as they are, up to the cut."""
        if self.limit is not None and self.wire_bytes + len(data) >= self.limit:
            self.connection.send(data[: self.limit - self.wire_bytes])
            self.wire_bytes = self.limit
            self.break_off(self.cut_how)
        self.wire_bytes += len(data)
        self.connection.send(data)

    def break_off(self, how: str) -> None:
        self.is_whole = False
        self.aborted_at = self.wire_bytes
        self.connection.end(how)
        raise _Left

    def begin(self, length: int | None) -> None:
        """Send the head, once."""
        if self.is_begun:
            return
        self.is_begun = True
        lines = [f"HTTP/1.1 {self.status} Status", *self.headers]
        if self.framing in ("chunked", "both"):
            lines.append("transfer-encoding: chunked")
        if self.framing in ("length", "both") and length is not None:
            lie = self.lie
            lines.append(f"content-length: {length if lie is None else length + lie if lie < 0 else lie}")
        self.wire("\r\n".join(lines).encode() + b"\r\n\r\n")

    def body(self, data: bytes, *, tokens: int = 0) -> None:
        """Send bytes of the body, framed."""
        self.begin(len(data))
        before = self.wire_bytes
        chunked = self.framing in ("chunked", "both")
        try:
            self.wire(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        except _Left:
            start = len(b"%x\r\n" % len(data)) if chunked else 0
            self._count(data[: max(0, self.wire_bytes - before - start)])
            raise
        self.tokens += tokens
        self._count(data)

    def _count(self, data: bytes) -> None:
        self.body_bytes += len(data)
        self.digest.update(data)

    # --- the steps ---------------------------------------------------------------------------------------------

    async def run(self, program: str) -> None:
        for step in program.split(" | "):
            word, _, argument = step.strip().partition(" ")
            if word == "early":
                continue
            if word in _PREPARES:
                _PREPARES[word](self, argument)
            else:
                await _STEPS[word](self, argument)
            if self.connection.has_left:
                raise _Left
        if self.framing == "until-close" and self.is_begun:
            self.connection.end("fin")


def _escaped(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def _set_length(answering: _Answering, argument: str) -> None:
    answering.framing = "length"
    answering.lie = int(argument) if argument else None


def _set(framing: str) -> Callable[[_Answering, str], None]:
    def prepare(answering: _Answering, _: str) -> None:
        answering.framing = framing

    return prepare


def _add(*lines: str) -> Callable[[_Answering, str], None]:
    def prepare(answering: _Answering, argument: str) -> None:
        answering.headers += lines or [argument]

    return prepare


def _many(answering: _Answering, argument: str) -> None:
    count, _, size = argument.partition(" ")
    answering.headers += [f"x-{number}: {'a' * int(size or 1)}" for number in range(int(count))]


def _status(answering: _Answering, argument: str) -> None:
    answering.status = int(argument)


def _cut(answering: _Answering, argument: str) -> None:
    after, _, how = argument.partition(" ")
    answering.limit = answering.wire_bytes + int(after)
    answering.cut_how = how or "rst"


def _idle(answering: _Answering, argument: str) -> None:
    answering.connection.idle_s = float(argument)


def _nothing(answering: _Answering, argument: str) -> None:
    """Leave everything as it is."""


_PREPARES: Final[dict[str, Callable[[_Answering, str], None]]] = {
    "status": _status,
    "header": _add(),
    "headers": _many,
    "sse": _add("content-type: text/event-stream"),
    "json": _add("content-type: application/json"),
    "bare": _nothing,
    "length": _set_length,
    "chunked": _set("chunked"),
    "until-close": _set("until-close"),
    "both": _set("both"),
    "keep": _add("connection: keep-alive"),
    "close": _add("connection: close"),
    "cut": _cut,
    "idle": _idle,
}


async def _informational(answering: _Answering, argument: str) -> None:
    answering.wire(b"HTTP/1.1 100 Continue\r\n\r\n" * int(argument))


async def _answer(answering: _Answering, _: str) -> None:
    answering.body(body_of(answering.name), tokens=2)


async def _event(answering: _Answering, argument: str) -> None:
    for _ in range(int(argument or 1)):
        answering.body(event_of(answering.name), tokens=1)
        await asyncio.sleep(0)


async def _usage(answering: _Answering, argument: str) -> None:
    answering.body(_escaped(argument) if argument else usage_of(answering.tokens))


async def _done(answering: _Answering, _: str) -> None:
    answering.body(b"data: [DONE]\n\n")


async def _comment(answering: _Answering, _: str) -> None:
    answering.body(b": still here\n\n")


async def _text(answering: _Answering, argument: str) -> None:
    answering.body(_escaped(argument))


async def _bytes(answering: _Answering, argument: str) -> None:
    left = int(argument)
    answering.begin(left)
    while left:
        piece = _PIECE[:left]
        answering.body(piece)
        left -= len(piece)
        await answering.connection.drained()


async def _ones(answering: _Answering, argument: str) -> None:
    answering.begin(None)
    count = int(argument)
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        letters = bytes(97 + (start + n) % 26 for n in range(size))
        answering.wire(b"".join(b"1\r\n%c\r\n" % letter for letter in letters))
        answering._count(letters)
        await answering.connection.drained()


async def _gzip(answering: _Answering, argument: str) -> None:
    answering.headers.append("content-encoding: gzip")
    body = body_of(answering.name)
    if argument == "bomb":
        body = _bomb()
    elif argument == "twice":
        answering.headers[-1] = "content-encoding: gzip, gzip"
        body = gzip.compress(gzip.compress(body))
    elif argument != "lying":
        body = gzip.compress(body)
    answering.body(body[: len(body) // 2] if argument == "cut" else body, tokens=2)


def _bomb() -> bytes:
    """Return 200 MB of blanks inside a JSON string, compressed to some 200 KB."""
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(b'{"id":"') + packer.flush(zlib.Z_FULL_FLUSH)
    blanks = b" " * (1 << 20)
    # Behind a full flush a block stands for itself, so it can be repeated as it is.
    block = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(b'"}') + packer.flush()
    check = zlib.crc32(b'{"id":"')
    for _ in range(200):
        check = zlib.crc32(blanks, check)
    check = zlib.crc32(b'"}', check)
    trailer = struct.pack("<II", check, 7 + (200 << 20) + 2)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + block * 200 + last + trailer


async def _endless(answering: _Answering, argument: str) -> None:
    left = int(argument or 0) << 20 or 1 << 62
    answering.begin(None if answering.framing != "length" else left)
    while left > 0:
        answering.body(_PIECE)
        left -= len(_PIECE)
        await answering.connection.drained()


async def _drip(answering: _Answering, argument: str) -> None:
    pause, _, text = argument.partition(" ")
    for letter in _escaped(text or "x" * 100):
        answering.wire(bytes([letter]))
        await answering.connection.wait_left(float(pause))


async def _end(answering: _Answering, _: str) -> None:
    answering.begin(0)
    if answering.framing in ("chunked", "both"):
        answering.wire(b"0\r\n\r\n")


async def _raw(answering: _Answering, argument: str) -> None:
    answering.wire(_escaped(argument))


async def _sleep(answering: _Answering, argument: str) -> None:
    await answering.connection.wait_left(float(argument))


async def _silence(answering: _Answering, _: str) -> None:
    answering.is_whole = False
    await answering.connection.wait_left(600)


def _end_by(how: str) -> Callable[[_Answering, str], Any]:
    async def step(answering: _Answering, _: str) -> None:
        if not answering.is_begun:
            answering.is_whole = False
        await asyncio.sleep(0)
        answering.connection.end(how)
        if how != "half":
            raise _Left

    return step


_STEPS: Final[dict[str, Callable[[_Answering, str], Any]]] = {
    "informational": _informational,
    "answer": _answer,
    "event": _event,
    "usage": _usage,
    "done": _done,
    "comment": _comment,
    "text": _text,
    "bytes": _bytes,
    "ones": _ones,
    "gzip": _gzip,
    "endless": _endless,
    "drip": _drip,
    "end": _end,
    "raw": _raw,
    "sleep": _sleep,
    "silence": _silence,
    "rst": _end_by("rst"),
    "fin": _end_by("fin"),
    "half": _end_by("half"),
}


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
        """Closes itself after so long without a request; None: never."""
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
        """Send with all else that is said in this turn of the loop, in one write: what belongs together stays so."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting += data

    def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self, how: str) -> None:
        """End the connection: `rst`, `fin`, or `half` for the sending side alone."""
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
            raise _Left

    async def wait_left(self, seconds: float) -> None:
        """Wait so long; _Left: the peer left."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._left.wait(), seconds)
        if self.has_left:
            raise _Left

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
        answering = _Answering(self, request.headers.get("x-name", ""))
        program = self._program(request)
        self._server.count(answering.name)
        try:
            await answering.run(program)
        except _Left:
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

    def _finish(self, request: _Request, answering: _Answering) -> None:
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
