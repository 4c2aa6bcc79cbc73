"""Redaction: a document with personal data and secrets replaced by what they were.

`Redactor.redact` takes the text of a body, whatever it is (JSON, a stream of events, lines of JSON, a form, prose), and
returns it with every find replaced by `[EMAIL]` and the like. Only what was found changes: everything else stays byte
for byte, and JSON stays JSON. A find that a stream says in pieces is taken out of all of them.

Nothing here fails open: a pattern that takes too long raises RedactionError, and the caller then stores nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.config import Pattern
from proxy.errors import OurError
from proxy.policy.detectors import BUILT_IN, Detector, Span, announced_by
from proxy.policy.leaves import Leaf, read_leaves
from proxy.policy.strands import Strand

if TYPE_CHECKING:
    from proxy.config import Record as RecordPolicy

__all__ = ["Redacted", "RedactionError", "Redactor"]

_SEPARATOR: Final = "\0"
"""Between strands that are looked through together; no built-in pattern matches it."""
_PATIENCE_S: Final = 0.25
"""A pattern of the operator's gets this long for a text, and as much again for each megabyte of it."""
_MEGABYTE: Final = 1 << 20
_MOST_BYTES: Final = 64 * _MEGABYTE
_DIGEST_LETTERS: Final = 12


class RedactionError(OurError):
    """A text could not be looked through to its end."""


class Find(NamedTuple):
    """One thing found in a strand."""

    start: int
    end: int
    label: str
    text: str


class Edit(NamedTuple):
    """One stretch of a document that is replaced."""

    start: int
    end: int
    text: str
    length: int
    """Letters of the whole find, of which this may be a piece; of finds that overlap the longest gives its name."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A document without what was found."""

    text: str
    is_changed: bool
    pseudonyms: tuple[tuple[str, str], ...] = ()
    """What stands in the text, and what stood there; only when it may be looked up again."""


class Redactor:
    """Replaces what the configuration names."""

    def __init__(self, policy: RecordPolicy, secret: bytes) -> None:
        """`secret` keys the pseudonyms: without it nobody can find out by trying what one stands for."""
        names = dict.fromkeys(BUILT_IN[rule] for rule in policy.redact if isinstance(rule, str))
        self._detectors: list[tuple[str, Detector]] = list(names)
        self._detectors += [(rule.name.upper(), _custom(rule)) for rule in policy.redact if isinstance(rule, Pattern)]
        self._secret = hmac.digest(secret, b"glassline pseudonym", "sha256")
        self._has_pseudonyms = policy.reidentify

    @property
    def is_on(self) -> bool:
        """Say whether anything is looked for."""
        return bool(self._detectors)

    def redact(self, document: str, *, is_stream: bool = False, is_in_pieces: bool = True) -> Redacted:
        """Return the text of a body with every find replaced. Raises RedactionError.

        `is_in_pieces`: where it is several documents, they go on in one another; those of a file of requests do not.
        """
        try:
            leaves = read_leaves(document, is_stream=is_stream)
        except RecursionError as error:
            raise RedactionError(str(error)) from error
        channels = leaves.channels() if is_in_pieces else []
        numbers = [leaf for leaf in leaves.found if leaf.is_number]
        strands = [_named(leaf) for leaf in leaves.found if not leaf.is_number] + channels
        edits: list[Edit] = []
        pseudonyms: dict[str, str] = {}
        for strand, find in self._finds(strands):
            name = self._name(find, pseudonyms, is_keyed=self._has_pseudonyms)
            edits += _edits(strand, find, name)
        edits += self._number_edits(numbers, pseudonyms)
        if not edits:
            return Redacted(document, is_changed=False)
        edits += [Edit(start, end, "null", end - start) for start, end in leaves.echoes]
        return Redacted(_edited(document, edits), is_changed=True, pseudonyms=tuple(pseudonyms.items()))

    def redact_text(self, text: str) -> Redacted:
        """Do the same with a text that is no document: a message, a header's value, a path."""
        return self._redact_strand(text, is_keyed=self._has_pseudonyms)

    def redact_identity(self, text: str) -> Redacted:
        """Do the same with the name of a user or a session.

        Each gets a name of its own, so that they can be told apart and added up; it says nothing about whose it is.
        """
        return self._redact_strand(text, is_keyed=True)

    def _redact_strand(self, text: str, *, is_keyed: bool) -> Redacted:
        edits: list[Edit] = []
        pseudonyms: dict[str, str] = {}
        for strand, find in self._finds([Strand.plain(text, 0, len(text))]):
            name = self._name(find, pseudonyms, is_keyed=is_keyed)
            edits += _edits(strand, find, name)
        if not edits:
            return Redacted(text, is_changed=False)
        kept = pseudonyms if self._has_pseudonyms else {}
        return Redacted(_edited(text, edits), is_changed=True, pseudonyms=tuple(kept.items()))

    def _number_edits(self, numbers: Sequence[Leaf], pseudonyms: dict[str, str]) -> Iterator[Edit]:
        for strand, find in self._finds([_named(leaf) for leaf in numbers]):
            name = self._name(find, pseudonyms, is_keyed=self._has_pseudonyms)
            yield from _edits(strand, Find(0, len(strand.text), find.label, find.text), f'"{name}"')

    def _name(self, find: Find, pseudonyms: dict[str, str], *, is_keyed: bool) -> str:
        if not is_keyed:
            return f"[{find.label}]"
        said = " ".join(find.text.split()).casefold().encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._secret, find.label.encode() + b"\0" + said, "sha256").hex()[:_DIGEST_LETTERS]
        name = f"[{find.label}:{digest}]"
        pseudonyms[name] = find.text
        return name

    def _finds(self, strands: Iterable[Strand]) -> Iterator[tuple[Strand, Find]]:
        """Yield everything found in the strands and in what they say without their escapes, each with its strand."""
        readings: list[Strand] = []
        length = 0
        for reading in (reading for strand in strands if strand.text for reading in strand.readings()):
            readings.append(reading)
            length += len(reading.text) + 1
            if length > _MOST_BYTES:
                raise RedactionError("the text is too long to be looked through")
        text = _SEPARATOR.join(reading.text for reading in readings)
        ends: list[int] = []
        at = 0
        for reading in readings:
            at += len(reading.text) + 1
            ends.append(at)
        for label, detector in self._detectors:
            yield from _placed(sorted(detector(text)), label, readings, ends)


