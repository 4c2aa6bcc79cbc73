"""A session: the messages of both sides of a WebSocket, read from the frames that were kept, and what they add up to.

The head of a body holds the frames as they passed. Of a session longer than that, the tail holds the messages that say
what was consumed, one by one, as plain text frames. Each response of a session is billed by itself: a `Charge` each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pricing import Usage
from proxy.records import SWITCHING_PROTOCOLS, Charge
from proxy.websocket import Deflate, FrameParser, Message, Opcode, read_extensions
from proxy.wire.draft import Draft
from proxy.wire.lenient import last_member
from proxy.wire.transcript import MOST_EVENTS, Transcript

_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY})
_SLICE: Final = 1 << 20
_NOTHING: Final = Usage.from_totals(input_tokens=0, output_tokens=0)
UNFINISHED: Final = "response_unfinished"
"""The problem of a reading that lacks the usage of a response that had begun."""


class Note(msgspec.Struct, frozen=True):
    """One message of a session."""

    text: bytes
    """JSON, perhaps without its middle."""
    end_offset: int | None
    """Where it was complete in the relayed bytes; None: beyond what was kept of them."""
    is_close: bool = False
    close_code: int | None = None


def is_upgraded(transcript: Transcript) -> bool:
    """Say whether the exchange became a session."""
    # Of an interrupted one the status is not known; then its frames tell.
    return transcript.status == SWITCHING_PROTOCOLS or (transcript.status is None and bool(transcript.response))


def from_server(transcript: Transcript, draft: Draft) -> Iterator[Note]:
    """Yield what the server said."""
    parser = FrameParser(deflate=_deflate(transcript, draft, is_server=True))
    for message in _first(parser, transcript.response, draft):
        yield _note(message, message.end_offset)
    if parser.problem is not None:
        draft.problems.add(f"response_frames_{parser.problem}")
    for message in FrameParser().feed(transcript.response_tail):
        yield _note(message, None)


def from_client(transcript: Transcript, draft: Draft) -> Iterator[Note]:
    """Yield what the client said, as far as it was kept."""
    parser = FrameParser(deflate=_deflate(transcript, draft, is_server=False))
    for message in _first(parser, transcript.request, draft):
        yield _note(message, message.end_offset)
    if parser.problem is not None:
        draft.problems.add(f"request_frames_{parser.problem}")


def _first(parser: FrameParser, body: bytes, draft: Draft) -> Iterator[Message]:
    """Yield the messages of a body, of absurdly many the first: what the others consumed is then unknown."""
    seen = 0
    for start in range(0, len(body), _SLICE):
        found = parser.feed(body[start : start + _SLICE])
        yield from found
        seen += len(found)
        if seen > MOST_EVENTS and start + _SLICE < len(body):
            draft.problems.add(UNFINISHED)
            return


def _deflate(transcript: Transcript, draft: Draft, *, is_server: bool) -> Deflate | None:
    try:
        return read_extensions(transcript.socket_extensions, is_server=is_server)
    except ValueError:
        draft.problems.add("socket_extension")
        return None


def _note(message: Message, end_offset: int | None) -> Note:
    is_close = message.opcode is Opcode.CLOSE
    text = message.head if message.opcode in _DATA else b""
    return Note(text, end_offset, is_close, message.close_code)


@dataclass(slots=True)
class Bills:
    """What the responses of a session consumed."""

    charges: list[Charge] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    own_ids: set[str] = field(default_factory=set)
    """Of parts that are billed once for all responses, such as a sandbox."""
    open_responses: set[str] = field(default_factory=set)
    """Responses that began and did not say yet what they consumed."""

    def add(self, charge: Charge, raw: bytes | None) -> None:
        """Take what one response consumed; `raw`: as the provider wrote it."""
        self.charges.append(charge)
        if raw:
            self.raws.append(raw)

    def finish(self, draft: Draft) -> None:
        """Fill in the sum."""
        if self.open_responses:
            draft.problems.add(UNFINISHED)
        if self.charges:
            draft.charges = tuple(self.charges)
            draft.usage = Usage.total(charge.usage for charge in self.charges)
        elif not self.open_responses and not any("frames" in problem for problem in draft.problems):
            draft.usage = _NOTHING  # A session in which nobody asked for anything.
        if self.raws:
            draft.usage_raw = self.raws[0] if len(self.raws) == 1 else b"[" + b",".join(self.raws) + b"]"


_RESPONSE: Final = re.compile(rb'"response"\s*:\s*\{')
_NAMES: Final = tuple(
    (key, re.compile(rb'"' + key + rb'"\s*:\s*"((?:[^"\\]|\\.){0,200})"'))
    for key in (b"id", b"object", b"status", b"model")
)
"""What a response says of itself before its output."""
_KIND: Final = re.compile(rb'"type"\s*:\s*"([a-z_.]{1,80})"')
_LANE: Final = re.compile(rb'"stream_id"\s*:\s*"([^"\\]{1,200})"')


def mended(text: bytes) -> bytes:
    """Return a message that lost its middle as one without output: what it is, and what stands behind the output."""
    start = _RESPONSE.search(text)
    kind = _KIND.search(text)
    if start is None or kind is None:
        return text
    fields = [b'"%b":"%b"' % (key, found[1]) for key, name in _NAMES if (found := name.search(text, start.end()))]
    behind = ((key, last_member(text, key)) for key in (b"service_tier", b"usage", b"tool_usage"))
    fields += [b'"%b":%b' % (key, member.text) for key, member in behind if member is not None]
    lane = _LANE.search(text)
    shown = b',"stream_id":"%b"' % lane[1] if lane else b""
    return b'{"type":"%b"%b,"response":{%b}}' % (kind[1], shown, b",".join(fields))
