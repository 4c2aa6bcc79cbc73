r"""Strands: a text to look through, and where each of its characters stands in the document.

What a document says is hidden in what it is written as: `\u0040` is an @, `%40` is one, and a stream says one sentence
in forty events. A strand is the text as a reader would see it; whatever is found in it is known by its places in the
document, so that it can be cut out there and everything else stays as it was.

A strand is made of runs, one after the other. A run either stands for as many characters of the source, or is one
character that an escape stands for.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_PAIR: Final = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_JSON: Final = rf"\\(?:{_PAIR}|u[0-9a-fA-F]{{4}}|[\"\\/bfnrt])"
_JSON_ESCAPE: Final = re.compile(f"(?P<json>{_JSON})")
_PAIR_LETTERS: Final = 12
_SIMPLE: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NEXT: Final = "%[89abAB][0-9a-fA-F]"
_PERCENT: Final = (
    f"%(?:[0-7][0-9a-fA-F]|[cdCD][0-9a-fA-F]{_NEXT}|[eE][0-9a-fA-F](?:{_NEXT}){{2}}|[fF][0-4](?:{_NEXT}){{3}})"
)
_NAMED: Final = {"amp": "&", "commat": "@", "period": ".", "colon": ":", "plus": "+", "hyphen": "-", "lowbar": "_"}
_ENTITY: Final = rf"&(?:#[xX][0-9a-fA-F]{{1,6}}|#[0-9]{{1,7}}|{'|'.join(_NAMED)});"
_ANY_ESCAPE: Final = re.compile(f"(?P<json>{_JSON})|(?P<percent>{_PERCENT})|(?P<entity>{_ENTITY})")
"""Each of one character, so that nothing beside a find is cut out with it."""
DEPTH: Final = 4
"""How often escapes are undone inside escapes: JSON in a string in a string in a string."""
_NUMBERS: Final = "I"
"""Four bytes for each place of a run: no document is longer than what is looked through."""


class Strand:
    """A text made of stretches of another one, its source; without a source it is the document."""

    __slots__ = ("_ats", "_places", "_widths", "level", "source", "text")

    def __init__(
        self,
        text: str,
        ats: Sequence[int],
        places: Sequence[int],
        widths: Sequence[int],
        source: Strand | None,
        level: int,
    ) -> None:
        self.text = text
        self.source = source
        self.level = level
        """In how many strings of JSON it stands: so often a quote in it has to be escaped."""
        self._ats = ats
        self._places = places
        self._widths = widths

    @classmethod
    def document(cls, text: str) -> Strand:
        """Return a document as it stands."""
        return cls(text, (0,), (0,), (len(text),), None, 0)

    def part(self, start: int, end: int) -> Strand:
        """Return a stretch of this strand as it stands."""
        return Strand(self.text[start:end], (0,), (start,), (end - start,), self, self.level)

    def string(self, start: int, end: int) -> Strand:
        """Return what a string of JSON says that stands between the quotes at these places."""
        raw = self.text[start:end]
        if "\\" not in raw:
            return Strand(raw, (0,), (start,), (end - start,), self, self.level + 1)
        return self.joined([(start, end)], is_json=True)

    def joined(self, spans: Iterable[tuple[int, int]], *, is_json: bool) -> Strand:
        """Return stretches as one text; `is_json`: what the strings of JSON say that stand there."""
        runs = _Runs()
        for start, end in spans:
            raw = self.text[start:end]
            if is_json and "\\" in raw:
                runs.add_undone(raw, start, _JSON_ESCAPE)
            elif raw:
                runs.add(raw, start, end - start)
        return runs.strand(self, self.level + is_json)

    def undone(self) -> Strand | None:
        """Return what this strand says without its escapes, of whatever notation. None: it has none.

        All notations at once: one after the other, in every order, a hostile text would be read a hundred times.
        """
        if not any(mark in self.text for mark in "\\%&") or not _ANY_ESCAPE.search(self.text):
            return None
        runs = _Runs()
        runs.add_undone(self.text, 0, _ANY_ESCAPE)
        return runs.strand(self, self.level)

    def places(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the places of the document that say the characters from `start` to `end`."""
        if self.source is None:
            yield start, end
            return
        for index in range(max(0, bisect_right(self._ats, start) - 1), len(self._ats)):
            at, place, width = self._ats[index], self._places[index], self._widths[index]
            if at >= end:
                return
            if self._is_escape(index):
                yield from self.source.places(place, place + width)
            else:
                yield from self.source.places(place + max(start - at, 0), place + min(end - at, width))

    def shrink(self, start: int, end: int) -> tuple[int, int]:
        """Return the stretch that says a stretch of the source, whose escapes this strand says undone.

        An escape of JSON that begins before the stretch or ends behind it is left outside, for half of one cannot be
        cut out; other escapes are taken in.
        """
        return self._boundary(start, is_end=False), self._boundary(end, is_end=True)

    def origin(self, at: int) -> int:
        """Return where in the source a character of this strand begins, which says all of the source."""
        index = max(0, bisect_right(self._ats, at) - 1)
        offset = at - self._ats[index]
        if self._is_escape(index):
            return self._places[index] + (self._widths[index] if offset else 0)
        return self._places[index] + offset

    def _boundary(self, place: int, *, is_end: bool) -> int:
        index = max(0, bisect_right(self._places, place) - 1)
        offset = place - self._places[index]
        if not self._is_escape(index):
            return self._ats[index] + offset
        if offset in (0, self._widths[index]):
            return self._ats[index] + bool(offset)
        is_json = self.source is not None and self.source.text[self._places[index]] == "\\"
        return self._ats[index] + (is_json is not is_end)

    def _is_escape(self, index: int) -> bool:
        following = self._ats[index + 1] if index + 1 < len(self._ats) else len(self.text)
        return self._widths[index] != following - self._ats[index]


