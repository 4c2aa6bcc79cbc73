"""Redaction: a document with personal data and secrets replaced by what they were.

`Redactor.redact` takes the text of a body, whatever it is (JSON, a stream of events, lines of JSON, a form, prose), and
returns it with every find replaced by `[EMAIL]` and the like. Only what was found changes: everything else stays byte
for byte, and JSON stays JSON, also inside the strings of JSON. A find that a stream says in pieces is taken out of all of them.

Nothing here fails open: a pattern that takes too long raises RedactionError, and the caller then stores nothing.
"""

from __future__ import annotations

import hmac
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.config import Pattern
from proxy.errors import OurError
from proxy.policy.detectors import BUILT_IN, Detector, Span, announced_by
from proxy.policy.leaves import Channel, Leaf, nested_leaves, read_leaves
from proxy.policy.strands import DEPTH, Strand

if TYPE_CHECKING:
    from proxy.config import Record as RecordPolicy

__all__ = ["Redacted", "RedactionError", "Redactor"]

_SEPARATOR: Final = "\0"
"""Between strands that are looked through together; no built-in pattern matches it."""
_PATIENCE_S: Final = 0.25
"""A pattern of the operator's gets this long for a text, and as much again for each megabyte of it."""
_MEGABYTE: Final = 1 << 20
_MOST_LETTERS: Final = 64 * _MEGABYTE
_DIGEST_LETTERS: Final = 12
_BATCH_LETTERS: Final = 256 * 1024
"""So much text is looked through at a time."""
_FIRST_BATCH: Final = 64
_BATCH: Final = 4096
"""Texts that are looked through at a time, first and later: those that every event of a stream repeats are soon known."""
_KNOWN: Final = 4096
_KNOWN_LETTERS: Final = 200
"""Of how many texts of which length what was found is remembered for the time of one document."""
_WHOLE: Final = 1 << 62
"""Longer than any find."""


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
        self._clean: set[str] = set()
        """Short texts in which nothing is found: most headers of a caller are those of the request before."""

    @property
    def is_on(self) -> bool:
        """Say whether anything is looked for."""
        return bool(self._detectors)

    def redact(self, document: str, *, is_stream: bool = False, is_in_pieces: bool = True) -> Redacted:
        """Return the text of a body with every find replaced. Raises RedactionError.

        `is_in_pieces`: where it is several documents, they go on in one another; those of a file of requests do not.
        """
        search = _Search(self, document, is_keyed=self._has_pseudonyms)
        try:
            leaves = read_leaves(document, search.take, is_stream=is_stream)
        except RecursionError as error:
            raise RedactionError(str(error)) from error
        for channel in leaves.channels.values():
            if is_in_pieces and leaves.documents > 1 and len(channel.starts) > 1:
                search.take_pieces(channel)
            else:
                for leaf in channel.leaves():
                    search.take(leaf)
        edits = search.edits()
        if not edits:
            return Redacted(document, is_changed=False)
        edits += [Edit(start, end, "null", _WHOLE) for start, end in leaves.echoes]
        return Redacted(_edited(document, edits), is_changed=True, pseudonyms=tuple(search.pseudonyms.items()))

    def redact_text(self, text: str) -> Redacted:
        """Do the same with a text that is no document: a message, a header's value, a path."""
        if text in self._clean:
            return Redacted(text, is_changed=False)
        redacted = self._redact_plain(text, is_keyed=self._has_pseudonyms)
        if not redacted.is_changed and len(text) <= _KNOWN_LETTERS:
            if len(self._clean) >= _KNOWN:
                self._clean.clear()
            self._clean.add(text)
        return redacted

    def redact_identity(self, text: str) -> Redacted:
        """Do the same with the name of a user or a session.

        Each gets a name of its own, so that they can be told apart and added up; it says nothing about whose it is.
        """
        return self._redact_plain(text, is_keyed=True)

    def _redact_plain(self, text: str, *, is_keyed: bool) -> Redacted:
        search = _Search(self, text, is_keyed=is_keyed)
        search.take(Leaf(0, len(text), "text"))
        edits = search.edits()
        if not edits:
            return Redacted(text, is_changed=False)
        kept = search.pseudonyms if self._has_pseudonyms else {}
        return Redacted(_edited(text, edits), is_changed=True, pseudonyms=tuple(kept.items()))

    def pseudonym(self, label: str, text: str) -> str:
        """Return the name that is the same for the same thing."""
        said = " ".join(text.split()).casefold().encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._secret, label.encode() + b"\0" + said, "sha256").hex()[:_DIGEST_LETTERS]
        return f"[{label}:{digest}]"

    def finds(self, texts: Sequence[str]) -> Iterator[tuple[int, int, int, str]]:
        """Yield everything found in texts: the number of the text, where in it, and the label.

        They are looked through as one; of a find that reaches over several, each gets its part.
        """
        text = _SEPARATOR.join(texts)
        starts: list[int] = []
        at = 0
        for each in texts:
            starts.append(at)
            at += len(each) + 1
        for label, detector in self._detectors:
            for start, end in detector(text):
                index = bisect_right(starts, start) - 1
                while index < len(starts) and starts[index] < end:
                    first, last = max(start - starts[index], 0), min(end - starts[index], len(texts[index]))
                    if first < last:
                        yield index, first, last, label
                    index += 1


