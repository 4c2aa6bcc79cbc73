"""Search: from what somebody types to a condition over rows, answered by the full-text index.

words     all of them must stand in the request or its answer, in any order; letter case and accents do not matter
"…"       these words one after the other
word*     words that begin so
-word     without it
"""

from __future__ import annotations

import re
from typing import Final

from proxy.errors import ClientError
from proxy.store.words import searchable

MOST_FOUND: Final = 4000
"""Rows that are looked at, the newest ones, some ten milliseconds: who finds more than these has to say more."""
_SHORTEST_STEM: Final = 3
"""Letters in front of a `*`: the words that begin with one or two take seconds to be listed."""
_TERM: Final = re.compile(r'(?P<not>-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_ALL: Final = -1
_CLAUSE: Final = "seq IN (SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rowid DESC LIMIT ?)"


class SearchError(ClientError):
    """Something that cannot be searched for."""


def search_clause(text: str, *, is_all: bool = False) -> tuple[str, tuple[str, int]]:
    """Return a condition over the rows in which everything that `text` asks for stands, and its bound values.

    Give it all words at once: of each clause only the newest `MOST_FOUND` rows are seen, but with `is_all`. The index is
    read from its end, so that a word that stands everywhere costs no more than a rare one. Raises SearchError.
    """
    return _CLAUSE, (match_expression(text), _ALL if is_all else MOST_FOUND)


def match_expression(text: str) -> str:
    """Return what `texts MATCH` takes. Raises SearchError."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for match in _TERM.finditer(text):
        (unwanted if match["not"] else wanted).append(_term(match))
    if not wanted:
        raise SearchError("search for at least one word")
    return " NOT ".join((" AND ".join(wanted), *unwanted))


def _term(match: re.Match[str]) -> str:
    said = match["phrase"] if match["word"] is None else match["word"]
    stem = said.removesuffix("*")
    if not any(letter.isalnum() for letter in stem):
        raise SearchError(f"{match[0]}: there is no word in it")
    is_stem = match["word"] is not None and stem != said
    if is_stem and len(stem) < _SHORTEST_STEM:
        raise SearchError(f"{match[0]}: at least {_SHORTEST_STEM} letters must stand before `*`")
    quoted = searchable(stem).replace('"', '""')
    return f'"{quoted}"*' if is_stem else f'"{quoted}"'
