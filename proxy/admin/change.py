"""What changed and why: the difference between two periods, taken apart into four effects that add up to it exactly.

For each group, in this order: the cost if only the number of all requests had changed (volume), then with the group's own
share of them (mix), then with its tokens per request (size), then with what its tokens cost (price). Each level is
rounded to a whole nano-USD, so the steps between them add up to the difference, for each group and for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal

import msgspec

from proxy.store.spending import Leaf

Effect = Literal["volume", "mix", "size", "price"]
EFFECTS: Final[tuple[Effect, ...]] = ("volume", "mix", "size", "price")
NAMED: Final = 3


class Effects(msgspec.Struct, frozen=True):
    """A difference in nano-USD, taken apart."""

    volume: int = 0
    """All requests became more or fewer."""
    mix: int = 0
    """A larger or smaller share of them went here; all of what was not there before."""
    size: int = 0
    """A request takes more or fewer tokens."""
    price: int = 0
    """A token costs more or less: another price, another share of output or cached input."""

    @property
    def total(self) -> int:
        """Return the difference."""
        return self.volume + self.mix + self.size + self.price


class Contributor(msgspec.Struct, frozen=True):
    """One effect of one group, or the volume of all."""

    effect: Effect
    name: str | None
    """None: all groups."""
    nano_usd: int
    before: float | None
    """Requests, share of the requests, tokens per request, or nano-USD per token, as the effect is. None: there was none."""
    after: float | None


class Change(msgspec.Struct, frozen=True):
    """Why a period cost more or less than the one before."""

    before_nano_usd: int
    after_nano_usd: int
    effects: Effects
    contributors: list[Contributor]
    """The three that moved it most in the direction in which it moved."""
    others_nano_usd: int
    """All the rest, so that the sum is the difference."""
    groups: dict[str, Effects]


class _Sums:
    """One group in one period."""

    def __init__(self) -> None:
        self.requests = self.tokens = self.nano_usd = 0

    def add(self, leaf: Leaf) -> None:
        self.requests += leaf.requests
        self.tokens += leaf.tokens
        self.nano_usd += leaf.cost_nano_usd


def explain_change(before: Sequence[Leaf], after: Sequence[Leaf], *, place: int = 0) -> Change:
    """Take a difference apart. Groups are named by `place` of a leaf's names; effects are told at the leaves."""
    was, now = _by_name(before), _by_name(after)
    all_was, all_now = _total(was), _total(now)
    growth = Fraction(all_now.requests, all_was.requests) if all_was.requests else None
    effects = {names: _effects(was.get(names, _Sums()), now.get(names, _Sums()), growth) for names in {**was, **now}}
    groups: dict[str, Effects] = {}
    for names, found in effects.items():
        groups[names[place]] = _plus(groups.get(names[place], Effects()), found)
    total = Effects()
    for found in groups.values():
        total = _plus(total, found)
    candidates = [Contributor("volume", None, total.volume, all_was.requests, all_now.requests)]
    for name, found in groups.items():
        pair = _grouped(was, name, place), _grouped(now, name, place)
        candidates += [
            Contributor(
                effect,
                name,
                getattr(found, effect),
                *(_measure(effect, each, whole) for each, whole in zip(pair, (all_was, all_now), strict=True)),
            )
            for effect in EFFECTS[1:]
        ]
    difference = total.total
    sign = 1 if difference >= 0 else -1
    named = sorted((each for each in candidates if each.nano_usd * sign > 0), key=lambda each: -each.nano_usd * sign)[
        :NAMED
    ]
    return Change(
        all_was.nano_usd, all_now.nano_usd, total, named, difference - sum(each.nano_usd for each in named), groups
    )


def _effects(was: _Sums, now: _Sums, growth: Fraction | None) -> Effects:
    """Return the steps between the levels of one group."""
    if growth is None:
        return Effects(volume=now.nano_usd - was.nano_usd)
    if not was.requests:
        return Effects(mix=now.nano_usd - was.nano_usd)
    cost = was.nano_usd
    levels = [cost, round(cost * growth), round(cost * Fraction(now.requests, was.requests))]
    has_tokens = was.tokens > 0 and now.tokens > 0
    levels += [round(cost * Fraction(now.tokens, was.tokens)) if has_tokens else levels[2], now.nano_usd]
    return Effects(*(later - earlier for earlier, later in itertools.pairwise(levels)))


def _plus(one: Effects, other: Effects) -> Effects:
    return Effects(*(getattr(one, effect) + getattr(other, effect) for effect in EFFECTS))


def _by_name(leaves: Sequence[Leaf]) -> dict[tuple[str, ...], _Sums]:
    found: dict[tuple[str, ...], _Sums] = {}
    for leaf in leaves:
        found.setdefault(leaf.names, _Sums()).add(leaf)
    return found


def _grouped(sums: Mapping[tuple[str, ...], _Sums], name: str, place: int) -> _Sums:
    return _total({names: each for names, each in sums.items() if names[place] == name})


def _total(sums: Mapping[tuple[str, ...], _Sums]) -> _Sums:
    total = _Sums()
    for each in sums.values():
        total.requests += each.requests
        total.tokens += each.tokens
        total.nano_usd += each.nano_usd
    return total


def _measure(effect: Effect, sums: _Sums, whole: _Sums) -> float | None:
    of = {"mix": whole.requests, "size": sums.requests, "price": sums.tokens}[effect]
    value = {"mix": sums.requests, "size": sums.tokens, "price": sums.nano_usd}[effect]
    return value / of if of else None
