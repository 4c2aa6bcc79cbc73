"""JSON into typed structs: strict and fast for what is well formed, field by field for what is not.

The fast way is one msgspec decode. When it fails, because a field has an odd type, a string holds half a surrogate
pair, the text breaks off or is not UTF-8, the text is cut at its members by a scanner that neither recurses nor looks
back, and every member is decoded on its own. So one odd field never loses the others, and no text takes more than
linear time for each level of the schema. What was lost is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Any, Final, Generic, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
_TOKEN: Final = re.compile(_STRING + rb'|["{}\[\],:]', re.DOTALL)
_BRACKETS: Final = re.compile(rb'[^"{}\[\]]*+(?:' + _STRING + rb'[^"{}\[\]]*+)*+([\[{]++|[\]}]++|")', re.DOTALL)
"""The next run of brackets that open or close, past everything else; or the quote of a string that has no end."""
_COLON: Final = re.compile(rb"\s*:")
_TEXT: Final = re.compile(r'"((?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])*+)')
_SPACE: Final = b" \t\r\n"
_FIRST: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+(.)", re.DOTALL)
_MAX_LEVELS: Final = 8
"""Levels of objects and arrays read leniently, each of which costs a scan: as many as the schemas here need."""

_MAX_MEMBERS: Final = 100_000
"""Members of one object or array that are looked at: far more than any real one has, and about a second of work."""


class Member(NamedTuple):
    """A piece of JSON text inside an object or array."""

    key: str
    """'' inside an array."""
    text: bytes
    is_whole: bool
    """False: the text breaks off inside this member."""


class LenientDecoder(Generic[T]):
    """Decode JSON objects into one struct type, all of whose fields have defaults."""

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._strict = msgspec.json.Decoder(type_)

    def decode(self, text: bytes, lost: set[str]) -> T:
        """Return the struct; add to `lost` the path of each unreadable field, or `json` for a broken text."""
        try:
            return self._strict.decode(text)
        # Whatever the strict way dislikes, recursion included, the lenient way must get a chance to read.
        except Exception:  # noqa: BLE001
            found, is_complete = members(text)
            if not is_complete or _opening(text) != b"{":
                lost.add("json")
            return self.from_members(found, lost)

    def from_members(self, found: list[Member], lost: set[str]) -> T:
        """Return the struct made of these members of an object."""
        return _fill(self._type, found, lost, "", 0)


def members(text: bytes) -> tuple[list[Member], bool]:
    """Cut the text of an object or array at its members; say whether it was complete.

    A text that breaks off yields what stands before the break, its last member marked. One with absurdly many members
    yields the first of them.
    """
    opening = _opening(text)
    if opening not in (b"{", b"["):
        return [], False
    found: list[Member] = []
    is_complete = False
    for member in _scan(text, text.index(opening) + 1, is_object=opening == b"{"):
        if member is None:
            is_complete = True
        elif len(found) == _MAX_MEMBERS:
            break
        else:
            found.append(member)
    return found, is_complete


def last_member(text: bytes, key: bytes) -> Member | None:
    """Return the last whole member with that key in a text that lacks its beginning; None: there is none."""
    at = len(text)
    while (at := text.rfind(b'"' + key + b'"', 0, at)) >= 0:
        # A quote inside a string has a backslash before it, so these are the quotes of a real string.
        colon = _COLON.match(text, at + len(key) + 2)
        if colon and text[at - 1 : at] != b"\\":
            member = next(_scan(text, colon.end(), is_object=False), None)
            return Member(key.decode(), member.text, True) if member and member.is_whole else None
    return None


def loose_text(text: bytes) -> str:
    """Read a JSON string that is cut off, holds control characters or is not UTF-8. May hold lone surrogates."""
    match = _TEXT.match(text.decode("utf-8", "replace"))
    if match is None:
        return ""
    return str(json.loads(f'"{match[1]}"', strict=False)) if "\\" in match[1] else match[1]


def _opening(text: bytes) -> bytes:
    """Return the first byte that is neither space nor part of a BOM."""
    start = _FIRST.match(text)
    return start[1] if start else b""


def _scan(text: bytes, position: int, *, is_object: bool) -> Iterator[Member | None]:
    """Yield the members from `position` on, and None when the end of their container is found."""
    begin, key, has_key = position, "", not is_object
    while match := _TOKEN.search(text, position):
        token, position = match[0], match.end()
        if token in (b"{", b"["):
            position = closing_bracket(text, position)
            if position < 0:
                break
        elif token in (b"}", b"]"):
            yield from _member(key, text[begin : match.start()], has_key, True)
            yield None
            return
        elif token == b",":
            yield from _member(key, text[begin : match.start()], has_key, True)
            begin, has_key = position, not is_object
        elif token == b":":
            if not has_key:
                begin, has_key = position, True
        elif token == b'"':  # it has no end
            break
        elif not has_key:
            key = loose_text(token)
    rest = text[begin:].strip(_SPACE)
    # Whole if it ends where it should, although its container does not; of a number nobody can tell.
    yield from _member(key, rest, has_key, match is None and rest[:1] in (b"{", b"[", b'"'))


def closing_bracket(text: bytes, position: int) -> int:
    """Return the offset after the bracket that closes the one before `position`; -1: there is none."""
    depth = 1
    while match := _BRACKETS.match(text, position):
        run, position = match[1], match.end()
        if run[:1] in (b"{", b"["):
            depth += len(run)
        elif run == b'"':
            break
        elif len(run) >= depth:
            return match.start(1) + depth
        else:
            depth -= len(run)
    return -1


def _member(key: str, text: bytes, has_key: bool, is_whole: bool) -> Iterator[Member]:
    text = text.strip(_SPACE)
    if has_key and text:
        yield Member(key, text, is_whole)


_LOST: Final = object()


class _Shape:
    """What may stand in a field, by its annotation."""

    def __init__(self, annotation: Any) -> None:
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation)
        self.is_raw = annotation is msgspec.Raw
        self.is_text = False
        self.struct: type[msgspec.Struct] | None = None
        self.item: _Shape | None = None
        for part in _alternatives(annotation):
            if part is str:
                self.is_text = True
            elif isinstance(part, type) and issubclass(part, msgspec.Struct):
                self.struct = part
            elif get_origin(part) is list:
                self.item = _shape(get_args(part)[0])

    def read(self, member: Member, lost: set[str], path: str, level: int) -> Any:
        text = member.text
        if self.is_raw:
            return msgspec.Raw(text) if member.is_whole else _LOST
        if member.is_whole:
            try:
                return self.decoder.decode(text)
            # The next lines are the answer to whatever went wrong here.
            except Exception:  # noqa: BLE001, S110
                pass
        first = text[:1]
        if level < _MAX_LEVELS and ((first == b"{" and self.struct) or (first == b"[" and self.item)):
            return self._read_inside(member, lost, path, level + 1)
        if first == b'"' and self.is_text:
            return loose_text(text)
        lost.add(path)
        return _LOST

    def _read_inside(self, member: Member, lost: set[str], path: str, level: int) -> Any:
        found, is_complete = members(member.text)
        if member.is_whole and not is_complete:
            lost.add(path)
        if self.struct and member.text[:1] == b"{":
            return _fill(self.struct, found, lost, f"{path}.", level)
        values = [self.item.read(inner, lost, path, level) for inner in found] if self.item else []
        return [value for value in values if value is not _LOST]


def _fill(type_: type[T], found: list[Member], lost: set[str], path: str, level: int) -> T:
    shapes = _shapes(type_)
    values: dict[str, Any] = {}
    for member in found:
        if member.key in shapes:
            name, shape = shapes[member.key]
            value = shape.read(member, lost, path + member.key, level)
            if value is not _LOST:
                values[name] = value
    return type_(**values)


@cache
def _shapes(type_: type[msgspec.Struct]) -> dict[str, tuple[str, _Shape]]:
    hints = get_type_hints(type_, include_extras=True)
    return {field.encode_name: (field.name, _shape(hints[field.name])) for field in msgspec.structs.fields(type_)}


@cache
def _shape(annotation: Any) -> _Shape:
    return _Shape(annotation)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