class _Runs:
    """A strand in the making."""

    __slots__ = ("ats", "length", "places", "texts", "widths")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.ats, self.places, self.widths = array(_NUMBERS), array(_NUMBERS), array(_NUMBERS)
        self.length = 0

    def add(self, text: str, place: int, width: int) -> None:
        self.texts.append(text)
        self.ats.append(self.length)
        self.places.append(place)
        self.widths.append(width)
        self.length += len(text)

    def add_undone(self, raw: str, place: int, pattern: re.Pattern[str]) -> None:
        last = 0
        for match in pattern.finditer(raw):
            said = _letter(match)
            if said is None:
                continue
            start, end = match.span()
            if start > last:
                self.add(raw[last:start], place + last, start - last)
            self.add(said, place + start, end - start)
            last = end
        if last < len(raw):
            self.add(raw[last:], place + last, len(raw) - last)

    def strand(self, source: Strand, level: int) -> Strand:
        if not self.ats:
            return Strand("", (0,), (0,), (0,), source, level)
        return Strand("".join(self.texts), self.ats, self.places, self.widths, source, level)


def _letter(match: re.Match[str]) -> str | None:
    """Return what an escape says. None: nothing that could be read."""
    escape = match[0]
    if match.lastgroup == "percent":
        return _percent_letter(escape)
    if match.lastgroup == "entity":
        return _entity_letter(escape[1:-1])
    if escape[1] != "u":
        return _SIMPLE[escape[1]]
    code = int(escape[2:6], 16)
    if len(escape) == _PAIR_LETTERS:
        code = 0x10000 + ((code - 0xD800) << 10) + int(escape[8:], 16) - 0xDC00
    return chr(code)


def _percent_letter(escape: str) -> str | None:
    try:
        return bytes.fromhex(escape.replace("%", "")).decode()
    except UnicodeDecodeError:
        return None


def _entity_letter(name: str) -> str | None:
    if name in _NAMED:
        return _NAMED[name]
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0 < code < 0x110000 else None
