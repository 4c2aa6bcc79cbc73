"""History: which messages of a request were already there before, and how much of the prompt each is.

A chat repeats all that was said with every request. What a reader wants to see is the turn: from the last thing that a
person said on. With an earlier request of the same conversation at hand, it is known what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.conversation.message import SYSTEM, Conversation, Message, size_of

_OPEN: Final = 12
"""Messages of one turn that stay open: more are calls and results of an agent at work."""
_LETTERS_A_TOKEN: Final = 4


class History(msgspec.Struct, frozen=True):
    """What of a request is history."""

    system: int
    """Messages at its beginning that are instructions."""
    folded: int
    """Messages before this one, instructions aside, are of earlier turns."""
    known: int | None
    """So many messages at the beginning stood in the earlier request, or are its answer. None: none is known."""


def read_history(messages: Sequence[Message], earlier: Conversation | None = None) -> History:
    """Return what of a request's messages is history; `earlier`: what came before in the same conversation."""
    system = next((at for at, each in enumerate(messages) if each.role not in SYSTEM), len(messages))
    turn = max((at for at, each in enumerate(messages) if each.role == "user"), default=system)
    known = _known(messages, earlier) if earlier is not None else None
    folded = turn
    if len(messages) - turn > _OPEN:
        folded = max(turn, min(known or 0, len(messages) - 1), len(messages) - _OPEN)
    return History(system, max(system, folded), known)


def estimated_tokens(messages: Sequence[Message], total: int | None) -> list[int]:
    """Return about how many tokens each message has; `total`: what the provider counted for all of them."""
    sizes = [size_of(message) for message in messages]
    letters = sum(sizes)
    if total is None or not letters:
        return [-(-size // _LETTERS_A_TOKEN) for size in sizes]
    return [round(size * total / letters) for size in sizes]


def _known(messages: Sequence[Message], earlier: Conversation) -> int:
    count = 0
    for ours, theirs in zip(messages, earlier.messages, strict=False):
        if ours.parts != theirs.parts or ours.role != theirs.role:
            return count
        count += 1
    answers = [answer.message for answer in earlier.answers]
    if count == len(earlier.messages) < len(messages) and messages[count].role == "assistant" and answers:
        count += 1  # whatever a client made of it: it is what came of the earlier request
    return count
