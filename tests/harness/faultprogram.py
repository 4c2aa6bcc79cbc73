"""What a provider that fails on order can do: its named programs, and the steps that they are made of.

A program is steps joined by ` | `.

· Before the head: `status 503`, `header name: value`, `headers 5000`, `sse`, `json`, `bare` (no content type),
  `length`, `length 10` (a lie), `chunked`, `until-close`, `both` (length and chunks), `keep` and `close` (what
  `connection` says), `informational 20`.
· The body: `answer` (a chat completion), `event 3` (tokens of a stream), `usage`, `done`, `comment`, `text …`,
  `bytes 1000`, `ones 1000` (one-byte chunks), `gzip good|cut|lying|bomb|twice`, `endless 100` (MB, 0: without end),
  `drip 0.1 …` (a byte each so many seconds), `end` (the last chunk).
· On the wire: `raw …` (as it stands, with \\r \\n \\x..), `sleep 0.5`, `silence` (until the peer closes), `rst`, `fin`,
  `half` (close the sending side only), `cut 100 rst` (from here on only so many bytes, then reset; or `fin`),
  `idle 0.01` (when the answer is over and nothing comes for so long, close).
· In front: `early`, begin before the body has come.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

MODEL: Final = "gpt-4o-mini-2024-07-18"
PROMPT_TOKENS: Final = 9
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


class Left(Exception):
    """The connection is over: nothing more can be sent."""


class Wire(Protocol):
    """The connection that an answer goes out on."""

    idle_s: float | None
    """Closes itself after so long without a request; None: never."""

    @property
    def has_left(self) -> bool:
        """Say whether the peer has closed it."""

    def send(self, data: bytes) -> None:
        """Send with all else that is said in this turn of the loop, in one write: what belongs together stays so."""

    def end(self, how: str) -> None:
        """End the connection: `rst`, `fin`, or `half` for the sending side alone."""

    async def drained(self) -> None:
        """Wait until the peer takes more; Left: it left."""

    async def wait_left(self, seconds: float) -> None:
        """Wait so long; Left: the peer left."""


class Answering:
    """One answer: the state that a program's steps change."""

    def __init__(self, connection: Wire, name: str) -> None:
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
        raise Left

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
        except Left:
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
                raise Left
        if self.framing == "until-close" and self.is_begun:
            self.connection.end("fin")


def _escaped(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def _set_length(answering: Answering, argument: str) -> None:
    answering.framing = "length"
    answering.lie = int(argument) if argument else None


def _set(framing: str) -> Callable[[Answering, str], None]:
    def prepare(answering: Answering, _: str) -> None:
        answering.framing = framing

    return prepare


def _add(*lines: str) -> Callable[[Answering, str], None]:
    def prepare(answering: Answering, argument: str) -> None:
        answering.headers += lines or [argument]

    return prepare


def _many(answering: Answering, argument: str) -> None:
    count, _, size = argument.partition(" ")
    answering.headers += [f"x-{number}: {'a' * int(size or 1)}" for number in range(int(count))]


def _status(answering: Answering, argument: str) -> None:
    answering.status = int(argument)


def _cut(answering: Answering, argument: str) -> None:
    after, _, how = argument.partition(" ")
    answering.limit = answering.wire_bytes + int(after)
    answering.cut_how = how or "rst"


def _idle(answering: Answering, argument: str) -> None:
    answering.connection.idle_s = float(argument)


def _nothing(answering: Answering, argument: str) -> None:
    """Leave everything as it is."""


_PREPARES: Final[dict[str, Callable[[Answering, str], None]]] = {
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


async def _informational(answering: Answering, argument: str) -> None:
    answering.wire(b"HTTP/1.1 100 Continue\r\n\r\n" * int(argument))


async def _answer(answering: Answering, _: str) -> None:
    answering.body(body_of(answering.name), tokens=2)


async def _event(answering: Answering, argument: str) -> None:
    for _ in range(int(argument or 1)):
        answering.body(event_of(answering.name), tokens=1)
        await asyncio.sleep(0)


async def _usage(answering: Answering, argument: str) -> None:
    answering.body(_escaped(argument) if argument else usage_of(answering.tokens))


async def _done(answering: Answering, _: str) -> None:
    answering.body(b"data: [DONE]\n\n")


async def _comment(answering: Answering, _: str) -> None:
    answering.body(b": still here\n\n")


async def _text(answering: Answering, argument: str) -> None:
    answering.body(_escaped(argument))


async def _bytes(answering: Answering, argument: str) -> None:
    left = int(argument)
    answering.begin(left)
    while left:
        piece = _PIECE[:left]
        answering.body(piece)
        left -= len(piece)
        await answering.connection.drained()


async def _ones(answering: Answering, argument: str) -> None:
    answering.begin(None)
    count = int(argument)
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        letters = bytes(97 + (start + n) % 26 for n in range(size))
        answering.wire(b"".join(b"1\r\n%c\r\n" % letter for letter in letters))
        answering._count(letters)
        await answering.connection.drained()


async def _gzip(answering: Answering, argument: str) -> None:
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


async def _endless(answering: Answering, argument: str) -> None:
    left = int(argument or 0) << 20 or 1 << 62
    answering.begin(None if answering.framing != "length" else left)
    while left > 0:
        answering.body(_PIECE)
        left -= len(_PIECE)
        await answering.connection.drained()


async def _drip(answering: Answering, argument: str) -> None:
    pause, _, text = argument.partition(" ")
    for letter in _escaped(text or "x" * 100):
        answering.wire(bytes([letter]))
        await answering.connection.wait_left(float(pause))


async def _end(answering: Answering, _: str) -> None:
    answering.begin(0)
    if answering.framing in ("chunked", "both"):
        answering.wire(b"0\r\n\r\n")


async def _raw(answering: Answering, argument: str) -> None:
    answering.wire(_escaped(argument))


async def _sleep(answering: Answering, argument: str) -> None:
    await answering.connection.wait_left(float(argument))


async def _silence(answering: Answering, _: str) -> None:
    answering.is_whole = False
    await answering.connection.wait_left(600)


def _end_by(how: str) -> Callable[[Answering, str], Any]:
    async def step(answering: Answering, _: str) -> None:
        if not answering.is_begun:
            answering.is_whole = False
        await asyncio.sleep(0)
        answering.connection.end(how)
        if how != "half":
            raise Left

    return step


_STEPS: Final[dict[str, Callable[[Answering, str], Any]]] = {
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
