"""Prices by hand, so that a record is compared with arithmetic that is not the product's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_PER_MTOK = {
    # USD per million tokens: input, cached input, output. Price lists as of 2026-11 in genai-prices 0.2.3.
    # Anthropic bills what it writes into a cache for five minutes at 1.25 times the price of input.
    ("openai", "gpt-4o-mini"): ("0.15", "0.075", "0.60"),
    ("openai", "gpt-5"): ("1.25", "0.125", "10"),
    ("openai", "text-embedding-3-small"): ("0.02", "0.02", "0"),
    ("groq", "llama-3.3-70b-versatile"): ("0.59", "0.59", "0.79"),
    ("anthropic", "claude-haiku-4-5"): ("1", "0.1", "5"),
    ("gemini", "gemini-2.5-flash"): ("0.3", "0.03", "2.5"),
}


def nano_usd(wire: str, model: str, usage: dict[str, Any]) -> int | None:
    """Return what the provider would bill for one line of its truth log; None for a model that is not listed here."""
    known = [name for provider, name in _PER_MTOK if provider == wire and model.startswith(name)]
    if not known:
        return None
    fresh, cached, output = map(Decimal, _PER_MTOK[wire, max(known, key=len)])
    cached_tokens = usage.get("cached_tokens") or 0
    written_tokens = usage.get("cache_write_5m_tokens") or 0
    millionths = (
        fresh * (usage["input_tokens"] - cached_tokens - written_tokens)
        + cached * cached_tokens
        + fresh * Decimal("1.25") * written_tokens
        + output * (usage["output_tokens"] or 0)
    )
    return int(millionths * 1000)
