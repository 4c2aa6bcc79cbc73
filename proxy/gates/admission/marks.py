"""Marks in a body of input that its bytes do not bound: pictures, files, what the provider keeps.

They are looked for in the bytes, wherever they stand: which of the places an upstream honours is for it to say, and a
mark in a text that means nothing costs a reservation that settlement gives back. Escapes hide nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxy.gates.admission.peek import CONTEXT_TOKENS, PICTURE_TOKENS

_ESCAPE: Final = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_MOST_ESCAPES: Final = 20_000
"""Escaped ASCII characters in one body. No client escapes what it need not; each costs a third of a microsecond."""
_SMALLEST: Final = 1024
"""Bytes of a body in which a picture is looked for."""
_MOST_QUOTES: Final = 1_000_000
"""In a body in which a picture is looked for; the search stops at each, for some 0.1 microseconds."""
_LONGEST: Final = 4 * 1024 * 1024
"""Bytes that are looked through, at some 2 ms for each megabyte. A longer body bounds four million tokens by itself:
the longest context more makes little difference."""


_BASE64: Final = rb'[A-Za-z0-9+/_-]{512,}+={0,2}+"'
_INLINE: Final = re.compile(
    # The quote in front stands outside the choice, so that the search leaps from one to the next.
    rb'"(?:(?P<before>(?:url|image_url)"\s*:\s*"data:image/[a-z0-9.+-]{2,20};base64,)'
    + _BASE64
    + rb'|(?P<named>(?:media_type|mimeType|mime_type)"\s*:\s*"image/[a-z0-9.+-]{2,20}"\s*,\s*"data"\s*:\s*")'
    + _BASE64
    + rb'|(?P<data>data"\s*:\s*")'
    + _BASE64
    + rb'(?P<after>\s*,\s*"(?:media_type|mimeType|mime_type)"\s*:\s*"image/))'
)
"""A picture within the body, in the fields where OpenAI, Anthropic and Gemini take one. Within a text these quotes would
have a backslash, so text is never taken for a picture."""


def without_pictures(body: bytes) -> bytes:
    """Return `body` without the bytes of its pictures, which are billed by their size and not as text."""
    if len(body) < _SMALLEST or b'"data' not in body or body.count(b'"') > _MOST_QUOTES:
        return body
    return _INLINE.sub(_frame, body)


def _frame(match: re.Match[bytes]) -> bytes:
    return b'"' + (match["before"] or match["named"] or match["data"]) + b'"' + (match["after"] or b"")


@dataclass(frozen=True, slots=True)
class Marks:
    """How one dialect spells them."""

    pictures: tuple[re.Pattern[bytes], ...]
    """Each matches once for each picture of its spelling; the most frequent spelling counts."""
    stored: re.Pattern[bytes] | None
    """One is enough for the whole context."""
    picture_tokens: int = PICTURE_TOKENS
    sign: re.Pattern[bytes] | None = None
    """Stands in every mark and in few bodies, so that most are looked through once only; None: there is none."""

    def tokens(self, body: bytes) -> int:
        """Return an upper bound of the input that `body` names and does not contain."""
        text = None
        if len(body) <= _LONGEST:
            text = without_escapes(body) if b"\\u00" in body else body
        if text is not None and self.sign is not None and self.sign.search(text) is None:
            return 0
        if text is None or (self.stored is not None and self.stored.search(text)):
            return CONTEXT_TOKENS
        return self.picture_tokens * max((len(spelling.findall(text)) for spelling in self.pictures), default=0)


def stands_in(pattern: re.Pattern[bytes], body: bytes) -> bool:
    """Say whether `pattern` may stand in `body`, escaped or not."""
    text = without_escapes(body) if len(body) <= _LONGEST else None
    return text is None or pattern.search(text) is not None


def without_escapes(body: bytes) -> bytes | None:
    """Return `body` with escaped ASCII spelled out; None: there is too much of it.

    Only good for looking for marks: the result need not be JSON.
    """
    if b"\\u00" not in body:
        return body
    if body.count(b"\\u00") > _MOST_ESCAPES:
        return None
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), body)
