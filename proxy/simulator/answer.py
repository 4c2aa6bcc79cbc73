"""The answer itself, before any wire spells it: choices made of pieces, and the usage they add up to."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from proxy.simulator.ask import Ask, Tool
from proxy.simulator.directives import Directives
from proxy.simulator.models import dated_name, reasons
from proxy.simulator.prose import write_prose
from proxy.simulator.structured import write_json

FinishReason = Literal["stop", "length", "tool_calls"]
CountText = Callable[[str], int]
Buckets = tuple[tuple[str, float], ...]
"""Names and amounts of what is billed besides plain tokens, such as (("images", 2), ("cache_write_1h_tokens", 512))."""

CREATED = 1_767_225_600
"""Creation time of every answer: 2026-01-01. A clock here would make answers differ from run to run."""
_NATURAL_LENGTH = (24, 96)
"""Bounds of an answer's length when nothing asks for another."""
_ARGUMENT_PIECE = 6
"""Characters per streamed piece of JSON; OpenAI's pieces are one token, about four."""
_EFFORT_TOKENS = {"none": 0, "minimal": 0, "low": 64, "medium": 192, "high": 704, "xhigh": 1408}
"""Hidden reasoning by effort, in steps of 64 as OpenAI reports them."""


class Piece(NamedTuple):
    """What one delta of a stream carries."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function."""

    id: str
    name: str
    name_tokens: int
    pieces: tuple[Piece, ...]
    """The arguments, as JSON; cut short when the limit was reached."""

    @property
    def arguments(self) -> str:
        """The arguments as one text."""
        return joined(self.pieces)


@dataclass(frozen=True, slots=True)
class Choice:
    """One alternative: reasoning first, then either text or tool calls."""

    hidden_reasoning: int
    """Tokens billed but not shown."""
    reasoning: tuple[Piece, ...]
    content: tuple[Piece, ...]
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason

    @property
    def reasoning_tokens(self) -> int:
        """All reasoning, shown or not."""
        return self.hidden_reasoning + _tokens(self.reasoning)

    @property
    def output_tokens(self) -> int:
        """Everything billed as output, reasoning included."""
        calls = sum(call.name_tokens + _tokens(call.pieces) for call in self.tool_calls)
        return self.reasoning_tokens + _tokens(self.content) + calls


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens billed."""

    input_tokens: int
    """Cached ones included."""
    cached_tokens: int = 0
    output_tokens: int = 0
    """Reasoning included."""
    reasoning_tokens: int = 0
    extra: Buckets = ()
    """What is billed besides, or which part of the above has another price; the truth log shows it under these names."""

    def plus(self, output_tokens: int, reasoning_tokens: int, extra: Buckets = ()) -> Usage:
        """Return the usage with more generated."""
        output, reasoning = self.output_tokens + output_tokens, self.reasoning_tokens + reasoning_tokens
        return Usage(self.input_tokens, self.cached_tokens, output, reasoning, _added(self.extra, extra))


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer to an Ask."""

    identity: str
    """Hexadecimal digest from which every id in the answer is made."""
    model: str
    """The model as the response names it."""
    tier: str
    choices: tuple[Choice, ...]
    usage: Usage
    shows_usage: bool


def compose(ask: Ask, wishes: Directives, prompt: Usage, identity: str, rng: random.Random, count: CountText) -> Answer:
    """Write the answer to a request whose input tokens are already counted."""
    choices = tuple(_compose_choice(ask, wishes, f"{identity}{index}", rng, count) for index in range(ask.choices))
    usage = Usage(
        prompt.input_tokens,
        prompt.cached_tokens,
        sum(choice.output_tokens for choice in choices),
        sum(choice.reasoning_tokens for choice in choices),
    )
    return Answer(identity, dated_name(ask.model), ask.tier, choices, usage, not wishes.no_usage)


def _added(amounts: Buckets, more: Buckets) -> Buckets:
    if not more:
        return amounts
    sums = dict(amounts)
    for name, amount in more:
        sums[name] = sums.get(name, 0) + amount
    return tuple(sums.items())


def joined(pieces: Sequence[Piece]) -> str:
    """Return the text that the pieces make together."""
    return "".join([piece.text for piece in pieces])


def _tokens(pieces: Sequence[Piece]) -> int:
    return sum(piece.tokens for piece in pieces)


