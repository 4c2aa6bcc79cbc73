"""Heads: header lists, of which only what differs from the other requests of an application is stored with each.

The names and most values are the same every time. What has been seen to change is a hole in the template; so after a
few requests there is one template for each application and each provider, and an exchange holds what fills the holes.
That is numbers, dates and random ids in hexadecimal, mostly: each is stored as what it says, where that gives the same
letters again.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Sequence
from email.utils import formatdate, parsedate
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from proxy.records import Headers
from proxy.store.pieces import Digest, Part

_MOST: Final = 256
"""Shapes that are remembered; a shape that was forgotten is learnt again."""
Filling: TypeAlias = str | int | tuple[str, bytes, str]
"""What fills a hole: the text; its number; of a date, below zero, the seconds since 1970; or the bytes that hexadecimal
digits say, between what stands before and after them."""
_HEXADECIMAL: Final = re.compile(rb"(?:[0-9a-f]{2}){8,}")
_DATE: Final = re.compile("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_MOST_DIGITS: Final = 18
_NAMES: Final = msgspec.json.Decoder(list[tuple[str, str | None]])


class Heads:
    """Learns which headers change."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._shapes: dict[tuple[bytes, ...], _Shape] = {}

    def split(self, headers: Headers) -> tuple[Part, list[Filling]]:
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

    def fill(self, headers: Headers) -> list[Filling]:
        """Return what fills the holes; where a value changes for the first time there is one from now on."""
        constants, values = self._values, list[Filling]()
        for place, (_, value) in enumerate(headers):
            constant = constants[place]
            if constant != value:
                if constant is not None:
                    constants[place] = self.template = None
                values.append(_filling(value))
        return values

    def text(self) -> list[tuple[str, str | None]]:
        """Return the names and what always stands there."""
        values = (None if value is None else value.decode("latin-1") for value in self._values)
        return list(zip(self._names, values, strict=True))


def joined(template: bytes, values: Sequence[Filling]) -> tuple[tuple[str, str], ...]:
    """Return the headers of which `split` made a template and values."""
    left = iter(values)
    return tuple((name, _text(next(left)) if value is None else value) for name, value in _NAMES.decode(template))


def _filling(value: bytes) -> Filling:
    if value.isdigit():
        return int(value) if len(value) <= _MOST_DIGITS and (value[:1] != b"0" or value == b"0") else value.decode()
    if value.endswith(b" GMT") and (seconds := _seconds(value)):
        return -seconds
    found = _HEXADECIMAL.search(value)
    if found is None:
        return value.decode("latin-1")
    before, after = value[: found.start()], value[found.end() :]
    return before.decode("latin-1"), bytes.fromhex(found[0].decode()), after.decode("latin-1")


def _text(filling: Filling) -> str:
    if isinstance(filling, str):
        return filling
    if isinstance(filling, int):
        return str(filling) if filling >= 0 else formatdate(-filling, usegmt=True)
    before, said, after = filling
    return f"{before}{said.hex()}{after}"


@lru_cache(maxsize=64)
def _seconds(date: bytes) -> int | None:
    """Return the Unix time of a date; None: it is none that would be written in the same way again."""
    text = date.decode("latin-1")
    parsed = parsedate(text) if _DATE.fullmatch(text) else None
    if parsed is None:
        return None
    try:
        seconds = timegm(parsed)
    except ValueError:  # the thirtieth of February
        return None
    return seconds if seconds > 0 and formatdate(seconds, usegmt=True) == text else None
