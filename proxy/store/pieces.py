"""Pieces: where a body is cut, so that what is said again is stored once.

Applications repeat themselves: instructions and tools stand in every request, and a conversation is sent again with each
turn. So a body is cut at the ends of the elements of its conversation and around what stands in it every time. A cut is
only a place in the bytes: whatever was cut, the parts in their order are the body, byte for byte, and a body that nobody
understands is one part.

Long conversations are cut into runs, and these into runs of runs. Where a run ends depends on what it holds, so that
every turn finds those of the turn before: a request costs what is new in it, however much it repeats.

What is new in a request is its last message, and most are never sent again. A short one stays with its request: a row
of its own, in an index that is larger than the memory, costs more than storing it twice.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

Digest = Callable[[bytes], bytes]
"""Names a content: 16 bytes that nobody can choose."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_CONVERSATION: Final = frozenset(("messages", "input", "contents"))
_STANDING: Final = frozenset(
    (
        *("system", "instructions", "systemInstruction", "system_instruction"),
        *("tools", "functions", "toolConfig", "response_format", "generationConfig", "text"),
    )
)
"""Members of a request or an answer that say the same every time."""
_SMALL: Final = 128
"""Bytes below which a name for them would be no shorter."""
_SHORT: Final = 2048
"""Bytes up to which what is new stays with its request."""
_FEW: Final = 6
"""Messages that are not gathered into runs."""
_LONGEST_RUN: Final = 32
_LARGE: Final = 4096
"""Bytes from which the inside of a part is looked at."""
_BASE64: Final = re.compile(rb'[",]([A-Za-z0-9+/]{2048,}={0,2})"')
_PARAGRAPH: Final = rb"\n\n"
"""As JSON writes two line ends."""
_BRACE: Final = ord("{")
_ANCHOR: Final = 64
"""First bytes by which a member is found."""


class Part:
    """Bytes that may be stored once for all who hold them, or a run of such parts."""

    __slots__ = ("data", "digest", "is_base64", "is_inline", "parts")

    def __init__(
        self,
        digest: bytes,
        data: bytes,
        parts: tuple[Part, ...] = (),
        *,
        is_inline: bool = False,
        is_base64: bool = False,
    ) -> None:
        self.digest = digest
        """Empty: of an inline part that is never compared."""
        self.data = data
        """Empty: see `parts`."""
        self.parts = parts
        self.is_inline = is_inline
        """It is stored with whoever holds it."""
        self.is_base64 = is_base64
        """It stands in the body as base64 of `data`."""

    @property
    def bytes(self) -> bytes:
        """Return what stands in the body."""
        if self.parts:
            return b"".join(part.bytes for part in self.parts)
        return binascii.b2a_base64(self.data, newline=False) if self.is_base64 else self.data


class Cut(NamedTuple):
    """A request's body."""

    parts: list[Part]
    """In their order they are the body."""
    said: list[Part]
    """The elements of its conversation, each with what stands between it and the one before; none: there is no such."""


def cut_request(body: bytes, digest: Digest) -> Cut:
    """Cut a request's body."""
    said: list[Part] = []
    parts = _split(body, digest, _CONVERSATION, said)
    if parts is None:
        parts = [_part(body, digest, _SHORT)] if body else []
    return Cut(parts, said)


def split_response(body: bytes, digest: Digest) -> list[Part]:
    """Return the parts of an answer: it is new, but some APIs repeat the instructions and tools in it."""
    found = _split(body, digest, frozenset(), []) if len(body) > _SHORT else None
    if found is None:
        return [_inline(body)] if body else []
    return found


def look_inside(part: Part, digest: Digest) -> Part:
    """Return a part that nobody stored before, with what is in it: pictures and sounds as bytes, long paragraphs."""
    if part.parts or part.is_base64 or len(part.data) < _LARGE:
        return part
    parts: list[Part] = []
    start = 0
    for match in _BASE64.finditer(part.data) if b"data" in part.data else ():
        decoded = _decoded(match[1])
        if decoded is not None:
            parts += _paragraphs(part.data[start : match.start(1)], digest)
            parts.append(Part(digest(decoded), decoded, is_base64=True))
            start = match.end(1)
    parts += _paragraphs(part.data[start:], digest)
    return part if len(parts) == 1 else Part(part.digest, b"", tuple(parts))


