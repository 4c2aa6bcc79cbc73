"""Secrets as values that cannot be shown by accident, and their removal from what is shown.

A `Secret` prints as `***`, whatever it is put into: a repr, a format string, a dataclass, a traceback. It cannot be
pickled, copied into JSON or iterated. What it holds is read in one way, `reveal`, which is easy to search for.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from typing import Final, NoReturn
from urllib.parse import quote

MASK: Final = "***"
MIN_BYTES: Final = 8
"""Shorter secrets stand in ordinary text by chance; to remove them would damage it and tell what they are."""
_START_BYTES: Final = 3
"""As in `sk-` and `gl-`."""


class Secret:
    """Some bytes that only `reveal` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash in a set or a log would be a hint

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class Scrubber:
    """Removes known secrets: as they are, and as JSON, Python and URLs spell them."""

    __slots__ = ("_by_start", "_spellings")

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        found = {spelling for secret in secrets for spelling in _spellings(secret.reveal())}
        self._spellings = tuple(Secret(each) for each in sorted(found, key=len, reverse=True))
        # Hundreds of keys begin with the same few letters, so that one look is enough where none of them stands.
        families = [
            [each for each in found if each.startswith(start)] for start in {each[:_START_BYTES] for each in found}
        ]
        # The longer what is looked for, the faster it is found to be nowhere.
        self._by_start = tuple((Secret(_common_start(each)), tuple(map(Secret, each))) for each in families)

    def __bool__(self) -> bool:
        return bool(self._spellings)

    def finds(self, data: bytes) -> bool:
        """Say whether a secret stands in `data`."""
        for start, spellings in self._by_start:
            if start.reveal() in data and any(each.reveal() in data for each in spellings):
                return True
        return False

    def scrub(self, data: bytes) -> bytes:
        """Return `data` with an asterisk for each byte of a secret, so that lengths and offsets stay."""
        for each in self._spellings:
            spelling = each.reveal()
            if spelling in data:
                data = data.replace(spelling, b"*" * len(spelling))
        return data

    def scrub_text(self, text: str) -> str:
        """Return `text` with `***` for each secret."""
        for each in self._spellings:
            spelling = each.reveal().decode("utf-8", "surrogateescape")
            if spelling in text:
                text = text.replace(spelling, MASK)
        return text


def _common_start(texts: list[bytes]) -> bytes:
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((at for at, (one, other) in pairs if one != other), len(first))]


def _spellings(value: bytes) -> set[bytes]:
    if len(value) < MIN_BYTES:
        return set()
    text = value.decode("utf-8", "replace")
    in_json = (json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
    in_python = (repr(text)[1:-1], repr(value)[2:-1])
    return {value, quote(value).encode(), *(each.encode() for each in (*in_json, *in_python))}
