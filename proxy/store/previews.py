"""Previews: the last message of a request and the beginning of its answer, for the rows of a list.

Bodies are stored in pieces, and a list needs the last of one side and the first of the other: so a preview reads a few
kilobytes, of a body of 10 MB as of a small one. What stands between pieces is read as JSON in which numbers stand for
them; the last element of the conversation is then either there, or in the piece that its number names.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from proxy import wire
from proxy.records import Begin, Body, End, Exchange, Headers, Reading, Timeline, join_headers
from proxy.store.heads import joined
from proxy.store.listing import Rows, Step
from proxy.store.packing import unpack, unpack_start
from proxy.store.payloads import HEADS, ITEMS, Item, read_contents
from proxy.store.query import Plan
from proxy.store.words import text_of
from proxy.wire.decode import content_codings, decode

MOST_PREVIEWS: Final = 200
LETTERS: Final = 240
"""Of a preview: more than the widest column shows."""
_START: Final = 256 * 1024
"""Bytes of a payload and of a piece that are looked at."""
_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read: a stream says little with many."""
_ROUNDS: Final = 8
"""Pieces in pieces in pieces: a conversation of 32 messages to the power of six."""
_MOST_PIECES: Final = 8
_CONVERSATION: Final = ("messages", "input", "contents", "prompt")
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_DAMAGED: Final = (LookupError, OSError, ValueError, msgspec.MsgspecError, zstandard.ZstdError)
_DATA: Final = re.compile(r"data:[\w.+-]*/[\w.+-]*;base64,[A-Za-z0-9+/=]*")
_ROLE: Final = re.compile(rb'"role"\s*:\s*"([a-z_]{1,20})"')


class Preview(msgspec.Struct, frozen=True):
    """What is shown of one request in a list."""

    role: str | None
    """Of the last message: user, tool, assistant, …; None: it says none."""
    message: str | None
    """None: see `request_missing`; empty: it holds no text."""
    answer: str | None
    """None: see `response_missing`; empty: it holds no text."""
    is_call: bool = False
    """The answer calls a tool: its name and arguments are shown."""
    request_missing: str = ""
    """Why there is no message: asked, erased, sampled_out, redaction_failed, damaged or not_kept."""
    response_missing: str = ""


class _Row(NamedTuple):
    """What a preview is made of."""

    id: str
    begin: tuple[str, str | None, str, str, str]
    """Wire, provider, upstream, method and path."""
    status: int | None
    sizes: tuple[int, int]
    missing: tuple[str, str]
    head_ids: str | None
    heads: bytes | None
    ids: str | None
    contents: bytes | None


class _NotYet(Exception):
    """Pieces are needed that were not loaded yet."""


def previews(ids: Sequence[str]) -> Plan[dict[str, Preview]]:
    """Ask for the previews of requests, by their ids; what is not there is left out."""

    def steps() -> Generator[Step, Rows, dict[str, Preview]]:
        rows = [_row(row) for row in (yield _PAYLOADS, (_START, _json(ids[:MOST_PREVIEWS])))]
        shelf = _Shelf()
        found: dict[str, Preview] = {}
        for _ in range(_ROUNDS):
            left = []
            for row in rows:
                try:
                    found[row.id] = _preview(row, shelf)
                except _NotYet:
                    left.append(row)
                except _DAMAGED:
                    found[row.id] = Preview(None, None, None, False, "damaged", "damaged")
            if not left:
                break
            rows = left
            shelf.put((yield _PIECES, (_START, _json(shelf.wanted()))))
        return {id_: found[id_] for id_ in ids if id_ in found}

    return Plan(steps)


_PAYLOADS: Final = """
SELECT id, wire, provider, upstream, method, path, status, request_bytes, response_bytes, no_store, privacy,
    head_pieces, heads, pieces, substr(contents, 1, ?)
FROM exchanges LEFT JOIN payloads ON exchange = seq WHERE id IN (SELECT value FROM json_each(?))
"""
_PIECES: Final = """
SELECT id, pieces, CASE WHEN pieces IS NULL THEN substr(data, 1, ?) ELSE data END FROM pieces
WHERE id IN (SELECT value FROM json_each(?))
"""


def _row(row: tuple[Any, ...]) -> _Row:
    id_, wire_, provider, upstream, method, path, status, asked, answered, no_store, privacy, *rest = row
    return _Row(
        id_,
        (wire_, provider, upstream, method, path),
        status,
        (asked, answered),
        (_missing("request", no_store, privacy), _missing("response", no_store, privacy)),
        *rest,
    )


def _missing(side: str, no_store: str, privacy: str) -> str:
    """Return why a body is not there, if it is not."""
    if no_store in (side, "all"):
        return "asked"
    done = privacy.split(",")
    return next((reason for reason in ("erased", "sampled_out", "redaction_failed") if reason in done), "not_kept")


