"""JSON as plain values, from bytes that may be anything.

What is well formed is decoded as a whole. Otherwise (half a surrogate pair, a body that was cut, bytes that are no text)
the text is cut at its members and read as far as it goes: a broken end does not take the beginning along.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from proxy.wire.lenient import Member, loose_text, members

_LEVELS: Final = 8
"""Levels of a broken document that are looked into: each costs a scan."""
_SHOWN: Final = 2000
"""Characters of what cannot be read that are shown."""


def read_document(data: bytes) -> Any:
    """Return the value of a JSON text, as far as it can be read; None: it is none."""
    if not data.strip():
        return None
    value = read_whole(data)
    return _pieces(data, 0) if value is None else value


def read_whole(data: bytes) -> Any:
    """Return the value of a JSON text, or None: of an event that broke off nobody can tell what it would have said."""
    try:
        return msgspec.json.decode(data)
    # Whatever the strict way dislikes, recursion included, the other must get a chance to read.
    except Exception:  # noqa: BLE001, S110
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def is_json(text: str) -> bool:
    """Say whether a text is a JSON document."""
    try:
        msgspec.json.decode(text)
    except Exception:  # noqa: BLE001 - among others of a text that nests too deep
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
    return True


def json_text(value: Any) -> str:
    """Return a value as JSON text, as it may be shown."""
    try:
        return msgspec.json.encode(value).decode()
    except Exception:  # noqa: BLE001, S110 - lone surrogates, numbers without bounds, nesting
        pass
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return "…"


def clean(text: str) -> str:
    """Return a text that can be encoded: halves of a surrogate pair find each other, a lone one becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encodable(value: Any) -> Any:
    """Return a value that can be encoded as JSON: as it is, or as it would be shown."""
    try:
        msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 - see json_text
        text = json_text(value)
        try:
            # Escapes of lone surrogates come back as such.
            return json.loads(clean(json.dumps(json.loads(text), ensure_ascii=False)))
        except (ValueError, RecursionError):
            return text[:_SHOWN]
    return value


def text_of(value: Any) -> str:
    """Return a text that was meant to be one; '' for anything else."""
    return clean(value) if isinstance(value, str) else ""


def name_of(value: Any) -> str | None:
    """Return a name or an id; None: it is none."""
    return clean(value)[:256] if isinstance(value, str) and value else None


def dict_of(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return an array; an empty one for anything else."""
    return value if isinstance(value, list) else []


def dicts_of(value: Any) -> list[dict[str, Any]]:
    """Return the objects in an array."""
    return [each for each in list_of(value) if isinstance(each, dict)]


def integer_of(value: Any, default: int = 0) -> int:
    """Return an integer; `default` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _pieces(data: bytes, level: int) -> Any:
    found, _ = members(data)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        return [_value(member, level) for member in found]
    return {member.key: _value(member, level) for member in found} if found else None


def _value(member: Member, level: int) -> Any:
    text = member.text
    if member.is_whole:
        try:
            return msgspec.json.decode(text)
        except Exception:  # noqa: BLE001, S110 - the next lines are the answer
            pass
    first = text[:1]
    if first == b'"':
        return loose_text(text)
    if first in (b"{", b"[") and level < _LEVELS:
        return _pieces(text, level + 1)
    return text[:_SHOWN].decode("utf-8", "replace") if first in (b"{", b"[") else None
