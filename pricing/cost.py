"""Cost: what one request is thought to have cost, and why.

A cost is an opinion about facts: it says where it comes from and can be computed again. Unknown is None, never 0.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

CostSource: TypeAlias = Literal["provider", "override", "table", "unknown"]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is thought to have cost."""

    nano_usd: int | None
    """Cost in nano-USD (1e-9 USD), rounded half-even once. None: unknown."""
    source: CostSource
    """Who says so: the provider's own figure, the user's override, the price table, or nobody."""
    version: str | None = None
    """Version of what says so: `genai-prices 0.2.3`, `config`. None: reported by the provider."""
    effective_date: str | None = None
    """ISO date from which the price used is in force. None: the price has no start date."""
    model: str | None = None
    """The price table's name of the model, or the pattern of the override, that matched."""
    components: dict[str, int] = {}
    """Nano-USD by bucket, each rounded by itself: the sum may differ from the total by a nano-USD or two.

    When the cost is unknown these are the buckets that do have a price: a lower bound.
    """
    reason: str | None = None
    """Why the cost is unknown. None: it is known."""


def combined(costs: Iterable[Cost]) -> Cost:
    """Add up the costs of the parts of one request, each priced at its own model; unknown if any part is.

    Some responses carry usage of several models: Anthropic `iterations`, OpenAI `tool_usage.image_gen`.
    The head of the first cost (source, version, model) speaks for all.
    """
    parts = list(costs)
    if not parts:
        return Cost(nano_usd=None, source="unknown", reason="nothing to add up")
    amounts = [part.nano_usd for part in parts if part.nano_usd is not None]
    components: dict[str, int] = {}
    for part in parts:
        for bucket, nano_usd in part.components.items():
            components[bucket] = components.get(bucket, 0) + nano_usd
    unknown = next((part for part in parts if part.nano_usd is None), None)
    if unknown is not None:
        return msgspec.structs.replace(unknown, components=components)
    return msgspec.structs.replace(parts[0], nano_usd=sum(amounts), components=components)
