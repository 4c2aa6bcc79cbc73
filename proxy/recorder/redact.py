"""Redact: the bytes of a body without personal data and secrets, in the form in which they are stored.

A body in which nothing is found stays as it passed, byte for byte. One that is changed is kept decoded. What cannot be
looked through is not kept at all: a body that is neither text nor sound nor picture, one with a coding that nobody here
can undo, frames that break their protocol. Pictures, sound and films are kept as they are: nothing here can see or hear.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.operations import WEBSOCKET
from proxy.policy.redaction import RedactionError, Redactor
from proxy.records import SWITCHING_PROTOCOLS, Body, Exchange, Headers
from proxy.websocket import FrameParser, Message, Opcode, encode_frame, read_extensions
from proxy.wire import multipart
from proxy.wire.decode import content_codings, decode
from proxy.wire.eventstream import CONTENT_TYPE as EVENT_STREAM
from proxy.wire.eventstream import EventStreamParser
from proxy.wire.eventstream import Frame as EventFrame
from proxy.wire.eventstream import encode_frame as encode_event

_MEDIA: Final = (b"image/", b"audio/", b"video/")
_EDGE: Final = 256
"""Characters on both sides of a gap that are not kept: what is cut in half there cannot be recognised."""
_HEAD_EDGE: Final = re.compile(rf"[A-Za-z0-9+/=_.\-@]{{0,8000}}.{{{_EDGE}}}\Z", re.DOTALL)
_TAIL_EDGE: Final = re.compile(rf".{{{_EDGE}}}[A-Za-z0-9+/=_.\-@]{{0,8000}}", re.DOTALL)
_KINDS: Final = frozenset((":event-type", ":message-type", ":content-type"))
"""Headers of frames that are words of the protocol."""
_LINE_END: Final = re.compile(r"[\r\n]+")
_JOIN: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Redacted:
    """What may be stored of a body."""

    head: bytes
    tail: bytes
    is_changed: bool
    is_whole: bool = True
    """Nothing is missing but what was found."""
    is_decoded: bool = False
    """A content coding was undone."""
    pseudonyms: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Scribe:
    """Redacts the texts of one body, and remembers what that changed."""

    redactor: Redactor
    is_in_pieces: bool = True
    """The documents of a body go on in one another."""
    is_changed: bool = False
    is_cut: bool = False
    """There was something that could not be read, and was left out."""
    pseudonyms: dict[str, str] = field(default_factory=dict)

    def write(self, text: str, *, is_stream: bool = False) -> str:
        """Return a document without what was found in it."""
        redacted = self.redactor.redact(text, is_stream=is_stream, is_in_pieces=self.is_in_pieces)
        self.is_changed |= redacted.is_changed
        self.pseudonyms.update(redacted.pseudonyms)
        return redacted.text

    def write_all(self, texts: Sequence[str]) -> list[str]:
        """Do the same with the messages of a stream, which go on in one another."""
        # A line of its own for each, as events have; a line end inside one would end it.
        lines = [_LINE_END.sub(" ", text) for text in texts]
        whole = "".join(f"data:{line}{_JOIN}" for line in lines)
        redacted = self.redactor.redact(whole, is_stream=True)
        self.is_changed |= redacted.is_changed
        self.pseudonyms.update(redacted.pseudonyms)
        found = redacted.text.split(_JOIN)[:-1]
        if len(found) != len(texts):
            raise RedactionError("the messages of a stream cannot be told apart any more")
        if not redacted.is_changed:
            return list(texts)
        return [line.removeprefix("data:") for line in found]


def redact_body(exchange: Exchange, side: str, redactor: Redactor) -> Redacted:
    """Return what may be stored of the `request` or the `response`. Raises RedactionError: nothing."""
    body, headers = (
        (exchange.request, exchange.begin.headers) if side == "request" else (exchange.response, exchange.end.headers)
    )
    scribe = Scribe(redactor, is_in_pieces=side == "response")
    if _is_session(exchange):
        return _session(exchange, body, scribe, is_server=side == "response")
    codings = content_codings(headers)
    decoded = decode(body.head, codings)
    if decoded.problem not in (None, "encoding_truncated", "encoding_too_large"):
        raise RedactionError(f"the body cannot be read: {decoded.problem}")
    is_whole = body.is_whole and decoded.problem is None
    tail = b"" if codings else body.tail
    head, tail = _redacted(decoded.data, tail, _content_type(headers), scribe, is_whole=is_whole)
    is_whole &= not scribe.is_cut
    if not scribe.is_changed and is_whole:
        return Redacted(body.head, body.tail, is_changed=False)
    return Redacted(head, tail, True, is_whole, bool(codings), tuple(scribe.pseudonyms.items()))


def _redacted(head: bytes, tail: bytes, kind: bytes, scribe: Scribe, *, is_whole: bool) -> tuple[bytes, bytes]:
    if kind.startswith(EVENT_STREAM):
        return _events(head, tail, scribe)
    if multipart.is_form(kind):
        return (_form(head, kind, scribe), b"") if is_whole else (b"", b"")
    text, end = _text(head), _text(tail)
    if text is None or end is None:
        if kind.startswith(_MEDIA):
            return head, tail
        raise RedactionError("the body is no text")
    is_stream = kind.startswith(b"text/event-stream")
    if is_whole:
        return _bytes(scribe.write(text, is_stream=is_stream)), b""
    text, end = _HEAD_EDGE.sub("", text), _without_start(end)
    if is_stream and end:
        # A stream goes on behind the gap: what is said there in pieces is one text as well.
        first, mark, rest = end.partition("\n")
        return _bytes(scribe.write(text, is_stream=True)), _bytes(
            scribe.write(first) + mark + scribe.write(rest, is_stream=True)
        )
    return _bytes(scribe.write(text, is_stream=is_stream)), _bytes(scribe.write(end))


def _without_start(text: str) -> str:
    match = _TAIL_EDGE.match(text)
    return text[match.end() :] if match else ""


def _text(data: bytes) -> str | None:
    """Return text with whatever is no UTF-8 in it set aside; None: it is no text."""
    if b"\0" in data:
        return None  # UTF-16 is valid UTF-8 as long as its letters are English ones, and nothing is found in it
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    odd = sum("\udc80" <= letter <= "\udcff" for letter in text[:4096])
    # One character cut in half, or a text in Latin-1, is still text.
    return text if odd * 10 <= len(text[:4096]) + 20 else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _content_type(headers: Headers) -> bytes:
    return next(
        (
            value.strip().lower() if b"boundary" not in value.lower() else value.strip()
            for name, value in headers
            if name.lower() == b"content-type"
        ),
        b"",
    )


# --- forms ---------------------------------------------------------------------------------------------------------------


def _form(body: bytes, content_type: bytes, scribe: Scribe) -> bytes:
    """Redact the fields of a form and the files that are text; sound and pictures stay, other files are refused."""
    pieces: list[bytes] = []
    at = 0
    for part in multipart.parts(body, content_type):
        head = body[at : part.start]
        value = body[part.start : part.end]
        pieces.append(_plain(head, scribe))
        text = _text(value)
        if text is not None:
            value = _bytes(scribe.write(text))
        elif not _is_media(value) and not any(media in head.lower() for media in _MEDIA):
            raise RedactionError("a file of the form is no text")
        pieces.append(value)
        at = part.end
    pieces.append(_plain(body[at:], scribe))
    return b"".join(pieces)


def _plain(data: bytes, scribe: Scribe) -> bytes:
    text = _text(data)
    if text is None:
        raise RedactionError("a part of the form cannot be read")
    redacted = scribe.redactor.redact_text(text)
    scribe.is_changed |= redacted.is_changed
    scribe.pseudonyms.update(redacted.pseudonyms)
    return _bytes(redacted.text)


def _is_media(data: bytes) -> bool:
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff\xfb")) or (
        data[4:8] == b"ftyp"
    )


# --- binary event streams ------------------------------------------------------------------------------------------------


def _events(head: bytes, tail: bytes, scribe: Scribe) -> tuple[bytes, bytes]:
    """Redact the frames of Amazon's event streams, also the JSON that some carry in base64."""
    parsers = (EventStreamParser(), EventStreamParser(is_torn=True))
    frames = [parser.feed(data) for parser, data in zip(parsers, (head, tail), strict=True)]
    for parser in parsers:
        parser.close()
        scribe.is_cut |= parser.is_damaged  # what is no frame was not looked through
    payloads = [_unwrapped(frame.payload) for side in frames for frame in side]
    texts = iter(scribe.write_all([text for text, _ in payloads]))
    wraps = iter([wrap for _, wrap in payloads])
    parts = [
        b"".join(encode_event(_frame_headers(frame, scribe), next(wraps)(next(texts))) for frame in side)
        for side in frames
    ]
    return parts[0], parts[1]