def _named(leaf: Leaf) -> Strand:
    announcement = announced_by(leaf.name) if leaf.name else ""
    return leaf.strand.named(announcement) if announcement else leaf.strand


def _placed(
    spans: Sequence[Span], label: str, readings: Sequence[Strand], ends: Sequence[int]
) -> Iterator[tuple[Strand, Find]]:
    """Yield the finds of a text that is made of readings, each in its reading; one across two of them is cut."""
    index = 0
    for start, end in spans:
        while index < len(ends) and ends[index] <= start:
            index += 1
        at = index
        while at < len(ends) and start < end:
            reading, first = readings[at], ends[at] - 1 - len(readings[at].text)
            inner_start, inner_end = max(start - first, 0), min(end - first, len(reading.text))
            inner_start, inner_end = reading.without_half_escapes(inner_start, inner_end)
            if inner_start < inner_end:
                yield reading, Find(inner_start, inner_end, label, reading.text[inner_start:inner_end])
            start = ends[at]
            at += 1


def _edits(strand: Strand, find: Find, name: str) -> Iterator[Edit]:
    """Yield what becomes of the places of a find: the first is replaced by its name, the others vanish."""
    for start, end in strand.places(find.start, find.end):
        yield Edit(start, end, name, find.end - find.start)
        name = ""


def _edited(text: str, edits: Iterable[Edit]) -> str:
    """Carry out edits; of those that overlap, the whole stretch is replaced by the name of the longest."""
    parts: list[str] = []
    at = 0
    for start, end, name in _merged(sorted(set(edits))):
        parts += (text[at:start], name)
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _merged(edits: Sequence[Edit]) -> Iterator[tuple[int, int, str]]:
    group: list[Edit] = []
    reach = -1
    for edit in edits:
        if edit.start >= reach and group:
            yield _union(group, reach)
            group = []
        reach = edit.end if not group else max(reach, edit.end)
        group.append(edit)
    if group:
        yield _union(group, reach)


def _union(group: Sequence[Edit], reach: int) -> tuple[int, int, str]:
    return group[0].start, reach, max(group, key=lambda edit: (edit.length, edit.text)).text


def _custom(rule: Pattern) -> Detector:
    # Imported late: only those with patterns of their own need an engine that can be stopped.
    import regex  # type: ignore[import-untyped]  # its stubs are a package of their own

    compiled: Any = regex.compile(rule.pattern, regex.MULTILINE)

    def find(text: str) -> Iterator[Span]:
        try:
            # Line ends, so that `^` and `$` are the ends of each of the texts that are looked through together.
            for match in compiled.finditer(
                text.replace(_SEPARATOR, "\n"), timeout=_PATIENCE_S * (1 + len(text) / _MEGABYTE)
            ):
                if match.end() > match.start():
                    yield match.span()
        except TimeoutError as error:
            raise RedactionError(f"the pattern {rule.name} takes too long") from error

    return find
