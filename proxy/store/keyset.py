"""Keysets: where a page of a list by name ended, so that the next one begins there whatever has come meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.errors import ClientError
from proxy.store.listing import SortError
from proxy.store.text import Value

_STATE: Final = msgspec.json.Decoder(tuple[str, int, str])


class PlaceError(ClientError):
    """A place in a list that is none."""


class Order(msgspec.Struct, frozen=True):
    """An order of a list: by a number, and among equals by name."""

    name: str
    is_descending: bool = True

    @classmethod
    def parse(cls, text: str, known: Mapping[str, str]) -> Order:
        """Return the order that a text such as `-cost` names; `-`: the greatest first. Raises SortError."""
        name = text.removeprefix("-")
        if name not in known:
            raise SortError(f"sort: {name} is none of {', '.join(known)}; a `-` in front puts the greatest first")
        return cls(name, text.startswith("-"))

    def __str__(self) -> str:
        return f"{'-' if self.is_descending else ''}{self.name}"

    def clause(self, value: str, name: str, after: Place | None) -> tuple[str, str, tuple[Value, ...]]:
        """Return a condition, an ORDER BY and the condition's values, for the SQL of a row's value and name."""
        way, beyond = ("DESC", "<") if self.is_descending else ("ASC", ">")
        order = f"{value} {way}, {name}"
        if after is None:
            return "1", order, ()
        return f"({value} {beyond} ? OR ({value} = ? AND {name} > ?))", order, (after.value, after.value, after.name)


class Place(msgspec.Struct, frozen=True):
    """The last row of a page."""

    order: Order
    value: int
    name: str

    def __str__(self) -> str:
        state = msgspec.json.encode((str(self.order), self.value, self.name))
        return base64.urlsafe_b64encode(state).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, known: Mapping[str, str]) -> Place:
        """Return what a client hands back. Raises PlaceError when it is none of ours."""
        try:
            padded = text.encode() + b"=" * (-len(text) % 4)
            order, value, name = _STATE.decode(base64.urlsafe_b64decode(padded))
            return cls(Order.parse(order, known), value, name)
        except (ValueError, msgspec.MsgspecError, SortError):
            raise PlaceError("before: hand back `next_before` of the page before") from None
