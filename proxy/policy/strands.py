r"""Strands: a text to look through, and where each of its characters stands in the document.

What a document says is hidden in what it is written as: `\u0040` is an @, `%40` is one, and a stream says one sentence
in forty events. A strand is the text as a reader would see it; whatever is found in it is known by its places in the
document, so that it can be cut out there and everything else stays as it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_PAIR: Final = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_JSON: Final = rf"\\(?:{_PAIR}|u[0-9a-fA-F]{{4}}|[\"\\/bfnrt])"
_JSON_ESCAPE: Final = re.compile(f"(?P<json>{_JSON})")
_LONGEST_ESCAPE: Final = 12
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


class Run(NamedTuple):
    """A stretch of a strand."""

    at: int
    """Where it begins in the strand."""
    length: int
    place: int
    """Where it begins in what the strand was made of."""
    width: int
    """Characters there; `length` when each stands for itself, else all of them stand for the whole."""


class Strand:
    """A text made of stretches of a document, or of another strand."""

    __slots__ = ("_source", "_starts", "runs", "text")

    def __init__(self, text: str, runs: list[Run], source: Strand | None = None) -> None:
        self.text = text
        self.runs = runs
        self._starts = [run.at for run in runs]
        self._source = source

    @classmethod
    def plain(cls, document: str, start: int, end: int) -> Strand:
        """Return a stretch of a document as it stands."""
        return cls(document[start:end], [Run(0, end - start, start, end - start)])

    @classmethod
    def joined(cls, strands: Iterable[Strand]) -> Strand:
        """Return strands that are made of a document as one."""
        runs: list[Run] = []
        texts: list[str] = []
        at = 0
        for strand in strands:
            runs.extend(run._replace(at=at + run.at) for run in strand.runs)
            texts.append(strand.text)
            at += len(strand.text)
        return cls("".join(texts), runs)

    def places(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the places of the document that say the characters from `start` to `end`."""
        for index in range(max(0, bisect_right(self._starts, start) - 1), len(self.runs)):
            run = self.runs[index]
            if run.at >= end:
                return
            if run.at + run.length <= start:
                continue
            if run.length == run.width:
                first, last = max(start, run.at) - run.at, min(end, run.at + run.length) - run.at
                found = (run.place + first, run.place + last)
            else:
                found = (run.place, run.place + run.width)
            if self._source is None:
                yield found
            else:
                yield from self._source.places(*found)

    def readings(self, depth: int = DEPTH) -> Iterator[Strand]:
        """Yield this strand, and what it says when its escapes are undone, again and again.

        All notations at once: one after the other, in every order, a hostile text would be read a hundred times.
        """
        yield self
        if depth and any(mark in self.text for mark in "\\%&"):
            undone = self._undone(_ANY_ESCAPE)
            if undone is not None:
                yield from undone.readings(depth - 1)

    def between(self, start: int, end: int) -> Strand:
        """Return a stretch of this strand, which is made of a document."""
        runs = []
        for run in self.runs:
            first, last = max(start, run.at), min(end, run.at + run.length)
            if first < last:
                is_plain = run.length == run.width
                place = run.place + first - run.at if is_plain else run.place
                runs.append(Run(first - start, last - first, place, last - first if is_plain else run.width))
        return Strand(self.text[start:end], runs)

    def named(self, name: str) -> Strand:
        """Return this strand with words before it that are not to be cut out."""
        return Strand(name + self.text, [run._replace(at=run.at + len(name)) for run in self.runs], self._source)

    def without_escapes(self) -> Strand:
        """Return what a string of JSON says; this strand is one stretch of a document."""
        undone = self._undone(_JSON_ESCAPE) if "\\" in self.text else None
        if undone is None:
            return self
        [stretch] = self.runs
        return Strand(undone.text, [run._replace(place=run.place + stretch.place) for run in undone.runs])

    def without_half_escapes(self, start: int, end: int) -> tuple[int, int]:
        """Return the stretch without an escape that begins before it or ends behind it: half of one cannot be cut out."""
        first, last = self._escape_around(start), self._escape_around(end)
        return first.end() if first else start, last.start() if last else end

    def _escape_around(self, at: int) -> re.Match[str] | None:
        start = self.text.rfind("\\", max(0, at - _LONGEST_ESCAPE + 1), at)
        if start < 0:
            return None
        first = start
        while first > 0 and self.text[first - 1] == "\\":
            first -= 1
        if (start - first) % 2:
            return None  # the second half of an escape itself
        match = _JSON_ESCAPE.match(self.text, start)
        return match if match and match.end() > at else None

    def _undone(self, pattern: re.Pattern[str]) -> Strand | None:
        runs: list[Run] = []
        texts: list[str] = []
        at = last = 0
        for match in pattern.finditer(self.text):
            said = _letter(match)
            if said is None:
                continue
            start, end = match.span()
            if start > last:
                runs.append(Run(at, start - last, last, start - last))
                texts.append(self.text[last:start])
                at += start - last
            if said:
                # One letter for several characters: a run of another length than its width, whatever the letter.
                runs.append(Run(at, len(said), start, end - start))
                texts.append(said)
                at += len(said)
            last = end
        if not texts and not last:
            return None
        if last < len(self.text):
            runs.append(Run(at, len(self.text) - last, last, len(self.text) - last))
            texts.append(self.text[last:])
        return Strand("".join(texts), runs, self)


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
    if len(escape) == _LONGEST_ESCAPE:
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
