"""Payloads: the heads and bodies of exchanges in the database, each piece of them once.

A payload is a list of what stands in it: bytes of its own, and the numbers of pieces that others may hold, too. A run of
pieces is a piece itself. Of each piece the database counts who holds it; triggers give back what a deleted row held, and
delete with it whatever nobody holds any more. So whoever deletes a payload, by whatever statement, leaves no copy of
what was its alone, and takes nothing from others.

Invariants: `uses` of a piece is the number of payloads and pieces whose `pieces` name it; what is stored is the body
that was given, byte for byte.
"""

from __future__ import annotations

import binascii
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import apsw
import msgspec
import zstandard

from proxy.records import Timeline
from proxy.store.arrivals import packed, unpacked
from proxy.store.heads import Filling, Heads, joined
from proxy.store.packing import Packer, unpack
from proxy.store.pieces import Part, cut_request, look_inside, split_response
from proxy.store.record import KeptBody
from proxy.store.row import StoredBody, whole_body
from proxy.store.text import Value

Rows = Sequence[tuple[Any, ...]]
Item = bytes | int
"""Bytes as they are; the place of a piece in the list of pieces; or, below zero, -1 - the place of one to be encoded as
base64."""
_Places = dict[int, int]
"""Ids of pieces that somebody holds, each with its place among them, in order."""
_DIGEST_SIZE: Final = 16
_ENCODE: Final = msgspec.msgpack.encode


class PayloadDamaged(Exception):
    """What is stored cannot be put together."""