def _frame_headers(frame: EventFrame, scribe: Scribe) -> dict[str, str]:
    return {
        name: value if name in _KINDS else _plain(value.encode(), scribe).decode()
        for name, value in frame.headers.items()
    }


def _unwrapped(payload: bytes) -> tuple[str, Callable[[str], bytes]]:
    """Return the JSON of a frame, and how to put another one in its place."""
    try:
        members = msgspec.json.decode(payload)
        if isinstance(members, dict) and isinstance(members.get("bytes"), str):
            inner = base64.b64decode(members["bytes"], validate=True).decode()
            others = {name: value for name, value in members.items() if name != "bytes"}
            return inner, lambda text: msgspec.json.encode(
                {"bytes": base64.b64encode(text.encode()).decode(), **others}
            )
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error):
        pass
    text = _text(payload)
    if text is None:
        raise RedactionError("an event is no text")
    return text, _bytes


# --- WebSockets ----------------------------------------------------------------------------------------------------------


def _is_session(exchange: Exchange) -> bool:
    status = exchange.end.status
    return status == SWITCHING_PROTOCOLS or (status is None and exchange.method == WEBSOCKET)


def _session(exchange: Exchange, body: Body, scribe: Scribe, *, is_server: bool) -> Redacted:
    """Redact the messages of one side; they are stored as frames that are neither masked nor compressed."""
    headers = exchange.end.headers if exchange.end.status else exchange.begin.headers
    value = b",".join(value for name, value in headers if name.lower() == b"sec-websocket-extensions")
    try:
        parser = FrameParser(deflate=read_extensions(value, is_server=is_server))
    except ValueError as error:
        raise RedactionError(str(error)) from None
    sides = [list(_messages(parser, body.head)), list(_messages(FrameParser(), body.tail))]
    texts = iter(scribe.write_all([_message_text(message) for side in sides for message in side]))
    parts = [b"".join(_frame(message, next(texts)) for message in side) for side in sides]
    is_whole = body.is_whole and parser.is_between_messages
    if not scribe.is_changed and is_whole:
        return Redacted(body.head, body.tail, is_changed=False)
    return Redacted(parts[0], parts[1], True, is_whole, False, tuple(scribe.pseudonyms.items()))


def _messages(parser: FrameParser, data: bytes) -> Iterator[Message]:
    yield from parser.feed(data)
    if parser.problem is not None:
        raise RedactionError(f"the frames cannot be read: {parser.problem}")


def _message_text(message: Message) -> str:
    """Return what a message says; sound says nothing."""
    if message.opcode is Opcode.CLOSE:
        return message.close_reason
    text = _text(message.head) if not _is_media(message.head) else None
    if text is None and message.opcode is Opcode.TEXT:
        raise RedactionError("a message of text is no text")
    return text or ""


def _frame(message: Message, text: str) -> bytes:
    if message.opcode is Opcode.CLOSE:
        return encode_frame(Opcode.CLOSE, message.head[:2] + text.encode()[:120])
    is_said = bool(_message_text(message))
    return encode_frame(message.opcode, _bytes(text) if is_said else message.head)
