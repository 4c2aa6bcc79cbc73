"""Heads: header lists, of which only what differs from the other requests of an application is stored with each.

The names and most values are the same every time. What has been seen to change is a hole in the template; so after a
few requests there is one template for each application and each provider, and an exchange holds what fills the holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.records import Headers

_MOST: Final = 256
"""Shapes that are remembered; a shape that was forgotten is learnt again."""
_NAMES: Final = msgspec.json.Decoder(list[tuple[str, str | None]])


class Heads:
    """Learns which headers change."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, ...], list[bytes | None]] = {}
        self._texts: dict[tuple[tuple[bytes, ...], int], bytes] = {}

    def split(self, headers: Headers) -> tuple[bytes, list[str]]:
        """Return a template, as a text to be stored once, and what fills its holes."""
        names = tuple([name for name, _ in headers])
        seen = self._seen.get(names)
        if seen is None:
            self._forget()
            self._seen[names] = seen = [value for _, value in headers]
            return _text(headers, seen), []
        values = []
        is_new = False
        for place, (_, value) in enumerate(headers):
            if seen[place] != value:
                is_new |= seen[place] is not None
                seen[place] = None
                values.append(value.decode("latin-1"))
        holes = len(values)
        text = None if is_new else self._texts.get((names, holes))
        if text is None:
            text = self._texts[names, holes] = _text(headers, seen)
        return text, values

    def _forget(self) -> None:
        if len(self._seen) >= _MOST:
            self._seen.clear()
            self._texts.clear()


def joined(template: bytes, values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the headers of which `split` made a template and values."""
    left = iter(values)
    return tuple((name, next(left) if value is None else value) for name, value in _NAMES.decode(template))


def _text(headers: Headers, constants: Sequence[bytes | None]) -> bytes:
    return msgspec.json.encode(
        [
            (name.decode("latin-1"), None if value is None else value.decode("latin-1"))
            for (name, _), value in zip(headers, constants, strict=True)
        ]
    )
