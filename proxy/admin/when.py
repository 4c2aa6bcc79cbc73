"""Instants as people write them: `now-7d`, `2026-11-01`, `2026-11-01T12:00`, or Unix milliseconds."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from proxy.errors import ClientError

_RELATIVE: Final = re.compile(r"now(?:-(\d{1,6})(s|m|h|d|w))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EPOCH_MS: Final = re.compile(r"\d{12,14}")


class InstantError(ClientError):
    """What was written is not an instant."""


def read_instant(text: str, now_ms: int) -> int:
    """Return Unix milliseconds; a time without an offset is local. Raises InstantError."""
    text = text.strip()
    if match := _RELATIVE.fullmatch(text):
        return now_ms - int(match[1] or 0) * _SECONDS[match[2] or "s"] * 1000
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    try:
        when = datetime.fromisoformat(text)
        return int((when if when.tzinfo else when.astimezone()).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise InstantError(f"{text!r} is not a time: write now-7d, 2026-11-01 or 2026-11-01T12:00") from None