def _compose_choice(ask: Ask, wishes: Directives, identity: str, rng: random.Random, count: CountText) -> Choice:
    shown, hidden = _reasoning_tokens(ask, wishes, rng)
    room = ask.limit
    if room is not None:
        shown = min(shown, room)
        hidden = min(hidden, room - shown)
        room -= shown + hidden
    reasoning = _prose(rng, shown)
    tools = _tools_to_call(ask, wishes)
    if tools:
        calls, complete = _call_tools(tools, identity, room, rng, count)
        # A call that the application forced by name ends with "stop" (OpenAI's function calling guide, 2026-11).
        ended: FinishReason = "stop" if ask.tool_choice == tools[0].name else "tool_calls"
        return Choice(hidden, reasoning, (), calls, ended if complete else "length")
    content, complete = _write_text(ask, wishes, room, rng, count)
    return Choice(hidden, reasoning, content, (), "stop" if complete else "length")


def _reasoning_tokens(ask: Ask, wishes: Directives, rng: random.Random) -> tuple[int, int]:
    """Return how many tokens of reasoning are shown and how many are hidden."""
    if wishes.reasoning is not None or wishes.hidden_reasoning is not None:
        return wishes.reasoning or 0, wishes.hidden_reasoning or 0
    if ask.kind == "completions" or not reasons(ask.model):
        return 0, 0
    return 0, _EFFORT_TOKENS.get(ask.effort, 64 * rng.randint(1, 4))


def _tools_to_call(ask: Ask, wishes: Directives) -> list[Tool]:
    if not ask.tools or ask.tool_choice == "none" or wishes.tools == 0:
        return []
    named = [tool for tool in ask.tools if tool.name == ask.tool_choice]
    wanted = ask.tool_choice == "required" or bool(named) or bool(wishes.tools) or not ask.follows_tool
    if not wanted:
        return []
    offered = named or list(ask.tools)
    return [offered[index % len(offered)] for index in range(wishes.tools or 1)]


def _call_tools(
    tools: list[Tool], identity: str, room: int | None, rng: random.Random, count: CountText
) -> tuple[tuple[ToolCall, ...], bool]:
    calls: list[ToolCall] = []
    for index, tool in enumerate(tools):
        name_tokens = count(tool.name)
        if room is not None and room < name_tokens:
            return tuple(calls), False
        left = None if room is None else room - name_tokens
        pieces, complete = fit(write_json(tool.schema, rng), left, count)
        calls.append(ToolCall(f"call_{identity[:20]}{index:04d}", tool.name, name_tokens, pieces))
        if not complete:
            return tuple(calls), False
        room = None if left is None else left - _tokens(pieces)
    return tuple(calls), True


def _write_text(
    ask: Ask, wishes: Directives, room: int | None, rng: random.Random, count: CountText
) -> tuple[tuple[Piece, ...], bool]:
    if ask.schema is not None:
        return fit(write_json(ask.schema, rng), room, count)
    wanted = rng.randint(*_NATURAL_LENGTH) if wishes.tokens is None else wishes.tokens
    length = wanted if room is None else min(wanted, room)
    return _end_well(_prose(rng, length)) if length == wanted else _prose(rng, length), length == wanted


def _prose(rng: random.Random, tokens: int) -> tuple[Piece, ...]:
    return tuple([Piece(text, 1) for text in write_prose(rng, tokens)])


def _end_well(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Put a full stop in place of the last word, except where it would join the one before into one token."""
    if len(pieces) < 2 or pieces[-2].text == ".":
        return pieces
    return (*pieces[:-1], Piece(".", 1))


def fit(text: str, room: int | None, count: CountText) -> tuple[tuple[Piece, ...], bool]:
    """Cut a text to so many tokens and into pieces; say whether all of it fitted."""
    total = count(text)
    if room is None or total <= room:
        return _split(text, total), True
    kept = text[: _longest_prefix(text, room, count)]
    return _split(kept, count(kept)), False


def _longest_prefix(text: str, room: int, count: CountText) -> int:
    """Return the length of the longest prefix that has no more tokens than there is room for.

    Counts grow with the prefix but for small dips where a token closes, so a bisection lands near and a short walk
    finds the last length that fits.
    """
    near = bisect_right(range(len(text)), room, key=lambda length: count(text[:length])) - 1
    candidates = range(min(len(text) - 1, near + 16), -1, -1)
    return next(islice((length for length in candidates if count(text[:length]) <= room), 1), 0)


def _split(text: str, tokens: int) -> tuple[Piece, ...]:
    texts = [text[start : start + _ARGUMENT_PIECE] for start in range(0, len(text), _ARGUMENT_PIECE)]
    bounds = [tokens * index // len(texts) for index in range(len(texts) + 1)] if texts else []
    return tuple(Piece(part, bounds[index + 1] - bounds[index]) for index, part in enumerate(texts))
