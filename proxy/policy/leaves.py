"""Leaves: the strings of JSON documents and the lines around them, each with its place in the text.

A scanner, not a parser: what is cut short, malformed or no JSON at all is scanned as far as it goes, so that there is no
text in which nothing is looked at. What a stream says in pieces is put together again by where the pieces stand: the
strings at the same path of one document after the other, told apart by the numbers and names that providers give their
choices, parts and items (`index`, `output_index`, `item_id`, …), make one channel. So one rule serves every dialect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from proxy.policy.strands import Strand

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]:,]|[^\s"{}\[\]:,]+|"', re.DOTALL)
_SCALAR: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")
_LONG_NUMBER: Final = re.compile(r"-?\d{6,}")
_LINE: Final = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FIELD: Final = re.compile(r"(data|event|id|retry)?: ?")
_BEGUN: Final = re.compile(r"\\+(?:u[0-9a-fA-F]{0,3})?\Z")
_BEGUN_LETTERS: Final = 40
_REST: Final = re.compile(r"\\*(?:u?[0-9a-fA-F]{1,4}|[\"/nrt])?")
"""How an escape may go on in the next piece, whatever it stands in."""
_OPENING: Final = ("{", "[", '"')
_OPAQUE: Final = re.compile(r"(?:data:[^,\s]{0,200};base64,)?[A-Za-z0-9+/_\-\r\n]{1024,}={0,2}")
_APART: Final = frozenset(
    (
        "index",
        "output_index",
        "content_index",
        "summary_index",
        "contentBlockIndex",
        "custom_id",
        "item_id",
        "type",
        "event",
        "stream",
    )
)
"""Members whose values tell one channel of a stream from another."""
_UNSPOKEN: Final = frozenset(
    (
        *("id", "object", "type", "role", "model", "event", "event_id", "item_id", "response_id", "call_id", "name"),
        *(
            "system_fingerprint",
            "service_tier",
            "finish_reason",
            "finishReason",
            "stop_reason",
            "status",
            "obfuscation",
        ),
        *("modelVersion", "responseId", "p", "created_at", "createTime", "signature", "thoughtSignature"),
    )
)
"""Members that every event repeats whole: joined they would only look like something."""
ECHOES: Final = frozenset(
    ("logprobs", "logprobsResult", "top_logprobs", "token_ids", "prompt_token_ids", "prompt_logprobs", "context")
)
"""Members that say the text once more, token by token or as numbers."""


@dataclass(slots=True)
class Leaf:
    """One string, long number, or stretch that is no JSON."""

    strand: Strand
    is_number: bool = False
    channel: tuple[object, ...] | None = None
    """What it is a piece of; None: it stands alone."""
    name: str | None = None
    """Of the member whose value it is."""


@dataclass(slots=True)
class _Container:
    """An object or a list that is open."""

    closer: str
    key: str | None = None
    """Of the member whose value comes next."""
    is_key_next: bool = False
    marks: dict[str, str] = field(default_factory=dict)
    """Members that tell this object from others like it."""
    start: int = 0
    parent: _Container | None = None
    path: int = 0
    """Number of the path that leads here."""
    channel: int | None = None
    """Number of what tells it and all around it from others; None: not known yet."""


@dataclass(slots=True)
class Leaves:
    """All leaves of a text."""

    found: list[Leaf] = field(default_factory=list)
    echoes: list[tuple[int, int]] = field(default_factory=list)
    """Places of values that repeat the text, token by token."""
    documents: int = 0
    is_malformed: bool = False

    def channels(self) -> list[Strand]:
        """Return what the pieces of a stream say together; nothing for a text that is one document."""
        pieces: dict[tuple[object, ...], list[Leaf]] = {}
        if self.documents > 1:
            for leaf in self.found:
                if leaf.channel is not None:
                    pieces.setdefault(leaf.channel, []).append(leaf)
        return [_joined(leaves) for leaves in pieces.values() if len(leaves) > 1]


def _joined(pieces: list[Leaf]) -> Strand:
    """Return what pieces say together, and take from each what is half of an escape: alone it looks like letters."""
    whole = Strand.joined(piece.strand for piece in pieces)
    text, end = whole.text, 0
    if "\\" not in text:
        return whole
    for piece in pieces:
        start, end = end, end + len(piece.strand.text)
        first, last = start, end
        if _BEGUN.search(text, max(0, start - _BEGUN_LETTERS), start):
            rest = _REST.match(text, start)
            first = min(end, rest.end() if rest else start)
        if begun := _BEGUN.search(text, max(first, end - _BEGUN_LETTERS), end):
            last = begun.start()
        if (first, last) != (start, end):
            piece.strand = piece.strand.between(first - start, last - start)
    return whole


def read_leaves(text: str, *, is_stream: bool = False) -> Leaves:
    """Return the leaves of a text; `is_stream`: of server-sent events."""
    leaves = Leaves()
    if is_stream or _looks_like_events(text):
        _read_events(text, leaves)
    elif text.lstrip()[:1] in _OPENING:
        scanner = _Scanner(text, leaves)
        scanner.scan(0, len(text))
        scanner.finish()
        if leaves.is_malformed:
            leaves.found.append(Leaf(Strand.plain(text, 0, len(text))))
    elif text:
        leaves.found.append(Leaf(Strand.plain(text, 0, len(text))))
    return leaves


def _looks_like_events(text: str) -> bool:
    first = text[:200].lstrip("\ufeff\r\n")
    return first.startswith(("data:", "event:", "id:", "retry:", ":"))


def _read_events(text: str, leaves: Leaves) -> None:
    """Read the lines of a stream; the data lines of one event make one document."""
    scanner = _Scanner(text, leaves)
    at = 0
    while at < len(text):
        line = _LINE.match(text, at)
        if line is None:
            break
        start, end = line.span(1)
        at = line.end()
        if start == end:
            scanner.finish()
        else:
            _read_line(scanner, start, end)
    scanner.finish()


def _read_line(scanner: _Scanner, start: int, end: int) -> None:
    text, leaves = scanner.text, scanner.leaves
    name = _FIELD.match(text, start, end)
    is_data = name is not None and name[1] == "data"
    if name is not None and is_data:
        start = name.end()
        if scanner.is_open or text[start:end].lstrip()[:1] in _OPENING:
            was_malformed, leaves.is_malformed = leaves.is_malformed, False
            scanner.scan(start, end)
            if not leaves.is_malformed:
                leaves.is_malformed = was_malformed
                return
    leaves.documents += is_data
    leaves.found.append(Leaf(Strand.plain(text, start, end), channel=("data",) if is_data else None))


class _Scanner:
    """Reads JSON documents, one after the other, from stretches of a text."""

    def __init__(self, text: str, leaves: Leaves) -> None:
        self.text = text
        self.leaves = leaves
        self._open: list[_Container] = []
        self._pieces: list[tuple[Leaf, _Container, int]] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        """Of paths and of marks: each holds the number of what is around it, so that depth costs nothing."""

    @property
    def is_open(self) -> bool:
        """Say whether a document is not complete."""
        return bool(self._open)

    def scan(self, start: int, end: int) -> None:
        """Read a stretch; strings do not reach over its end."""
        for token in _TOKEN.finditer(self.text, start, end):
            letter = self.text[token.start()]
            if letter in "{[":
                self._enter(letter, token.start())
            elif letter in "}]":
                self._leave(letter, token.end())
            elif letter == ",":
                self._next()
            elif letter == '"':
                self._string(token.start(), token.end())
            elif letter != ":":
                self._scalar(token.start(), token.end())

    def finish(self) -> None:
        """Say that the document is over, whether it is complete or not."""
        for leaf, container, path in self._pieces:
            leaf.channel = (path, self._channel(container))
        self._pieces.clear()
        self._open.clear()

    def _number(self, *thing: object) -> int:
        return self._numbers.setdefault(thing, len(self._numbers) + 1)

    def _path(self, container: _Container) -> int:
        return container.path if container.key is None else self._number("path", container.path, container.key)

    def _channel(self, container: _Container) -> int:
        if container.channel is None:
            around = self._channel(container.parent) if container.parent else 0
            marks = tuple(sorted(container.marks.items()))
            container.channel = self._number("marks", around, marks) if marks else around
        return container.channel

    def _enter(self, letter: str, start: int) -> None:
        if not self._open:
            self.leaves.documents += 1
        elif len(self._open) == 1 and self._open[0].closer == "]":
            self.leaves.documents += 1  # a stream written as one list: each element is an event
        if len(self._open) > 500:
            raise RecursionError("nested too deeply")
        is_object = letter == "{"
        parent = self._open[-1] if self._open else None
        path = self._path(parent) if parent else 0
        self._open.append(
            _Container("}" if is_object else "]", is_key_next=is_object, start=start, parent=parent, path=path)
        )

    def _leave(self, letter: str, end: int) -> None:
        if not self._open or self._open[-1].closer != letter:
            self.leaves.is_malformed = True
            return
        closed = self._open.pop()
        if self._open and self._open[-1].key in ECHOES:
            self.leaves.echoes.append((closed.start, end))
        if not self._open:
            self.finish()

    def _next(self) -> None:
        if self._open:
            container = self._open[-1]
            container.is_key_next = container.closer == "}"
            if container.is_key_next:
                container.key = None

    def _string(self, start: int, end: int) -> None:
        is_closed = end - start > 1 and self.text[end - 1] == '"'
        last = end - 1 if is_closed else end
        if not is_closed:
            self.leaves.is_malformed |= end < len(self.text)
        container = self._open[-1] if self._open else None
        if container is not None and container.is_key_next:
            container.is_key_next = False
            leaf = Leaf(Strand.plain(self.text, start + 1, last).without_escapes())
            container.key = leaf.strand.text
            self.leaves.found.append(leaf)
            return
        if container is not None and container.key in _APART:
            container.marks[container.key] = Strand.plain(self.text, start + 1, last).without_escapes().text
        if _OPAQUE.fullmatch(self.text, start + 1, last):
            return
        leaf = Leaf(
            Strand.plain(self.text, start + 1, last).without_escapes(), name=container.key if container else None
        )
        self.leaves.found.append(leaf)
        if container is None:
            self.leaves.documents += 1
            leaf.channel = ()
        elif container.key not in _UNSPOKEN:
            self._pieces.append((leaf, container, self._path(container)))

    def _scalar(self, start: int, end: int) -> None:
        if not _SCALAR.fullmatch(self.text, start, end):
            self.leaves.is_malformed = True
            return
        container = self._open[-1] if self._open else None
        if container is not None and container.key in _APART:
            container.marks[container.key] = self.text[start:end]
        if _LONG_NUMBER.fullmatch(self.text, start, end):
            name = container.key if container else None
            self.leaves.found.append(Leaf(Strand.plain(self.text, start, end), is_number=True, name=name))