class _Search:
    """Looks through one document."""

    def __init__(self, redactor: Redactor, document: str, *, is_keyed: bool) -> None:
        self.pseudonyms: dict[str, str] = {}
        self._redactor = redactor
        self._is_keyed = is_keyed
        self._document = Strand.document(document)
        self._edits: list[Edit] = []
        self._batch: dict[tuple[str, str, str], array[int]] = {}
        """What is to be looked through next, by kind, announcement and text, and where in the document it begins."""
        self._batch_letters = 0
        self._batch_size = _FIRST_BATCH
        self._known: dict[tuple[str, str, str], list[Edit]] = {}
        """What becomes of texts that were looked through, as if each were the document."""
        self._letters = 0

    def take(self, leaf: Leaf) -> None:
        """Take a leaf that stands alone."""
        announcement = announced_by(leaf.name) if leaf.name else ""
        raw = self._document.text[leaf.start : leaf.end]
        text = (leaf.kind, announcement, raw)
        if (known := self._known.get(text)) is not None:
            self._apply(known, leaf.start)
        elif text in self._batch:
            self._batch[text].append(leaf.start)
        elif raw:
            self._batch[text] = array("I", (leaf.start,))
            self._batch_letters += len(raw)
            if self._batch_letters >= _BATCH_LETTERS or len(self._batch) >= self._batch_size:
                self._flush()

    def take_pieces(self, channel: Channel) -> None:
        """Take what a stream says in pieces: as one text, and if that is no document, as many texts as well."""
        whole = self._document.joined(channel.spans(), is_json=channel.is_json)
        if (nested := _nested(whole)) is not None:
            for edits in self._look_through(nested):
                self._edits += edits
            return
        text = _Text(whole)
        self._find([text])
        announcement = announced_by(channel.name) if channel.name else ""
        pieces = _pieces(self._document, channel)
        while batch := [(start, _Text(whole.part(start, end), announcement)) for start, end in islice(pieces, _BATCH)]:
            self._find([piece for _, piece in batch])
            for first, piece in batch:
                for find in piece.finds:
                    text.note(find.start + first, find.end + first, find.label)
        self._edits += self._edits_of(text)

    def edits(self) -> list[Edit]:
        """Return what is to be done with the document."""
        self._flush()
        return self._edits

    def _flush(self) -> None:
        batch, self._batch, self._batch_letters, self._batch_size = self._batch, {}, 0, _BATCH
        texts = [_texts(kind, announcement, raw) for kind, announcement, raw in batch]
        found = self._look_through([text for each in texts for text in each])
        for (leaf, starts), parts in zip(batch.items(), texts, strict=True):
            edits = [edit for each in islice(found, len(parts)) for edit in each]
            for start in starts:
                self._apply(edits, start)
            if len(leaf[-1]) <= _KNOWN_LETTERS and len(self._known) < _KNOWN:
                self._known[leaf] = edits

    def _apply(self, edits: Iterable[Edit], start: int) -> None:
        self._edits += [edit._replace(start=edit.start + start, end=edit.end + start) for edit in edits]

    def _look_through(self, texts: Sequence[_Text]) -> Iterator[list[Edit]]:
        """Yield what becomes of each of the texts."""
        self._find(texts)
        for text in texts:
            yield self._edits_of(text)

    def _find(self, texts: Sequence[_Text]) -> None:
        readings = [(text, depth) for text in texts for depth in range(len(text.readings))]
        said = [text.announcement + text.readings[depth].text for text, depth in readings]
        self._letters += sum(map(len, said))
        if self._letters > _MOST_LETTERS:
            raise RedactionError("the text is too long to be looked through")
        for index, start, end, label in self._redactor.finds(said):
            text, depth = readings[index]
            text.note(start - len(text.announcement), end - len(text.announcement), label, depth)

    def _edits_of(self, text: _Text) -> list[Edit]:
        edits: list[Edit] = []
        for find in _merged(text.finds):
            name = self._name(find)
            start, end = find.start, find.end
            if text.is_number:
                start, end, name = 0, len(text.strand.text), _quoted(name, text.strand.level)
            for place_start, place_end in text.strand.places(start, end):
                edits.append(Edit(place_start, place_end, name, find.end - find.start))
                name = ""
        return edits

    def _name(self, find: Find) -> str:
        if not self._is_keyed:
            return f"[{find.label}]"
        name = self._redactor.pseudonym(find.label, find.text)
        self.pseudonyms[name] = find.text.encode("utf-8", "replace").decode()
        return name


