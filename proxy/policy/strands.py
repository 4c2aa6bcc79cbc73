r"""Strands: a text to look through, and where each of its characters stands in the document.

What a document says is hidden in what it is written as: `\u0040` is an @, `%40` is one, and a stream says one sentence
in forty events. A strand is the text as a reader would see it; whatever is found in it is known by its places in the
document, so that it can be cut out there and everything else stays as it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

_JSON_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\"\\/bfnrt]))")
_SIMPLE: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PERCENT: Final = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY: Final = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}));|&(commat|period|colon|plus|hyphen|lowbar);")
_NAMED: Final = {"commat": "@", "period": ".", "colon": ":", "plus": "+", "hyphen": "-", "lowbar": "_"}
_Letter = Callable[[re.Match[str]], str | None]
"""Returns what an escape says. None: nothing that could be read."""
DEPTH: Final = 4
"""How often one notation is undone inside another: JSON in a string in a string in a string."""


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
        """Yield this strand, and what it says when its escapes are undone, again and again."""
        yield self
        if depth:
            for pattern, read, mark in _NOTATIONS:
                if mark in self.text:
                    undone = self._undone(pattern, read)
                    if undone is not None:
                        yield from undone.readings(depth - 1)

    def without_escapes(self) -> Strand:
        """Return what a string of JSON says; this strand is one stretch of a document."""
        undone = self._undone(_JSON_ESCAPE, _json_letter) if "\\" in self.text else None
        if undone is None:
            return self
        [stretch] = self.runs
        return Strand(undone.text, [run._replace(place=run.place + stretch.place) for run in undone.runs])

    def step_over_escape(self, start: int) -> int:
        """Return where the letters go on when `start` is inside an escape: half of one must not be cut out."""
        slashes = start - len(self.text[:start].rstrip("\\")) if start and self.text[start - 1] == "\\" else 0
        match = _JSON_ESCAPE.match(self.text, start - 1) if slashes % 2 else None
        return match.end() if match else start

    def _undone(self, pattern: re.Pattern[str], read: _Letter) -> Strand | None:
        runs: list[Run] = []
        texts: list[str] = []
        at = last = 0
        for match in pattern.finditer(self.text):
            said = read(match)
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


def _json_letter(match: re.Match[str]) -> str | None:
    return chr(int(match[1], 16)) if match[1] else _SIMPLE[match[2]]


def _percent_letter(match: re.Match[str]) -> str | None:
    try:
        return bytes.fromhex(match[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return None


def _entity_letter(match: re.Match[str]) -> str | None:
    if match[3]:
        return _NAMED[match[3]]
    code = int(match[1], 16) if match[1] else int(match[2])
    return chr(code) if 0 < code < 0x110000 else None


_NOTATIONS: Final[tuple[tuple[re.Pattern[str], _Letter, str], ...]] = (
    (_JSON_ESCAPE, _json_letter, "\\"),
    (_PERCENT, _percent_letter, "%"),
    (_ENTITY, _entity_letter, "&"),
)
"""Ways to write a letter: how it looks, what it says, and the character without which there is none."""
