"""Words: the full-text index over what was said in requests and answered to them, as far as it is stored.

The index holds words and where they stand, not the text. It is written in the transaction of the rows, in the order of
`seq`, so that the newest finds come first without sorting. Of a request only what is new in it is indexed: a conversation
is sent again with each turn, with instructions and tools, and would be found at each of them. What a user says is new
once a session, what an application tells every model, once a key.

A deleted row leaves a mark, and its words go when the part of the index that holds them is written anew: `sweep` does so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import apsw
import msgspec

from proxy.records import Headers
from proxy.store.text import storable_text

Caller = tuple[str | None, ...]
"""Key, user and session: whose texts are not told apart when they come again."""
MOST_LETTERS: Final = 100_000
"""Indexed of one request, and of one answer: a book of fifty pages."""
SWEEP_PAGES: Final = 250
"""Written anew at a time, 1 MB: some twenty milliseconds."""
_MOST_HEARD: Final = 50_000
"""Texts that are remembered, in some 5 MB; then it begins anew."""
_LONG: Final = 64
"""Letters from which a text is remembered: a shorter one costs nothing, and means something each time."""
_DAY_MS: Final = 86_400_000
_STRING: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)("(?:\s*+:)?)?', re.DOTALL)
"""A string of JSON; with a colon behind it, the name of a member. Eight times slower than decoding all of it. What was cut
is a match, too: or each quotation mark in it would be tried as a beginning."""
_SPOKEN_BY_NOBODY: Final = frozenset(
    (
        *("role", "type", "model", "id", "call_id", "tool_call_id", "tool_use_id", "previous_response_id"),
        *("file_id", "user", "safety_identifier", "prompt_cache_key", "service_tier", "tool_choice", "object"),
        *("format", "encoding_format", "response_format", "media_type", "mime_type", "mimeType", "detail"),
        *(
            "status",
            "effort",
            "reasoning_effort",
            "verbosity",
            "signature",
            "encrypted_content",
            "thoughtSignature",
        ),
    )
)
"""Members whose values are words of the protocol."""
_INSTRUCTIONS: Final = frozenset(
    ("system", "instructions", "systemInstruction", "system_instruction", "tools", "functions")
)
_INSTRUCTING: Final = frozenset(("system", "developer"))
"""Members, and roles of messages, in which an application says the same to everybody."""
_LONGEST_WORD: Final = 256
"""Letters without a space above which something is a picture, a key or a hash, but no word."""
_IDEOGRAPHS: Final = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Letters of languages that put no space between words: each is taken for a word."""


