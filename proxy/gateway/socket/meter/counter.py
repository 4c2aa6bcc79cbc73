"""What a session may cost: upper bounds of its tokens, from the messages as they pass.

A response reads the whole context again, so its input is bounded by everything said before: text by its bytes, sound
by its length. Once a response says what it consumed, that takes the place of the bound. So the sum of what is known
and what may still come is always above what will be billed, and soon close to it. Only sessions of keys with a budget
are metered. Nothing here raises, whatever the messages say; what cannot be read counts with its whole length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

OVERHEAD_TOKENS: Final = 64
"""For what a provider counts beside what is said: roles, frames of calls, end markers."""
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


Buckets = tuple[tuple[str, int], ...]


class Needed(msgspec.Struct, frozen=True):
    """What a session must have covered, in all."""

    models: tuple[tuple[str | None, str | None], ...]
    """Model and service tier of each response so far; None: nobody named one."""
    input_tokens: int
    """Upper bound of what was read or may be read next and is not known."""
    output_tokens: int
    """The same of what was put out so far."""
    unseen_tokens: int
    """What the responses under way may still put out by their own limits."""
    unlimited: int
    """Responses under way without a limit."""
    tool_calls: int = 0
    turn: int = 0
    """Changes whenever a response begins or ends."""
    known: tuple[tuple[str | None, str | None, Buckets], ...] = ()
    """What responses said that they consumed: model, tier, buckets of `pricing.Usage` with the sum of each."""


@dataclass(slots=True)
class Open:
    """A response under way."""

    input_tokens: int
    limit: int | None
    output_tokens: int = 0
    has_begun: bool = False
    model: str | None = None
    tier: str | None = None


class SocketMeter(Protocol):
    """Counts one session."""

    def asked(self, text: bytes, size: int) -> None:
        """Take a message of the client before it goes; `text` is its head, `size` its whole length."""
        ...

    def said(self, text: bytes, size: int) -> None:
        """Take a message of the server."""
        ...

    def needed(self) -> Needed:
        """Return what must be covered now."""
        ...


class Counter:
    """What the meters have in common: what is known, and what is under way."""

    def __init__(self) -> None:
        self.models: dict[tuple[str | None, str | None], None] = {}
        self.past_input = 0
        """Upper bound of what past responses read without saying how much it was."""
        self.past_output = 0
        self.known: dict[tuple[str | None, str | None], dict[str, int]] = {}
        self.tool_calls = 0
        self.under_way: list[Open] = []
        self.turn = 0

    def use(self, model: str | None, tier: str | None = None) -> None:
        """Note that a model answers."""
        self.models[model, tier] = None

    def begin(self, response: Open) -> None:
        """Take a response that is under way from now on."""
        self.turn += 1
        self.under_way.append(response)

    def settle(self, response: Open, buckets: Mapping[str, int] | None) -> None:
        """Replace the bound of a response by what it says that it consumed; None: it does not say."""
        self.turn += 1
        self.under_way = [each for each in self.under_way if each is not response]
        if buckets is None:
            self.past_input += response.input_tokens
            self.past_output += response.output_tokens
            return
        sums = self.known.setdefault((response.model, response.tier), {})
        for bucket, count in buckets.items():
            sums[bucket] = sums.get(bucket, 0) + count

    def needed(self, next_input: int = 0, *, may_begin: int = 0) -> Needed:
        """Add up; `may_begin`: responses that may begin at any time, over `next_input` in all."""
        models = tuple(self.models) or ((None, None),)
        limits = [(each.limit, each.output_tokens) for each in self.under_way]
        return Needed(
            models,
            self.past_input + sum(each.input_tokens for each in self.under_way) + next_input,
            self.past_output + sum(each.output_tokens for each in self.under_way),
            sum(max(limit - seen, 0) for limit, seen in limits if limit is not None),
            sum(limit is None for limit, _ in limits) + may_begin,
            self.tool_calls,
            self.turn,
            tuple((*key, tuple(sums.items())) for key, sums in self.known.items()),
        )


def sound_tokens(text: str, bytes_per_token: int) -> int:
    """Bound the tokens of base64 sound."""
    return len(text) * 3 // 4 // bytes_per_token + 1


def split(total: int | None, parts: Mapping[str, int], rest: str) -> dict[str, int] | None:
    """Return a total as its parts and what is left of it; None: the figures cannot be believed."""
    if total is None or total < 0 or min(parts.values(), default=0) < 0 or sum(parts.values()) > total:
        return None
    return {rest: total - sum(parts.values())} | {name: count for name, count in parts.items() if count}


def joined(read: dict[str, int] | None, made: dict[str, int] | None) -> dict[str, int] | None:
    """Return both sides of a usage in one; None: one of them is not known."""
    return None if read is None or made is None else read | made
