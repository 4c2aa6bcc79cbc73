"""Templates: JSON that says the same every time but for its numbers, of which a row holds the numbers alone.

What a provider says of its usage is three hundred bytes of names and twenty of counts, and what we make of it is no
different. Such a text is packed into a blob: the number of its template, then what stands in its holes, with commas
between them. SQL can put that together without this program (the view `request_rows`).

A template outlives the rows that were packed with it. So it holds words of protocols and nothing else: a text with any
other word in it stays as it is.

Invariant: what is unpacked is the text that was packed, letter by letter.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import apsw
import msgspec

from proxy.store.text import Value

COLUMNS: Final = ("usage", "usage_buckets", "cost_components")
"""Columns of `exchanges` that hold a text, or a blob for it."""
MOST: Final = 512
"""Templates; a text that would need another one stays as it is."""
_LONGEST: Final = 4096
"""Letters of a text; a longer one is no ordinary usage."""
_HOLE: Final = "#"
_DIGITS: Final = b"0123456789"
_NUMBER: Final = re.compile("[0-9]+")
_SPACES: Final = bytes(byte if byte in _DIGITS else 32 for byte in range(256))
"""Makes a space of all that is no digit."""
_WORDS: Final = (
    *("default", "standard", "priority", "flex", "batch", "scale", "auto", "not_available", "global", "us", "eu"),
    *("TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT", "MODALITY_UNSPECIFIED", "ON_DEMAND", "PROVISIONED_THROUGHPUT"),
)
"""Values of providers' usage objects that are no numbers (their API references, from general knowledge, 2026-11)."""
_PROTOCOL: Final = re.compile(
    rf'(?:[\s{{}}\[\],]|-?#(?:\.#)?(?:[eE][+-]?#)?|true|false|null|"[A-Za-z_.#]{{1,64}}"\s*:|"(?:{"|".join(_WORDS)})")*+'
)
_PARTS: Final = msgspec.json.Decoder(list[str])


def as_text(name: str) -> str:
    """Return what says in SQL the text of a column of `exchanges`, packed or not."""
    return f"(SELECT {name} FROM request_rows AS shown WHERE shown.seq = exchanges.seq)"  # noqa: S608 (a column)


class _Template(NamedTuple):
    """A template that is stored."""

    id: bytes
    form: bytes
    """With `%b` for each hole."""
    holes: int


class Templates:
    """The templates of one database; who packs holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._ids: dict[str, int] | None = None
        """By what stands around the holes; None: not read yet."""
        self._usual: dict[bytes, _Template] = {}
        """By a text without its digits: the last template that was found for one of these."""
        self._parts: dict[int, list[str]] = {}

    def pack(self, text: Value) -> Value:
        """Return a text as it is stored."""
        if not isinstance(text, str) or len(text) > _LONGEST:
            return text
        # Half the time of a regular expression: where the holes are is guessed, and then looked at.
        data = text.encode()
        numbers = data.translate(_SPACES).split()
        usual = self._usual.get(data.translate(None, _DIGITS))
        if usual is None or usual.holes != len(numbers) or usual.form % (*numbers,) != data:
            usual = self._find(text)
        return text if usual is None else b",".join((usual.id, *numbers))

    def _find(self, text: str) -> _Template | None:
        if _HOLE in text:
            return None
        template = _NUMBER.sub(_HOLE, text)
        id_ = self._known().get(template) or self._learn(template)
        if id_ is None:
            return None
        form = template.replace("%", "%%").replace(_HOLE, "%b").encode()
        found = _Template(b"%d" % id_, form, template.count(_HOLE))
        self._usual[text.encode().translate(None, _DIGITS)] = found
        return found

    def unpack(self, value: Value) -> Value:
        """Return the text that was packed; what was not, as it is."""
        if not isinstance(value, bytes):
            return value
        id_, *holes = value.decode().split(",")
        first, *others = self._parts_of(int(id_))
        return first + "".join([hole + part for hole, part in zip(holes, others, strict=True)])

    def forget(self) -> None:
        """Forget what was learnt, because it may not have been stored after all."""
        self._ids = None
        self._usual.clear()
        self._parts.clear()

    def _known(self) -> dict[str, int]:
        if self._ids is None:
            rows = self._connection.execute("SELECT id, parts FROM templates").fetchall()
            self._ids = {_HOLE.join(_PARTS.decode(str(parts))): int(str(id_)) for id_, parts in rows}
        return self._ids

    def _learn(self, template: str) -> int | None:
        known = self._known()
        if len(known) >= MOST or _PROTOCOL.fullmatch(template) is None:
            return None
        parts = msgspec.json.encode(template.split(_HOLE)).decode()
        self._connection.execute("INSERT INTO templates (parts) VALUES (?)", (parts,))
        id_ = known[template] = self._connection.last_insert_rowid()
        return id_

    def _parts_of(self, id_: int) -> list[str]:
        if id_ not in self._parts:
            row = self._connection.execute("SELECT parts FROM templates WHERE id = ?", (id_,)).get
            self._parts[id_] = _PARTS.decode(str(row))
        return self._parts[id_]
