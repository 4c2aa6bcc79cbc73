"""Rates: hard upper bounds on what a request can cost, for reserving before it is sent.

The bound holds for every split of the tokens into buckets, every long-context step, every service tier the request
did not exclude and every price in force around the day. It is a bound over the model that was asked for: a provider
that answers with a dearer one is outside it.
"""

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

import msgspec

from pricing.limits import ModelLimits
from pricing.tariff import NANO, TOOL_BUCKETS, Tariff, units_per_price
from pricing.usage import Usage

_PER_TOKENS = 1_000_000


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds on the prices of one model."""

    model: str
    """The price table's name of the model, or the pattern of the override."""
    input_nano_per_mtok: int
    """Dearest price of an input token, nano-USD per million."""
    output_nano_per_mtok: int
    """Dearest price of an output token, nano-USD per million."""
    request_nano: int
    """Price of the request itself, nano-USD."""
    tool_call_nano: int
    """Dearest price of a tool run by the provider, nano-USD per call."""
    max_output_tokens: int
    """The most tokens the model can put out, reasoning included."""
    hides_reasoning: bool
    """The provider may bill reasoning tokens that cannot be seen in the stream."""

    def upper_bound(self, input_tokens: int, output_tokens: int, tool_calls: int = 0) -> int:
        """Return nano-USD that no request of at most that many tokens and provider-run tools can exceed."""
        tokens = input_tokens * self.input_nano_per_mtok + output_tokens * self.output_nano_per_mtok
        return -(-tokens // _PER_TOKENS) + self.request_nano + tool_calls * self.tool_call_nano


def bound(tariffs: Iterable[Tariff], limits: ModelLimits) -> Rates | None:
    """Bound every one of these tariffs. None: none of them prices tokens or requests, so there is nothing to bound."""
    options = list(tariffs)
    if not any(option.free or option.request_usd or _has_token_price(option) for option in options):
        return None
    return Rates(
        model=options[0].model,
        input_nano_per_mtok=_dearest(options, Usage.INPUT, per=_PER_TOKENS),
        output_nano_per_mtok=_dearest(options, Usage.OUTPUT, per=_PER_TOKENS),
        request_nano=max(_ceiling(option.request_usd) for option in options),
        tool_call_nano=_dearest(options, TOOL_BUCKETS, per=1),
        max_output_tokens=limits.max_output_tokens,
        hides_reasoning=limits.hides_reasoning,
    )


def _has_token_price(tariff: Tariff) -> bool:
    return any(tariff.steps(bucket) is not None for bucket in (*Usage.INPUT, *Usage.OUTPUT))


def _dearest(tariffs: Iterable[Tariff], buckets: Iterable[str], per: int) -> int:
    names = list(buckets)
    return max(
        (
            _ceiling(price * tariff.multiplier / units_per_price(bucket) * per)
            for tariff in tariffs
            for bucket in names
            for _, price in tariff.steps(bucket) or ()
        ),
        default=0,
    )


def _ceiling(usd: Decimal) -> int:
    return int((usd * NANO).to_integral_value(ROUND_CEILING))
