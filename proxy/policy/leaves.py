"""Leaves: the strings of JSON documents and the lines around them, each with its place in the text.

A scanner, not a parser: what is cut short, malformed or no JSON at all is scanned as far as it goes, so that there is no
text in which nothing is looked at. What a stream says in pieces is put together again by where the pieces stand: the
strings at the same path of one document after the other, told apart by the numbers and names that providers give their
choices, parts and items (`index`, `output_index`, `item_id`, …), make one channel. So one rule serves every dialect.

Nothing is kept but what is not finished: of a leaf its taker decides, of a piece only its place.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from proxy.policy.strands import Strand

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]:,]|[^\s"{}\[\]:,]+|"', re.DOTALL)
_SCALAR: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")
_LONG_NUMBER: Final = re.compile(r"-?\d{6,}")
_LINE: Final = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FIELD: Final = re.compile(r"(data|event|id|retry)?: ?")
_OPENING: Final = ("{", "[", '"')
_SPACE: Final = ("", " ", "\t", "\r", "\n")
_MARKS: Final = '{}[]:,"'
_SCALARS: Final = "v"
"""Stands for every letter with which a number or a word of JSON can begin."""
_START: Final = '{["'
_VALUE: Final = f"{_START}{_SCALARS}"
_DEEPEST: Final = 500
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


class Leaf(NamedTuple):
    """One string, long number, or stretch that is no JSON."""

    start: int
    """Of a string: behind its quote."""
    end: int
    kind: Literal["string", "number", "text"]
    name: str | None = None
    """Of the member whose value it is."""


@dataclass(slots=True)
class Channel:
    """What a stream says in pieces at one path."""

    is_json: bool
    """The pieces are strings of JSON; else they are lines as they stand."""
    name: str | None = None
    starts: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the places of the pieces."""
        return zip(self.starts, self.ends, strict=True)

    def leaves(self) -> Iterator[Leaf]:
        """Yield the pieces as leaves that have nothing to do with one another."""
        for start, end in self.spans():
            yield Leaf(start, end, "string" if self.is_json else "text", self.name)


class Taker(Protocol):
    """Who is handed the leaves that stand alone, one by one."""

    def __call__(self, leaf: Leaf, /) -> None:
        """Take a leaf."""
        ...


@dataclass(slots=True)
class Leaves:
    """What is left of a text when its leaves are taken."""

    take: Taker
    echoes: list[tuple[int, int]] = field(default_factory=list)
    """Places of values that repeat the text, token by token."""
    channels: dict[tuple[int, int], Channel] = field(default_factory=dict)
    """By the numbers of the path and of what tells one from another."""
    documents: int = 0
    is_malformed: bool = False

    def put(self, channel: tuple[int, int], start: int, end: int, name: str | None = None) -> None:
        """Note a piece of a channel."""
        found = self.channels.get(channel)
        if found is None:
            found = self.channels[channel] = Channel(channel != _LINES, name)
        found.starts.append(start)
        found.ends.append(end)


_LINES: Final = (-1, -1)
"""The channel of the lines of a stream that are no JSON."""
_STRINGS: Final = (-1, 0)
"""The channel of strings that are documents."""


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


def read_leaves(text: str, take: Taker, *, is_stream: bool = False) -> Leaves:
    """Hand over the leaves of a text and return its channels; `is_stream`: it is one of server-sent events."""
    leaves = Leaves(take)
    if is_stream or _looks_like_events(text):
        _read_events(text, leaves)
    elif looks_like_json(text):
        scanner = _Scanner(text, leaves)
        scanner.scan(0, len(text))
        scanner.finish()
        if leaves.is_malformed:
            take(Leaf(0, len(text), "text"))
    elif text:
        take(Leaf(0, len(text), "text"))
    return leaves


def nested_leaves(text: str) -> list[Leaf] | None:
    """Return the leaves of a string that is JSON itself, whole or as far as it goes. None: it is not."""
    if not looks_like_json(text):
        return None
    found: list[Leaf] = []
    leaves = Leaves(found.append)
    scanner = _Scanner(text, leaves, is_strict=True)
    try:
        scanner.scan(0, len(text))
    except RecursionError:
        return None
    scanner.finish()
    if leaves.is_malformed:
        return None
    for channel in leaves.channels.values():
        found += channel.leaves()
    return found


def looks_like_json(text: str) -> bool:
    """Say whether a text begins as documents do."""
    return text[:200].lstrip()[:1] in _OPENING if text[:1] in _SPACE else text[:1] in _OPENING


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
    if is_data:
        leaves.documents += 1
        leaves.put(_LINES, start, end)
    else:
        leaves.take(Leaf(start, end, "text"))