class _Text:
    """A text to be looked through, in all its readings, and what was found in it."""

    __slots__ = ("announcement", "finds", "is_number", "readings", "strand")

    def __init__(self, strand: Strand, announcement: str = "", *, is_number: bool = False) -> None:
        self.strand = strand
        self.announcement = announcement
        """Words before it that are not to be cut out."""
        self.is_number = is_number
        self.readings = [strand]
        """The strand, and what it says when its escapes are undone, again and again."""
        while len(self.readings) <= DEPTH and (undone := self.readings[-1].undone()) is not None:
            self.readings.append(undone)
        self.finds: list[Find] = []
        """By their places in the strand."""

    def note(self, start: int, end: int, label: str, depth: int = 0) -> None:
        """Note a find in one of the readings, without halves of the escapes that it may end in."""
        start, end = max(start, 0), min(end, len(self.readings[depth].text))
        said = self.readings[depth].text[start:end]
        deeper = self.readings[depth + 1 :]
        for reading in deeper:
            start, end = reading.shrink(start, end)
        for reading in reversed(deeper):
            start, end = reading.origin(start), reading.origin(end)
        for reading in reversed(self.readings[1 : depth + 1]):
            start, end = reading.origin(start), reading.origin(end)
        if start < end:
            self.finds.append(Find(start, end, label, said))


def _texts(kind: str, announcement: str, raw: str) -> list[_Text]:
    """Return what is to be looked through of a leaf, as if it were the whole document."""
    document = Strand.document(raw)
    if kind == "number":
        return [_Text(document, announcement, is_number=True)]
    strand = document.string(0, len(raw)) if kind == "string" else document
    nested = _nested(strand) if kind == "string" else None
    return nested if nested is not None else [_Text(strand, announcement)]


def _nested(strand: Strand, depth: int = DEPTH) -> list[_Text] | None:
    """Return what is to be looked through of a string that is JSON itself. None: it is not.

    Of JSON only its leaves, for what is cut out of it must not be what makes it JSON.
    """
    leaves = nested_leaves(strand.text) if depth else None
    if leaves is None:
        return None
    texts: list[_Text] = []
    for start, end, kind, name in leaves:
        announcement = announced_by(name) if name else ""
        if kind == "number":
            texts.append(_Text(strand.part(start, end), announcement, is_number=True))
            continue
        said = strand.string(start, end)
        nested = _nested(said, depth - 1)
        texts += nested if nested is not None else [_Text(said, announcement)]
    return texts


def _pieces(document: Strand, channel: Channel) -> Iterator[tuple[int, int]]:
    """Yield where in what a channel says its pieces begin and end."""
    at = 0
    for start, end in channel.spans():
        is_escaped = channel.is_json and document.text.find("\\", start, end) >= 0
        length = len(document.string(start, end).text) if is_escaped else end - start
        yield at, at + length
        at += length


def _merged(finds: Iterable[Find]) -> Iterator[Find]:
    """Yield finds of which none overlaps another; several are one, and the longest gives its name."""
    group: list[Find] = []
    reach = -1
    for find in sorted(set(finds)):
        if find.start >= reach and group:
            yield _union(group, reach)
            group = []
        reach = find.end if not group else max(reach, find.end)
        group.append(find)
    if group:
        yield _union(group, reach)


def _union(group: Sequence[Find], reach: int) -> Find:
    longest = max(group, key=lambda find: (find.end - find.start, len(find.text), find.label))
    return longest._replace(start=group[0].start, end=reach)


def _quoted(name: str, level: int) -> str:
    quoted = json.dumps(name)
    for _ in range(level):
        quoted = json.dumps(quoted)[1:-1]
    return quoted


def _edited(text: str, edits: Iterable[Edit]) -> str:
    """Carry out edits; where they overlap, the longest gives its text to the whole stretch."""
    parts: list[str] = []
    at, reach = 0, 0
    longest: Edit | None = None
    for edit in sorted(set(edits)):
        if longest is not None and edit.start >= reach:
            parts.append(longest.text)
            at = reach
            longest = None
        if longest is None:
            parts.append(text[at : edit.start])
            reach, longest = edit.end, edit
        reach, longest = max(reach, edit.end), max(longest, edit, key=lambda each: (each.length, each.text))
    if longest is not None:
        parts.append(longest.text)
        at = reach
    parts.append(text[at:])
    return "".join(parts)


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