class Words:
    """The full-text index of the one writer; its caller holds the transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._is_sweeping = False
        self._removed = 0  # when the sweep began

    def add(self, said: Iterable[tuple[int, str, str]]) -> None:
        """Index requests and answers, by `seq`, ascending."""
        self._connection.executemany(
            "INSERT INTO texts (rowid, request, response) VALUES (?, ?, ?)",
            [
                (seq, searchable(request), searchable(response))
                for seq, request, response in said
                if request or response
            ],
        )

    def unindexed(self, rows: int) -> tuple[list[int], int] | None:
        """Return which of the next rows that were there before the index have bodies, and where those rows end.

        None: all are indexed.
        """
        done, last = self._connection.execute("SELECT done_seq, last_seq FROM folds WHERE name = 'texts'").get
        if done >= last:
            return None
        end = min(done + rows, last)
        found = self._connection.execute(
            "SELECT seq FROM exchanges WHERE seq > ? AND seq <= ? AND bodies_kept = 1", (done, end)
        )
        return [int(str(seq)) for (seq,) in found], end

    def add_earlier(self, said: Iterable[tuple[int, str, str]], end: int) -> None:
        """Index rows that were there before the index, up to `end`."""
        self.add(said)
        self._connection.execute("UPDATE folds SET done_seq = ? WHERE name = 'texts'", (end,))

    def remove(self, seqs: Sequence[int]) -> None:
        """Let rows not be found any more."""
        if seqs:
            self._connection.executemany("DELETE FROM texts WHERE rowid = ?", [(seq,) for seq in seqs])
            self._connection.execute("UPDATE folds SET last_seq = last_seq + 1 WHERE name = 'removed'")

    def must_sweep(self) -> bool:
        """Say whether words of what was removed may still be there, also from an earlier life of the writer."""
        return bool(self._connection.execute("SELECT done_seq < last_seq FROM folds WHERE name = 'removed'").get)

    def begin_sweep(self) -> None:
        """Let the next sweep be about all that was removed until now."""
        self._is_sweeping = False

    def sweep(self) -> bool:
        """Write a part of the index anew, without the words of what was removed; return whether there is more."""
        before = self._connection.total_changes()
        # SQLite takes a negative number for: begin with all that is there now.
        pages = SWEEP_PAGES if self._is_sweeping else -SWEEP_PAGES
        if not self._is_sweeping:
            self._removed = int(str(self._connection.execute("SELECT last_seq FROM folds WHERE name = 'removed'").get))
            self._is_sweeping = True
        self._connection.execute("INSERT INTO texts (texts, rank) VALUES ('merge', ?)", (pages,))
        is_more = self._connection.total_changes() - before >= 2  # SQLite's documentation: less is nothing to do
        if not is_more:
            self._connection.execute("UPDATE folds SET done_seq = ? WHERE name = 'removed'", (self._removed,))
        return is_more


class Heard:
    """Remembers what callers said on the same day, so that only what is new is indexed.

    For a day, because the first one to say it is also the first to be deleted.
    """

    def __init__(self) -> None:
        self._texts: set[int] = set()
        self._day = 0

    def news(self, caller: Caller, at_ms: int, headers: Headers, body: bytes | None) -> str:
        """Return what a request that is kept says and the same caller did not say before."""
        if body is None:
            return ""
        if at_ms // _DAY_MS != self._day or len(self._texts) > _MOST_HEARD:
            self._day = at_ms // _DAY_MS
            self._texts.clear()

        def is_new(text: str, is_instruction: bool) -> bool:
            if len(text) < _LONG:
                return True
            before = len(self._texts)
            self._texts.add(hash((caller[0] if is_instruction else caller, text)))
            return len(self._texts) > before

        if any(name.lower() == b"content-encoding" for name, _ in headers):
            from proxy.wire.decode import content_codings, decode  # few requests are encoded, and few processes write

            body = decode(body, content_codings(headers)).data
        return text_of(body, is_new)

    def forget(self) -> None:
        """Forget everything, because it may not have been indexed after all."""
        self._texts.clear()


def searchable(text: str) -> str:
    """Return a text as the index, and whoever asks it, sees it."""
    text = storable_text(text[:MOST_LETTERS])
    return text if text.isascii() else _IDEOGRAPHS.sub(r" \1 ", text)


def text_of(data: bytes, is_wanted: Callable[[str, bool], bool] = lambda _, __: True) -> str:
    """Return what is said in the JSON of a request, as far as it is wanted; of anything else, nothing.

    `is_wanted` is asked about a text, and whether it is an instruction.
    """
    try:
        texts = list(_spoken(msgspec.json.decode(data)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        texts = [(text, False) for text in _strings(data)] if _is_text(data) else []
    return "\n".join(_bounded(text for text, what in texts if not _is_noise(text) and is_wanted(text, what)))


def _spoken(body: Any) -> Iterator[tuple[str, bool]]:
    """Yield the strings of a decoded body that somebody said, each with whether it is an instruction."""
    if type(body) is not dict:
        yield from ((text, False) for text in _leaves(body))
        return
    for name, member in body.items():
        if name in _INSTRUCTIONS:
            for text in _leaves({name: member}):
                yield text, True
        elif type(member) is list:
            for element in member:
                is_instruction = type(element) is dict and _is_instructing(element.get("role"))
                for text in _leaves(element):
                    yield text, is_instruction
        elif type(member) is dict or (type(member) is str and name not in _SPOKEN_BY_NOBODY):
            for text in _leaves(member):
                yield text, False


def _is_instructing(role: Any) -> bool:
    return type(role) is str and role in _INSTRUCTING


def _bounded(texts: Iterable[str]) -> Iterator[str]:
    room = MOST_LETTERS
    for text in texts:
        yield text
        room -= len(text)
        if room <= 0:
            return


def _leaves(value: Any) -> Iterator[str]:
    """Yield the strings of a decoded body that somebody said."""
    if type(value) is dict:
        for name, member in value.items():
            if type(member) is str:
                if name not in _SPOKEN_BY_NOBODY:
                    yield member
            elif type(member) is dict or type(member) is list:
                yield from _leaves(member)
    elif type(value) is list:
        for element in value:
            yield from _leaves(element)
    elif type(value) is str:
        yield value


def _strings(data: bytes) -> Iterator[str]:
    """Yield the same of a body that was cut, and is no JSON any more."""
    name = ""
    for string, end in _STRING.findall(data):
        text = _unescaped(string)
        if end.endswith(b":"):
            name = text
        elif end and name not in _SPOKEN_BY_NOBODY:
            yield text


def _is_noise(text: str) -> bool:
    return not text or (len(text) > _LONGEST_WORD and " " not in text and "\n" not in text and text.isascii())


def _unescaped(string: bytes) -> str:
    try:
        return msgspec.json.decode(b'"%b"' % string, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return string.decode("utf-8", "replace")


def _is_text(data: bytes) -> bool:
    """Say whether bytes are UTF-8, perhaps cut at the end."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3
    return True
