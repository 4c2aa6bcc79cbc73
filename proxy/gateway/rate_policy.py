"""`Helicone-RateLimit-Policy: <quota>;w=<seconds>;u=request|cents;s=user|<property>`: a limit that the caller asks for.

Anybody may send such a header, so it can only make a request's own bounds narrower, never another's wider.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

# Blanks belong to one part each: in two ways to share them, a header of fifty bytes would take minutes to refuse.
_POLICY: Final = re.compile(r"(?P<quota>\d{1,12})\s*(?P<fields>(?:;\s*[a-z]+\s*=[^;]*)*);?")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_MIN_WINDOW_S: Final = 60
"""Helicone's own minimum."""
_MAX_WINDOW_S: Final = 366 * 86400


class RatePolicy(msgspec.Struct, frozen=True):
    """A quota over a sliding window."""

    quota: int
    window_s: int
    unit: Literal["request", "cents"] = "request"
    segment: str | None = None
    """`user`, or the lower-case name of a property of which each value has a quota of its own; None: one for all."""


def read_rate_policy(text: str) -> RatePolicy | None:
    """Read the header; None: it cannot be read."""
    match = _POLICY.fullmatch(text.strip())
    if match is None:
        return None
    fields = dict(_fields(match["fields"]))
    window, unit = fields.get("w", ""), fields.get("u", "request")
    if not _NUMBER.fullmatch(window) or not _MIN_WINDOW_S <= int(window) <= _MAX_WINDOW_S:
        return None
    if unit not in ("request", "cents"):
        return None
    return RatePolicy(
        int(match["quota"]), int(window), "cents" if unit == "cents" else "request", fields.get("s", "").lower() or None
    )


def _fields(text: str) -> list[tuple[str, str]]:
    return [(name.strip(), value.strip()) for name, _, value in (each.partition("=") for each in text.split(";"))]
