"""What SQLite takes: text that is valid UTF-8 without NUL, integers that fit into 64 bits."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from typing import Any, Final

import msgspec

Value = str | int | float | bytes | None
_LARGEST: Final = 2**63 - 1


def storable(value: Value) -> Value:
    """Return the value, or the nearest one that SQLite and every reader of the database can hold."""
    if isinstance(value, str):
        return storable_text(value)
    return storable_integer(value) if isinstance(value, int) else value


def storable_integer(number: int | None) -> int | None:
    """Return `number`; one beyond 64 bits is unknown."""
    return None if number is None or abs(number) > _LARGEST else number


def are_storable(numbers: Iterable[int | None]) -> bool:
    """Say whether all that are known fit into 64 bits."""
    try:
        array("q", filter(None, numbers))
    except OverflowError:
        return False
    return True


def is_storable(text: str) -> bool:
    """Say whether every reader of the database can hold `text` as it is: valid UTF-8 without NUL."""
    # Most tools end a text at a NUL, so that what comes after it would be there and never be seen.
    return "\0" not in text and (text.isascii() or _is_utf8(text))


def storable_text(text: str) -> str:
    """Return `text`, a NUL and every lone surrogate of it as U+FFFD: the exact bytes are in the body."""
    if is_storable(text):
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\ufffd")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_text(value: Any) -> str:
    """Return `value` as JSON text."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(msgspec.to_builtins(value))
