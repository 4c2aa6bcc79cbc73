"""How much money a request must reserve: an upper bound, from bytes and tokens to nano-USD.

The bytes of a body bound its input tokens, since no tokenizer in use makes more than one token of a byte. The output
is bounded by what the request allows, or the model's maximum. All of it is reserved at once, also for a stream that
says what it wants at most: between the last covered token and the moment in which a provider notices that it was cut
off it goes on, for as long as a whole answer takes if it is fast, and bills that.

A stream that does not say it, or whose budgets accept that risk for all, needs only a slice at a time, if its every
billed token can be seen. Even so, near the cap, it reserves all that it can cost if that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from proxy.reservations import MILLION, Reserve, Tariff

MAX_AMOUNT: Final = 10**16
"""nano-USD, ten million dollars: the most that one reservation or settlement can be. No configured limit is higher."""
FIRST_SLICE: Final = 1024
"""Output tokens for each choice that a stream reserves at first: most chat answers end before."""
MAX_TOKENS: Final = 2**62
"""Counts are capped here; at any price above zero that is far more than any budget."""
WITHOUT_OUTPUT: Final = frozenset({"embeddings", "other"})
NEAR: Final = 16
"""A budget is near its cap when it has room for fewer than so many streams of the same size in full. Ours: that many
would have to outrun their slices at the same moment."""
LEAST_REQUESTS: Final = 4
"""A lease for fewer is not worth its messages."""


class Priced(Protocol):
    """What a reservation needs of the rates of a model; `pricing.Rates` is one."""

    @property
    def max_output_tokens(self) -> int:
        """Return the most that the model can put out for one choice."""

    @property
    def hides_reasoning(self) -> bool:
        """Say whether billed tokens may be invisible in the stream."""

    def upper_bound(self, input_tokens: int, output_tokens: int, tool_calls: int = 0) -> int:
        """Return nano-USD that so many tokens and runs of tools cannot exceed."""


class Demand(msgspec.Struct, frozen=True):
    """What a request needs before it may go."""

    nano_usd: int
    is_priced: bool
    """False: nobody knows the price, so nothing is reserved."""
    input_tokens: int
    output_tokens: int | None
    """Covered by `nano_usd`; None: all that the request can produce."""
    output_limit: int
    """All that the request can produce."""
    whole_nano_usd: int
    """What all of it can cost."""

    def with_room(self, room_nano_usd: int | None) -> Demand:
        """Return this demand as it should be where so much is left; None: nothing is limited."""
        if self.output_tokens is None or not is_near(self.whole_nano_usd, room_nano_usd):
            return self
        return msgspec.structs.replace(self, nano_usd=self.whole_nano_usd, output_tokens=None)


def demand(request: Reserve, rates: Priced | None, units_nano_usd: int | None = None) -> Demand:
    """Return what `request` must reserve at first.

    `rates` None: its tokens have no price. `units_nano_usd`: what its other units can cost; None: they have none.
    """
    input_tokens = _bounded(request.input_bytes + request.unseen_tokens, MAX_TOKENS)
    if not request.is_bounded or (rates is None and units_nano_usd is None):
        return Demand(0, False, input_tokens, None, 0, 0)
    if rates is None:
        units = _bounded(units_nano_usd or 0, MAX_AMOUNT + 1)
        return Demand(units, True, input_tokens, None, 0, units)
    limit = output_limit(request, rates)
    tool_calls = _bounded(request.tool_calls, MAX_TOKENS)
    whole = _bounded(bounded_cost(rates, input_tokens, limit, tool_calls) + (units_nano_usd or 0), MAX_AMOUNT + 1)
    choices = max(1, request.choices)
    if limit <= choices * FIRST_SLICE or rates.hides_reasoning or not _is_sliced(request):
        return Demand(whole, True, input_tokens, None, limit, whole)
    slice_tokens = choices * FIRST_SLICE
    return Demand(bounded_cost(rates, input_tokens, slice_tokens), True, input_tokens, slice_tokens, limit, whole)


def plain_cost(request: Reserve, tariff: Tariff) -> int:
    """Return what `demand` does where tokens are all that a request costs, and its whole is reserved at once.

    In one step: a gateway does it for every request that it admits by itself.
    """
    tokens = (request.input_bytes + request.unseen_tokens) * tariff.input_nano_per_mtok
    if request.endpoint not in WITHOUT_OUTPUT:
        output = request.choices * (request.max_output_tokens or tariff.max_output_tokens)
        tokens += output * tariff.output_nano_per_mtok
    nano_usd = -(-tokens // MILLION) + tariff.request_nano
    return nano_usd if nano_usd <= MAX_AMOUNT else MAX_AMOUNT + 1


def output_limit(request: Reserve, rates: Priced) -> int:
    """Return all the tokens that the request can put out."""
    if request.endpoint in WITHOUT_OUTPUT:
        return 0
    each = request.max_output_tokens
    limit = max(1, request.choices) * (each if each is not None and each > 0 else rates.max_output_tokens)
    return limit if limit <= MAX_TOKENS else MAX_TOKENS


def _is_sliced(request: Reserve) -> bool:
    """Say whether output tokens are all that a stream will cost more: then it can be covered bit by bit."""
    return request.is_sliced and not (request.tool_calls or request.speed or request.units)


def bounded_cost(rates: Priced, input_tokens: int, output_tokens: int, tool_calls: int = 0) -> int:
    """Return the upper bound in nano-USD, capped just above what any budget can hold."""
    return _bounded(rates.upper_bound(input_tokens, output_tokens, tool_calls), MAX_AMOUNT + 1)


def is_near(whole_nano_usd: int, room_nano_usd: int | None) -> bool:
    """Say whether a stream should hold its whole cost at once: it fits, and not many more would."""
    return room_nano_usd is not None and whole_nano_usd <= room_nano_usd < NEAR * whole_nano_usd


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
    if 0 <= number <= limit:
        return number
    return 0 if number < 0 else limit
