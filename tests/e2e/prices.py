"""Prices by hand, so that a record is compared with arithmetic that is not the product's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

PER_MTOK = {
    # USD per million tokens: input, cached input, output. OpenAI's price list as of 2026-11 in genai-prices 0.2.3.
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
    "gpt-5": (Decimal("1.25"), Decimal("0.125"), Decimal("10")),
    "text-embedding-3-small": (Decimal("0.02"), Decimal("0.02"), Decimal(0)),
}


def nano_usd(model: str, usage: dict[str, Any]) -> int:
    """Return what the provider would bill for one line of its truth log."""
    name = max((known for known in PER_MTOK if model.startswith(known)), key=len)
    fresh, cached, output = PER_MTOK[name]
    cached_tokens = usage.get("cached_tokens") or 0
    millionths = (
        fresh * (usage["input_tokens"] - cached_tokens)
        + cached * cached_tokens
        + output * (usage["output_tokens"] or 0)
    )
    return int(millionths * 1000)