class _Scanner:
    """Reads JSON documents, one after the other, from stretches of a text."""

    def __init__(self, text: str, leaves: Leaves, *, is_strict: bool = False) -> None:
        """`is_strict`: stop where the text turns out to be no JSON."""
        self.text = text
        self.leaves = leaves
        self._is_strict = is_strict
        self._open: list[_Container] = []
        self._due = _START
        """With which letters the next token of a document can begin."""
        self._pieces: list[tuple[int, int, _Container, int, str | None]] = []
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
            # Two values with nothing between them, say, are no document, but may be parts of one thing.
            self.leaves.is_malformed |= (letter if letter in _MARKS else _SCALARS) not in self._due
            if letter in "{[":
                self._enter(letter, token.start())
            elif letter in "}]":
                self._leave(letter, token.end())
            elif letter == ",":
                self._next()
            elif letter == '"':
                self._string(token.start(), token.end())
            elif letter == ":":
                self._due = _VALUE
            else:
                self._scalar(token.start(), token.end())
            if self._is_strict and self.leaves.is_malformed:
                return

    def finish(self) -> None:
        """Say that the document is over, whether it is complete or not."""
        self._settle()
        self._open.clear()
        self._due = _START

    def _settle(self) -> None:
        """Give the pieces to their channels, now that all is known that tells one from another."""
        for start, end, container, path, name in self._pieces:
            self.leaves.put((path, self._channel(container)), start, end, name)
        self._pieces.clear()

    def _end_value(self) -> None:
        self._due = f",{self._open[-1].closer}" if self._open else "{["

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
        elif self._is_in_list:
            self.leaves.documents += 1  # a stream written as one list: each element is an event
        if len(self._open) > _DEEPEST:
            raise RecursionError("nested too deeply")
        is_object = letter == "{"
        parent = self._open[-1] if self._open else None
        path = self._path(parent) if parent else 0
        self._open.append(
            _Container("}" if is_object else "]", is_key_next=is_object, start=start, parent=parent, path=path)
        )
        self._due = '"}' if is_object else f"{_VALUE}]"

    def _leave(self, letter: str, end: int) -> None:
        if not self._open or self._open[-1].closer != letter:
            self.leaves.is_malformed = True
            return
        closed = self._open.pop()
        self._end_value()
        if self._open and self._open[-1].key in ECHOES:
            self.leaves.echoes.append((closed.start, end))
        if not self._open or self._is_in_list:
            self._settle()

    @property
    def _is_in_list(self) -> bool:
        return len(self._open) == 1 and self._open[0].closer == "]"

    def _next(self) -> None:
        self._due = _VALUE
        if self._open:
            container = self._open[-1]
            container.is_key_next = container.closer == "}"
            if container.is_key_next:
                container.key = None
                self._due = '"'

    def _string(self, start: int, end: int) -> None:
        is_closed = end - start > 1 and self.text[end - 1] == '"'
        start, last = start + 1, end - 1 if is_closed else end
        if not is_closed:
            self.leaves.is_malformed |= end < len(self.text)
        container = self._open[-1] if self._open else None
        if container is not None and container.is_key_next:
            container.is_key_next = False
            container.key = self._said(start, last)
            self._due = ":"
            self.leaves.take(Leaf(start, last, "string"))
            return
        self._end_value()
        name = container.key if container else None
        if container is not None and name in _APART:
            container.marks[name] = self._said(start, last)
        if start == last or _OPAQUE.fullmatch(self.text, start, last):
            return
        if container is None:
            self.leaves.documents += 1
            self.leaves.put(_STRINGS, start, last)
        elif name in _UNSPOKEN:
            self.leaves.take(Leaf(start, last, "string", name))
        else:
            self._pieces.append((start, last, container, self._path(container), name))

    def _said(self, start: int, end: int) -> str:
        raw = self.text[start:end]
        return raw if "\\" not in raw else Strand.document(raw).string(0, len(raw)).text

    def _scalar(self, start: int, end: int) -> None:
        self._end_value()
        if not _SCALAR.fullmatch(self.text, start, end):
            self.leaves.is_malformed = True
            return
        container = self._open[-1] if self._open else None
        name = container.key if container else None
        if container is not None and name in _APART:
            container.marks[name] = self.text[start:end]
        if _LONG_NUMBER.fullmatch(self.text, start, end):
            self.leaves.take(Leaf(start, end, "number", name))
