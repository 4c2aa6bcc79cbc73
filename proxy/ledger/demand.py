"""How much money a request must reserve: an upper bound, from bytes and tokens to nano-USD.

The bytes of a body bound its input tokens, since no tokenizer in use makes more than one token of a byte. The output
is bounded by what the request allows, or the model's maximum. A stream whose every billed token can be seen needs
only a slice at a time; one that hides reasoning needs all at once, for nobody could tell when to extend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.ledger.accounts import MAX_AMOUNT
from proxy.reservations import Reserve

FIRST_SLICE: Final = 1024
"""Output tokens for each choice that a stream reserves at first: most chat answers end before."""
MAX_TOKENS: Final = 2**62
"""Counts are capped here; at any price above zero that is far more than any budget."""
WITHOUT_OUTPUT: Final = frozenset({"embeddings", "other"})


class Priced(Protocol):
    """What a reservation needs of the rates of a model; `pricing.Rates` is one."""

    @property
    def max_output_tokens(self) -> int:
        """Return the most that the model can put out for one choice."""

    @property
    def hides_reasoning(self) -> bool:
        """Say whether billed tokens may be invisible in the stream."""

    def upper_bound(self, input_tokens: int, output_tokens: int) -> int:
        """Return nano-USD that so many tokens cannot exceed."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request needs before it may go."""

    nano_usd: int
    is_priced: bool
    """False: nobody knows the price, so nothing is reserved."""
    input_tokens: int
    output_tokens: int | None
    """Covered by `nano_usd`; None: all that the request can produce."""
    output_limit: int
    """All that the request can produce."""


def demand(request: Reserve, rates: Priced | None) -> Demand:
    """Return what `request` must reserve at first; `rates` None: its price is unknown."""
    input_tokens = _bounded(request.input_bytes, MAX_TOKENS)
    if rates is None:
        return Demand(0, False, input_tokens, None, 0)
    if request.endpoint in WITHOUT_OUTPUT:
        return Demand(bounded_cost(rates, input_tokens, 0), True, input_tokens, None, 0)
    choices = max(1, _bounded(request.choices, MAX_TOKENS))
    each = _bounded(request.max_output_tokens or 0, MAX_TOKENS) or rates.max_output_tokens
    limit = min(choices * each, MAX_TOKENS)
    if not request.is_streaming or rates.hides_reasoning or each <= FIRST_SLICE:
        return Demand(bounded_cost(rates, input_tokens, limit), True, input_tokens, None, limit)
    slice_tokens = min(choices * FIRST_SLICE, MAX_TOKENS)
    return Demand(bounded_cost(rates, input_tokens, slice_tokens), True, input_tokens, slice_tokens, limit)


def bounded_cost(rates: Priced, input_tokens: int, output_tokens: int) -> int:
    """Return the upper bound in nano-USD, capped just above what any budget can hold."""
    return _bounded(rates.upper_bound(input_tokens, output_tokens), MAX_AMOUNT + 1)


def next_cover(asked: int, covered: int, limit: int) -> int:
    """Return how many output tokens an extension should aim at: doubling, so that a stream asks rarely."""
    return max(asked, min(limit, 2 * covered))


def most_tokens(asked: int, aim: int, cost_of: Callable[[int], int], room_nano_usd: int) -> int | None:
    """Return the most tokens between `asked` and `aim` whose cost fits; None: not even `asked`."""
    if cost_of(asked) > room_nano_usd:
        return None
    low, high = asked, aim
    while low < high:
        middle = (low + high + 1) // 2
        if cost_of(middle) <= room_nano_usd:
            low = middle
        else:
            high = middle - 1
    return low


def _bounded(number: int, limit: int) -> int:
    return max(0, min(number, limit))
