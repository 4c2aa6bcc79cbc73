"""Heads: header lists, of which only what differs from the other requests of an application is stored with each.

The names and most values are the same every time. What has been seen to change is a hole in the template; so after a
few requests there is one template for each application and each provider, and an exchange holds what fills the holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.records import Headers
from proxy.store.pieces import Digest, Part

_MOST: Final = 256
"""Shapes that are remembered; a shape that was forgotten is learnt again."""
_NAMES: Final = msgspec.json.Decoder(list[tuple[str, str | None]])


class Heads:
    """Learns which headers change."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._shapes: dict[tuple[bytes, ...], _Shape] = {}

    def split(self, headers: Headers) -> tuple[Part, list[str]]:
        """Return a template, which is stored once, and what fills its holes."""
        names = tuple([name for name, _ in headers])
        shape = self._shapes.get(names)
        if shape is None:
            if len(self._shapes) >= _MOST:
                self._shapes.clear()
            shape = self._shapes[names] = _Shape(headers)
        values = shape.fill(headers)
        if shape.template is None:
            text = msgspec.json.encode(shape.text())
            shape.template = Part(self._digest(text), text)
        return shape.template, values


class _Shape:
    """Headers of the same names."""

    __slots__ = ("_names", "_values", "template")

    def __init__(self, headers: Headers) -> None:
        self._names = [name.decode("latin-1") for name, _ in headers]
        self._values: list[bytes | None] = [value for _, value in headers]
        """None: has been seen to change."""
        self.template: Part | None = None

    def fill(self, headers: Headers) -> list[str]:
        """Return what fills the holes; where a value changes for the first time there is one from now on."""
        constants, values = self._values, []
        for place, (_, value) in enumerate(headers):
            constant = constants[place]
            if constant != value:
                if constant is not None:
                    constants[place] = self.template = None
                values.append(value.decode("latin-1"))
        return values

    def text(self) -> list[tuple[str, str | None]]:
        """Return the names and what always stands there."""
        values = (None if value is None else value.decode("latin-1") for value in self._values)
        return list(zip(self._names, values, strict=True))


def joined(template: bytes, values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the headers of which `split` made a template and values."""
    left = iter(values)
    return tuple((name, next(left) if value is None else value) for name, value in _NAMES.decode(template))