class _Shelf:
    """Pieces that were loaded, and those that are needed besides."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[str | None, bytes | None]] = {}
        self._wanted: set[int] = set()

    def wanted(self) -> list[int]:
        """Return the ids of what to load next."""
        wanted, self._wanted = sorted(self._wanted), set()
        # What is not there, because it was deleted meanwhile, is empty from now on.
        self._pieces |= dict.fromkeys(wanted, (None, None))
        return wanted

    def put(self, rows: Rows) -> None:
        """Take what was loaded."""
        self._pieces |= {id_: (held, data) for id_, held, data in rows}

    def need(self, ids: Iterable[int]) -> None:
        """Make sure that pieces are there. Raises _NotYet."""
        missing = [id_ for id_ in ids if id_ not in self._pieces]
        if missing:
            self._wanted.update(missing)
            raise _NotYet

    def start(self, id_: int) -> bytes:
        """Return the first bytes of what a piece stands for, without pictures."""
        self.need([id_])
        held, data = self._pieces[id_]
        if data is None:
            return b""
        return unpack_start(data, _START) if held is None else self.start_of(_items(data), _ids(held))

    def start_of(self, items: Sequence[Item], ids: Sequence[int]) -> bytes:
        """Return the first bytes of what items stand for, without pictures."""
        some = items[:_MOST_PIECES]
        self.need([ids[item] for item in some if isinstance(item, int) and item >= 0])
        found = b""
        for item in some:
            if len(found) >= _START:
                break
            found += item if isinstance(item, bytes) else self.start(ids[item]) if item >= 0 else b""
        return found

    def last_element(self, id_: int) -> bytes:
        """Return the last message of a run of them, or the one message that the piece is."""
        self.need([id_])
        held, data = self._pieces[id_]
        if held is None or data is None:
            return self.start(id_)
        items, ids = _items(data), _ids(held)
        last = items[-1] if items else b""
        element = last if isinstance(last, bytes) else self.last_element(ids[last]) if last >= 0 else b""
        # What is no message by itself is the end of one that was cut at its paragraphs.
        return element if _element(element) is not None else self.start(id_)


def _preview(row: _Row, shelf: _Shelf) -> Preview:
    if row.contents is None or row.head_ids is None or row.heads is None:
        return Preview(None, None, None, False, *row.missing)
    request, response = read_contents(unpack_start(row.contents, _START))
    ids = _ids(row.ids)
    headers = _headers(row, shelf)
    role, message = _message(request, ids, headers[0], shelf) if request is not None else (None, None)
    answer, is_call = _answer(row, shelf.start_of(response, ids), headers[1]) if response is not None else (None, False)
    return Preview(
        role,
        message,
        answer,
        is_call,
        row.missing[0] if message is None else "",
        row.missing[1] if answer is None else "",
    )


def _headers(row: _Row, shelf: _Shelf) -> list[Headers]:
    ids = _ids(row.head_ids)
    shelf.need(ids)
    pairs = [joined(shelf.start(ids[place]), values) for place, values in HEADS.decode(row.heads or b"")]
    return [tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in each) for each in pairs]


def _message(items: Sequence[Item], ids: Sequence[int], headers: Headers, shelf: _Shelf) -> tuple[str | None, str]:
    """Return the role and the text of what was said last."""
    codings = content_codings(headers)
    body = None if codings else _decoded(_sketch(items))
    if not isinstance(body, dict):
        start = shelf.start_of(items, ids)
        if codings:
            start = decode(start, codings, limit=_START).data
        body = _decoded(start)
        if not isinstance(body, dict):
            return None, _short(text_of(start))
    said = next((body[name] for name in _CONVERSATION if name in body), None)
    last = said[-1] if isinstance(said, list) and said else said
    if isinstance(last, int) and not isinstance(last, bool) and last < len(items):
        place = items[last]
        element = shelf.last_element(ids[place]) if isinstance(place, int) and place >= 0 else b""
        role = _ROLE.search(element[:200])
        return role[1].decode() if role else None, _short(text_of(element.lstrip(b", \t\r\n")))
    if last is None:
        return None, _short(text_of(msgspec.json.encode({name: body[name] for name in body if name != "model"})))
    role_ = last.get("role") if isinstance(last, dict) else None
    return role_ if isinstance(role_, str) else None, _short(text_of(msgspec.json.encode(last)))


def _sketch(items: Sequence[Item]) -> bytes:
    """Return a body in which numbers stand for its pieces: elements of a conversation, or values of members."""
    sketch = b""
    for number, item in enumerate(items):
        if isinstance(item, bytes):
            sketch += item
        else:
            # The comma belongs to the element that follows it.
            is_further = sketch.rstrip()[-1:] not in (b"[", b":")
            sketch += b",%d" % number if is_further else b"%d" % number
    return sketch


def _answer(row: _Row, start: bytes, headers: Headers) -> tuple[str, bool]:
    """Return the beginning of the answer, and whether it calls a tool."""
    reading = _read(row, start[:_ANSWER], headers)
    if reading.output_text:
        return _short(reading.output_text), False
    if reading.tool_calls:
        return _short(", ".join(f"{call.name}({call.arguments})" for call in reading.tool_calls)), True
    return _short(reading.reasoning_text or reading.error_message or ""), False


def _read(row: _Row, start: bytes, headers: Headers) -> Reading:
    wire_, provider, upstream, method, path = row.begin
    begin = Begin(row.id, 0, upstream, wire_, provider, False, method, path, ())
    end = End("completed", row.status, head=join_headers(headers), response_size=row.sizes[1])
    response = Body(start, max(row.sizes[1], len(start)), b"")
    return wire.read(Exchange(begin, end, Body(b"", 0, b""), response, Timeline()))


def _element(data: bytes) -> dict[str, Any] | None:
    found = _decoded(data.lstrip(b", \t\r\n")) if data else None
    return found if isinstance(found, dict) else None


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except _UNREADABLE:
        return None


def _items(data: bytes) -> list[Item]:
    return ITEMS.decode(unpack(data))


def _ids(text: str | None) -> list[int]:
    return [] if text is None else msgspec.json.decode(text, type=list[int])


def _json(value: Sequence[str] | Sequence[int]) -> str:
    return msgspec.json.encode(value).decode()


def _short(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(_DATA.sub("", text[: 4 * LETTERS]).split())
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…"
