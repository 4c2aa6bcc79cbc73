"""The one permitted edit of a body: ask a chat stream for its usage, and hide the answer from who did not ask.

The request gets `"stream_options":{"include_usage":true}` inserted into its raw bytes; nothing is parsed and written
again, so key order, number spelling and escapes stay. The response loses exactly the event that the insertion caused:
`choices` empty, `usage` an object, and no other payload in it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

OPTION: Final = b'"stream_options":{"include_usage":true}'
_SPACE: Final = b" \t\r\n"
_BOUNDARY: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
_TOKEN: Final = re.compile(
    rb'(?P<name>"(?:[^"\\]|\\.)*+"[ \t\r\n]*+:[ \t\r\n]*+)|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\],]', re.DOTALL
)
"""A member's name with its colon, a string, or a mark of structure; what lies between are numbers and words.

A string without an end is taken to the end, so that it is not tried again from each quote within.
"""
_REJECTION: Final = re.compile(rb"stream_options|include_usage|extra_forbidden|unrecognized", re.IGNORECASE)
_LONGEST_EVENT: Final = 64 * 1024
"""Bytes; the event that our option causes has some hundred. A longer one is not ours and need not be held back."""
_ALLOWED_BESIDE: Final = frozenset(
    # llama.cpp's timings stand beside the usage that was asked for: who did not ask cannot read an event without choices.
    (
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "service_tier",
        "choices",
        "usage",
        "obfuscation",
        "timings",
    )
)


def insert_option(body: bytes) -> bytes | None:
    """Return `body` with the option inserted; None: it must stay as it is.

    The body is known to be a JSON object whose `stream` is true.
    """
    start = body.index(b"{") + 1
    span = _find_member(body) if b"stream_options" in body else None
    if span is None:
        comma = b"" if body[start:].lstrip(_SPACE).startswith(b"}") else b","
        return body[:start] + OPTION + comma + body[start:]
    first, last = span
    value = body[first:last]
    if value == b"null":
        return body[:first] + b'{"include_usage":true}' + body[last:]
    if not value.startswith(b"{") or b"include_usage" in value:
        return None
    comma = b"" if value[1:].lstrip(_SPACE) == b"}" else b","
    return body[: first + 1] + b'"include_usage":true' + comma + body[first + 1 :]


def _find_member(body: bytes) -> tuple[int, int] | None:
    """Return where the value of the object's own `stream_options` starts and ends; of several, the last one counts."""
    depth, found = 0, None
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and match["name"] is not None and _is_option(token):
            found = match.end()
    return (found, _end_of_value(body, found)) if found is not None else None


def _is_option(token: bytes) -> bool:
    name = token[: token.rindex(b'"') + 1]
    try:
        return bool(msgspec.json.decode(name) == "stream_options")
    except ValueError:
        return False


def _end_of_value(body: bytes, start: int) -> int:
    """Return the end of the JSON value at `start`; the body is valid JSON."""
    depth = 0
    for match in _TOKEN.finditer(body, start):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth <= 0:
                return match.end() if depth == 0 else match.start()
        elif depth == 0 and token == b",":
            return match.start()
    return len(body)


def is_rejection(status: int, body: bytes) -> bool:
    """Say whether an error response objects to the inserted option."""
    return status in (400, 422) and _REJECTION.search(body) is not None


class Stripper:
    """Remove the usage event from a stream of events; hold back only an event that is not complete."""

    __slots__ = ("_held", "_is_passing", "_scanned", "stripped")

    def __init__(self) -> None:
        self._held = bytearray()
        self._scanned = 0
        self._is_passing = False
        """The event under way is too long to be ours: its bytes go on as they come."""
        self.stripped = 0
        """Events removed."""

    def feed(self, data: bytes) -> bytes:
        """Return what may go on to the client."""
        held = self._held
        held += data
        kept: list[bytes] = []
        start, scan = 0, max(0, self._scanned - 3)
        while (match := _BOUNDARY.search(held, scan)) is not None:
            end = match.end()
            if end == len(held) and held.endswith(b"\r\r"):
                break  # The second CR may be half of a CRLF.
            event = bytes(held[start:end])
            if self._is_passing or not self._is_ours(event):
                kept.append(event)
            self._is_passing = False
            start = scan = end
        del held[:start]
        if self._is_passing or len(held) > _LONGEST_EVENT:
            kept.append(self._pass_on())
        self._scanned = len(held)
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def _pass_on(self) -> bytes:
        """Return what is held of an event that is not ours, but for what may be half of its end."""
        self._is_passing = True
        held = self._held
        cut = max(0, len(held) - 3)
        passed = bytes(held[:cut])
        del held[:cut]
        return passed

    def close(self) -> bytes:
        """Return what is left when the stream ends without a final empty line."""
        rest = bytes(self._held)
        self._held.clear()
        return b"" if not self._is_passing and self._is_ours(rest) else rest

    def _is_ours(self, event: bytes) -> bool:
        if len(event) > _LONGEST_EVENT or b'"usage"' not in event:
            return False
        data = b"\n".join(line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:"))
        try:
            chunk = msgspec.json.decode(data)
        except (ValueError, RecursionError):
            return False
        ours = (
            isinstance(chunk, dict)
            and chunk.get("choices") == []
            and isinstance(chunk.get("usage"), dict)
            and chunk.keys() <= _ALLOWED_BESIDE
        )
        self.stripped += ours
        return ours