def _split(body: bytes, digest: Digest, conversation: frozenset[str], said: list[Part]) -> list[Part] | None:
    """Return the parts of a JSON object, and put the elements of a conversation into `said`.

    None: it is none, or has nothing to cut.
    """
    if body.lstrip()[:1] != b"{":
        return None
    try:
        members = _MEMBERS.decode(body)
    except _UNREADABLE:
        return None
    parts: list[Part] = []
    start = position = 0
    for name, raw in members.items():
        size = len(memoryview(raw))
        is_said = name in conversation
        if size < _SMALL and not is_said:
            continue
        begin = body.find(memoryview(raw)[:_ANCHOR], position)
        if begin < 0:
            break
        position = begin + size
        if is_said:
            inner = _elements(body, begin, raw, digest)
            if inner:
                begin, position, said[:] = inner
                if size >= _SMALL:
                    parts += [_inline(body[start:begin]), *_kept(said, digest)]
                    start = position
                continue
        if size >= _SMALL and (name in _STANDING or conversation):
            limit = _SMALL if name in _STANDING else _SHORT
            parts += [_inline(body[start:begin]), _part(body[begin:position], digest, limit)]
            start = position
    if not parts:
        return None
    parts = _joined([*parts, _inline(body[start:])])
    # Of members with the same name only the last is seen, and may be looked for where another of them stands.
    return parts if b"".join([part.bytes for part in parts]) == body else None


def _elements(body: bytes, position: int, raw: msgspec.Raw, digest: Digest) -> tuple[int, int, list[Part]] | None:
    """Cut a conversation that begins at `position`; return where its elements begin and end, and what they are."""
    try:
        elements = _ELEMENTS.decode(raw)
    except _UNREADABLE:
        return None
    begin = end = position
    parts: list[Part] = []
    last = len(elements) - 1
    for number, element in enumerate(elements):
        view = memoryview(element)
        if view[0] != _BRACE:
            return None
        # The comma belongs to what follows it: a message stays the same when another comes after it.
        at = body.find(b"{", end)
        start, end = end, at + len(view)
        if number == 0:
            begin = start = at
        parts.append(_part(body[start:end], digest, _SHORT if number == last else _SMALL))
    return (begin, end, parts) if parts else None


def _kept(said: list[Part], digest: Digest) -> list[Part]:
    """Return a conversation as it is stored."""
    newest = said[-1:] if said[-1].is_inline else []
    return [*_gathered(said[: len(said) - len(newest)], digest), *newest]


def _gathered(parts: list[Part], digest: Digest) -> list[Part]:
    """Gather parts into runs, and these into runs, until what is left is few."""
    while len(parts) > _FEW:
        runs: list[Part] = []
        start = 0
        for number, part in enumerate(parts, 1):
            # The content decides, so that the same content is gathered in the same way whatever follows.
            if part.digest[0] % 8 == 0 or number - start == _LONGEST_RUN:
                runs.append(part if number - start == 1 else _run(parts[start:number], digest))
                start = number
        runs += parts[start:]
        if len(runs) == len(parts):
            break
        parts = runs
    return parts


def _run(parts: list[Part], digest: Digest) -> Part:
    return Part(digest(b"run" + b"".join([part.digest for part in parts])), b"", tuple(parts))


def _joined(parts: list[Part]) -> list[Part]:
    """Join neighbours that stay with their request."""
    joined: list[Part] = []
    for is_inline, some in groupby(parts, attrgetter("is_inline")):
        if not is_inline:
            joined += some
        elif data := b"".join([part.data for part in some]):
            joined.append(_inline(data))
    return joined


def _paragraphs(data: bytes, digest: Digest) -> Iterator[Part]:
    """Yield long paragraphs, which may be quoted in other places, and what lies between them."""
    start = position = 0
    while position < len(data):
        end = data.find(_PARAGRAPH, position)
        end = len(data) if end < 0 else end + len(_PARAGRAPH)
        if _SHORT // 4 <= end - position < len(data):
            if position > start:
                yield _inline(data[start:position])
            yield _part(data[position:end], digest, 0)
            start = end
        position = end
    if start < len(data):
        yield _inline(data[start:])


def _part(data: bytes, digest: Digest, limit: int) -> Part:
    return Part(digest(data), data, is_inline=len(data) <= limit)


def _inline(data: bytes) -> Part:
    return Part(b"", data, is_inline=True)


def _decoded(text: bytes) -> bytes | None:
    """Return what base64 stands for; None: encoding it again would not give the same text."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    return decoded if binascii.b2a_base64(decoded, newline=False) == text else None
