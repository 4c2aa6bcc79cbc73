"""What SQLite takes: text that is valid UTF-8 without NUL, integers that fit into 64 bits."""

from __future__ import annotations

import json
from typing import Any

import msgspec

Value = str | int | float | bytes | None


def storable(value: Value) -> Value:
    """Return the value, or the nearest one that SQLite and every reader of the database can hold.

    A lone surrogate and a NUL become U+FFFD; the exact bytes are in the body. An integer beyond 64 bits is unknown.
    """
    if type(value) is str:
        return storable_text(value)
    if type(value) is int and value.bit_length() > 63:
        return None
    return value


def storable_text(text: str) -> str:
    """Return `text` as valid UTF-8 without NUL."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    # Most tools end a text at a NUL, so that what comes after it would be there and never be seen.
    return text.replace("\0", "\ufffd") if "\0" in text else text


def json_text(value: Any) -> str:
    """Return `value` as JSON text."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(msgspec.to_builtins(value))