class _Content(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """What is kept of a body."""

    items: list[Item]
    tail: bytes = b""
    edit: str = ""
    arrivals: list[int] = []
    """See `proxy.store.arrivals`."""


HEADS: Final = msgspec.msgpack.Decoder(tuple[tuple[int, list[Filling]], tuple[int, list[Filling]]])
_CONTENTS: Final = msgspec.msgpack.Decoder(tuple[_Content | None, _Content | None])
ITEMS: Final = msgspec.msgpack.Decoder(list[Item])


class _Payload(NamedTuple):
    """What is about to be stored of one exchange."""

    exchange: int
    bodies: tuple[KeptBody, KeptBody]
    heads: tuple[tuple[Part, list[Filling]], tuple[Part, list[Filling]]]
    contents: tuple[list[Part] | None, list[Part] | None]
    said: list[Part]
    """The conversation in the request."""

    @property
    def parts(self) -> Iterator[Part]:
        for template, _ in self.heads:
            yield template
        for parts in self.contents:
            yield from parts or ()


class PayloadWriter:
    """Stores payloads for the one writer; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        key = bytes(cast("bytes", connection.execute("SELECT key FROM piece_key").get))
        # As fast as the processor's own instructions; the key makes the names of texts unguessable and unforgeable.
        self._keyed = hashlib.sha256(key.ljust(64, b"\0"))
        self._packer = Packer()
        self._heads = Heads(self._digest)

    def write(self, new: Iterable[tuple[int, KeptBody, KeptBody]]) -> list[list[Part]]:
        """Store the requests and responses of exchanges, by the places of their rows.

        Return the elements of the conversation in each request.
        """
        payloads = [self._split(*each) for each in new]
        found = _Found(self._connection, self._digest)
        found.look_up([part for payload in payloads for part in payload.parts])
        newest = cast("int", self._connection.execute("SELECT coalesce(max(id), 0) FROM pieces").get)
        batch = _Batch(found, self._packer, newest + 1)
        rows = [batch.row(payload) for payload in payloads]
        batch.store(self._connection)
        self._connection.executemany("INSERT INTO payloads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return [payload.said for payload in payloads]

    def _split(self, exchange: int, request: KeptBody, response: KeptBody) -> _Payload:
        asked = None if request.head is None else cut_request(request.head, self._digest)
        return _Payload(
            exchange,
            (request, response),
            (self._heads.split(request.headers), self._heads.split(response.headers)),
            (
                None if asked is None else asked.parts,
                None if response.head is None else split_response(response.head, self._digest),
            ),
            [] if asked is None else asked.said,
        )

    def _digest(self, data: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(data)
        return keyed.digest()[:_DIGEST_SIZE]


class _Found:
    """Which parts of a batch are stored already."""

    def __init__(self, connection: apsw.Connection, digest: Any) -> None:
        self._connection = connection
        self._digest = digest
        self.ids: dict[bytes, int] = {}
        self.new: dict[bytes, Part] = {}
        """What is in the others is among them, too."""

    def look_up(self, parts: Iterable[Part]) -> None:
        """Ask for all parts in one go; then for what is in those that are new."""
        while wanted := self._unknown(parts):
            for digest, id_ in self._connection.executemany(
                "SELECT hash, id FROM pieces WHERE hash = ?", [(digest,) for digest in wanted]
            ):
                self.ids[digest] = id_
                del wanted[digest]
            opened = {digest: look_inside(part, self._digest) for digest, part in wanted.items()}
            self.new |= opened
            parts = [inner for part in opened.values() for inner in part.parts]

    def _unknown(self, parts: Iterable[Part]) -> dict[bytes, Part]:
        ids, new = self.ids, self.new
        return {
            part.digest: part
            for part in parts
            if not part.is_inline and part.digest not in ids and part.digest not in new
        }


class _Batch:
    """Rows that are being made."""

    def __init__(self, found: _Found, packer: Packer, first: int) -> None:
        self._ids = found.ids
        self._new = found.new
        self._packer = packer
        self._first = first
        self._pieces: list[tuple[bytes, str | None, bytes]] = []
        """Hash, pieces, data; the ids follow each other."""
        self._uses: Counter[int] = Counter()

    def row(self, payload: _Payload) -> tuple[Value, ...]:
        """Return the row of a payload, and note the pieces that it needs."""
        head_ids: _Places = {}
        heads = [(self._place(template, head_ids), values) for template, values in payload.heads]
        ids: _Places = {}
        request, response = payload.bodies
        contents = tuple(
            None if parts is None else _Content(self._items(parts, ids), body.tail, body.edit, packed(body.timeline))
            for parts, body in zip(payload.contents, payload.bodies, strict=True)
        )
        is_kept = contents != (None, None)
        return (
            payload.exchange,
            *(request.size, request.sha256, response.size, response.sha256),
            self._held(head_ids),
            _ENCODE(heads),  # what is left is random: packing it takes 7 µs and saves next to nothing
            self._held(ids) if is_kept else None,
            self._packer.pack(_ENCODE(contents)) if is_kept else None,
        )

    def store(self, connection: apsw.Connection) -> None:
        """Write the pieces, and count who holds them."""
        uses, first = self._uses, self._first
        end = first + len(self._pieces)
        connection.executemany(
            "INSERT INTO pieces (id, hash, uses, pieces, data) VALUES (?, ?, ?, ?, ?)",
            [(id_, hash_, uses[id_], held, data) for id_, (hash_, held, data) in enumerate(self._pieces, first)],
        )
        connection.executemany(
            "UPDATE pieces SET uses = uses + ? WHERE id = ?",
            [(count, id_) for id_, count in uses.items() if not first <= id_ < end],
        )

    def _items(self, parts: Sequence[Part], ids: _Places) -> list[Item]:
        items: list[Item] = []
        for part in parts:
            if part.is_inline:
                if items and isinstance(items[-1], bytes):
                    items[-1] += part.data
                else:
                    items.append(part.data)
            else:
                place = self._place(part, ids)
                items.append(-1 - place if part.is_base64 else place)
        return items

    def _place(self, part: Part, ids: _Places) -> int:
        """Return the place of a piece among those that somebody holds."""
        id_ = self._ids.get(part.digest)
        if id_ is None:
            id_ = self._add(self._new[part.digest])
        return ids.setdefault(id_, len(ids))

    def _add(self, part: Part) -> int:
        if part.parts:
            ids: _Places = {}
            data = _ENCODE(self._items(part.parts, ids))
            held = self._held(ids)
        else:
            data, held = part.data, None
        id_ = self._ids[part.digest] = self._first + len(self._pieces)
        self._pieces.append((part.digest, held, self._packer.pack(data)))
        return id_

    def _held(self, ids: _Places) -> str:
        self._uses.update(ids.keys())
        return msgspec.json.encode(list(ids)).decode()


PAYLOAD_SQL: Final = """
WITH RECURSIVE asked (seq) AS (SELECT seq FROM exchanges WHERE {choice}),
held (id) AS (
    SELECT value FROM payloads JOIN asked ON exchange = seq, json_each(payloads.head_pieces)
    UNION SELECT value FROM payloads JOIN asked ON exchange = seq, json_each(payloads.pieces)
    UNION SELECT value FROM held JOIN pieces USING (id), json_each(pieces.pieces)
)
SELECT 'payload', request_size, request_sha256, response_size, response_sha256, head_pieces, heads, payloads.pieces, contents
FROM payloads JOIN asked ON exchange = seq
UNION ALL SELECT 'piece', id, pieces.pieces, data, NULL, NULL, NULL, NULL, NULL FROM held JOIN pieces USING (id)
UNION ALL SELECT 'whole', headers, size, sha256, codec, head, head_size, tail, edit
FROM (SELECT * FROM whole_bodies JOIN asked ON exchange = seq ORDER BY side)
"""
"""All that is needed to put the bodies of one exchange together again."""


def read_bodies(rows: Rows) -> tuple[StoredBody, StoredBody] | None:
    """Return the request and the response that the answer to PAYLOAD_SQL holds; None: there is none.

    Raises PayloadDamaged.
    """
    try:
        return _read_bodies(rows)
    except (LookupError, OSError, ValueError, msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise PayloadDamaged(f"what was recorded is damaged: {error}") from error


def _read_bodies(rows: Rows) -> tuple[StoredBody, StoredBody] | None:
    pieces = {row[1]: (row[2], row[3]) for row in rows if row[0] == "piece"}
    for row in rows:
        if row[0] == "payload":
            return _read_payload(row, _Pieces(pieces))
    whole = [whole_body(tuple(row[1:])) for row in rows if row[0] == "whole"]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _read_payload(row: tuple[Any, ...], pieces: _Pieces) -> tuple[StoredBody, StoredBody]:
    _, *sizes, head_ids, heads, ids, contents = row
    headers = pieces.headers(head_ids, heads)
    kept = (None, None) if contents is None else _CONTENTS.decode(unpack(contents))
    held = _ids(ids)
    request, response = (
        StoredBody(
            headers=headers[side],
            size=sizes[2 * side],
            sha256=sizes[2 * side + 1],
            head=None if content is None else pieces.join(content.items, held),
            tail=b"" if content is None else content.tail,
            edit="" if content is None else content.edit,
            timeline=Timeline() if content is None else unpacked(content.arrivals),
        )
        for side, content in enumerate(kept)
    )
    return request, response


def read_contents(start: bytes) -> tuple[list[Item] | None, list[Item] | None]:
    """Return what the first bytes of unpacked `contents` say of both bodies; None: that body is not kept.

    Of what was cut, the last bytes are missing, and all that would come after them.
    """
    reader = _Start(start)
    reader.size()
    return reader.content(), reader.content()


class _Cut(ValueError):
    """The rest is missing."""


class _Start:
    """Reads msgpack of which the end may be missing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def content(self) -> list[Item] | None:
        """Read a `_Content`, and return its items."""
        found: list[Item] = []
        try:
            if self._data[self._at : self._at + 1] == _NIL:
                self._at += 1
                return None
            members = self.size()
            for _ in range(self.size()):
                found.append(self._item())  # noqa: PERF401 (what was found before the cut stays)
            for _ in range(members - 1):
                self._pass()
        except _Cut:
            self._at = len(self._data)
        return found

    def size(self) -> int:
        """Read the beginning of an array. Raises ValueError."""
        kind = self._number(1)
        return kind & 0x0F if kind & 0xF0 == _ARRAY else self._number(_SIZES.get(kind, 1))

    def _pass(self) -> None:
        """Read a member that nobody asked for: a value, or a list of them."""
        kind = self._data[self._at] if self._at < len(self._data) else 0
        for _ in range(self.size() if kind & 0xF0 == _ARRAY or kind in _LISTS else 1):
            self._item()

    def _item(self) -> Item:
        kind = self._number(1)
        if kind < _POSITIVE_END or kind >= _NEGATIVE:
            return kind if kind < _POSITIVE_END else kind - 0x100
        if kind in _NUMBERS:
            size, is_signed = _NUMBERS[kind]
            return self._number(size, is_signed=is_signed)
        # Bytes, or the short text that says how they were edited.
        size = kind & 0x1F if kind & 0xE0 == _TEXT else self._number(_SIZES.get(kind, 1))
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def _number(self, size: int, *, is_signed: bool = False) -> int:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise _Cut("the rest is missing")
        return int.from_bytes(self._data[start : self._at], "big", signed=is_signed)


_NIL: Final = b"\xc0"
_POSITIVE_END: Final = 0x80
_NEGATIVE: Final = 0xE0
_ARRAY: Final = 0x90
_TEXT: Final = 0xA0
_LISTS: Final = (0xDC, 0xDD)
_SIZES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}
_NUMBERS: Final = {
    0xCC: (1, False),
    0xCD: (2, False),
    0xCE: (4, False),
    0xCF: (8, False),
    0xD0: (1, True),
    0xD1: (2, True),
    0xD2: (4, True),
    0xD3: (8, True),
}
"""Kinds of msgpack, and how many bytes follow: github.com/msgpack/msgpack/blob/master/spec.md."""


class _Pieces:
    """Puts together what pieces hold."""

    def __init__(self, rows: dict[int, tuple[str | None, bytes]]) -> None:
        self._rows = rows

    def headers(self, ids: str | None, heads: bytes | None) -> list[tuple[tuple[str, str], ...]]:
        if ids is None or heads is None:
            return [(), ()]
        held = _ids(ids)
        return [joined(self._bytes(held[place]), values) for place, values in HEADS.decode(heads)]

    def join(self, items: Sequence[Item], ids: Sequence[int]) -> bytes:
        return b"".join([item if isinstance(item, bytes) else self._item(item, ids) for item in items])

    def _item(self, place: int, ids: Sequence[int]) -> bytes:
        if place >= 0:
            return self._bytes(ids[place])
        return binascii.b2a_base64(self._bytes(ids[-1 - place]), newline=False)

    def _bytes(self, id_: int) -> bytes:
        held, data = self._rows[id_]
        return unpack(data) if held is None else self.join(ITEMS.decode(unpack(data)), _ids(held))


def _ids(text: str | None) -> list[int]:
    return [] if text is None else msgspec.json.decode(text, type=list[int])
