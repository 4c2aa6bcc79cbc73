"""Ids as one segment of a path, in a way that every proxy reads alike.

The admin port refuses encoded slashes, percent signs and dot segments; so whatever is neither letter, digit, `-`, `_`,
`.` nor `:` is written as `~` and two hexadecimal digits for each byte.
"""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:")
_WRITTEN: Final = re.compile(rb"~([0-9A-F]{2})")


def segment(text: str) -> str:
    """Write an id."""
    written = "".join(chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in text.encode(errors="replace"))
    return written.replace(".", "~2E") if written in (".", "..") else written


def read_segment(written: str) -> str:
    """Read an id; what is no such writing stands for itself."""
    return _WRITTEN.sub(lambda match: bytes([int(match[1], 16)]), written.encode()).decode(errors="replace")
