"""Names that two readers of a body could understand in two ways: twice the same, or in another case.

Upstreams differ in which of two equal members they take, and decoders in Go do not mind the case of a name. Where a
limit depends on a member, such a body is refused rather than guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.errors import BadRequest
from proxy.gates.admission.values import LOOSE_BYTES, UNREADABLE, loose_json

MOST_MEMBERS: Final = 1000
"""Members of an object that are looked at, a microsecond or two each; no API knows a hundred. A body may hold millions,
and would stop everybody's traffic for many seconds."""
_SMALLEST_MEMBER: Final = 5
"""Bytes: `"":0,`."""
NO_NESTED: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class _Member(str):
    """The name of a member, equal to no other, so that a dict keeps every member of an object."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


def _member(_: type, name: object) -> _Member:
    return _Member(name)


_MEMBERS: Final = msgspec.json.Decoder(dict[_Member, msgspec.Raw], dec_hook=_member)


def _members(raw: bytes | msgspec.Raw) -> dict[_Member, msgspec.Raw]:
    """Return the members of an object. Raises BadRequest where there are too many, as well as what the decoder raises."""
    text = bytes(raw)
    if len(text) <= _SMALLEST_MEMBER * MOST_MEMBERS or text.count(b":") <= MOST_MEMBERS:
        return _MEMBERS.decode(raw)
    budget = iter(range(MOST_MEMBERS))

    def counted(_: type, name: object) -> _Member:
        if next(budget, None) is None:
            raise BadRequest(f"a limit of this key needs a body with at most {MOST_MEMBERS} members")
        return _Member(name)

    return msgspec.json.Decoder(dict[_Member, msgspec.Raw], dec_hook=counted).decode(raw)


class Decisive:
    """The members of a body that decide about a limit."""

    def __init__(
        self,
        names: frozenset[str],
        nested: Mapping[str, frozenset[str]] = NO_NESTED,
        fold: Callable[[str], str] = str.lower,
    ) -> None:
        """`nested`: of a member, those inside it. `fold`: makes equal what a decoder may take for the same name."""
        self._names = names
        self._nested = nested
        self._fold = fold
        self._folded = frozenset(map(fold, names))
        self._folded_nested = {name: frozenset(map(fold, inner)) for name, inner in nested.items()}

    def confusing(self, body: bytes) -> str | None:
        """Return the name of a member that can be understood in two ways; None: there is none.

        None as well for what `peek` cannot read either. Raises BadRequest for more members than anybody needs.
        """
        try:
            members = _members(body)
        except UNREADABLE:
            return self._confusing_loosely(body)
        found = self._first(members, self._names, self._folded)
        if found is not None or not self._nested:
            return found
        return next(
            (
                inside
                for name, raw in members.items()
                if str(name) in self._nested and (inside := self._confusing_inside(str(name), raw)) is not None
            ),
            None,
        )

    def _confusing_inside(self, name: str, raw: msgspec.Raw) -> str | None:
        try:
            inner = _members(raw)
        except UNREADABLE:
            return None  # null, or of another type: it has no members
        return self._first(inner, self._nested[name], self._folded_nested[name])

    def _confusing_loosely(self, body: bytes) -> str | None:
        names = _names_loosely(body)
        nested = next((name for name in names if name in self._nested), None)
        return self._first(names, self._names, self._folded) or nested

    def _first(self, names: Iterable[str], exact: frozenset[str], folded: frozenset[str]) -> str | None:
        fold, seen = self._fold, list[str]()
        for name in names:
            plain = fold(name)
            if plain in folded:
                if plain in seen or str(name) not in exact:
                    return str(name)
                seen.append(plain)
        return None


def _names_loosely(body: bytes) -> list[str]:
    """Return the members of a body that msgspec refuses, as the tolerant reader sees them."""
    levels: list[list[str]] = [[]]

    def keep(pairs: list[tuple[str, object]]) -> None:
        levels[0] = [name for name, _ in pairs]  # the outermost object is closed last

    if len(body) > LOOSE_BYTES:
        return []
    try:
        loose_json(body, keep)
    except UNREADABLE:
        return []
    return levels[0]
