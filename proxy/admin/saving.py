"""What cached input saved: the tokens read from providers' caches, at the difference of the prices in force.

An estimate: it takes the list price of the model at one day, and takes off what writing to the cache cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from pricing import PriceBook, Usage
from proxy.config.prices import price_book
from proxy.config.schema import Pricing

_TOKENS = 1000
"""Few enough that no price for long contexts applies."""


class Savings:
    """Prices of cached input, over one price book, loaded when it is first asked."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._book: PriceBook | None = None
        self._per_token = cache(self._compute)

    def nano_usd(
        self, model: str, providers: Sequence[str], at: datetime, cached_tokens: int, written_tokens: int
    ) -> int | None:
        """Return what was saved, negative when writing cost more than reading saved; None: nobody knows the price."""
        if not cached_tokens and not written_tokens:
            return 0
        prices = self._per_token(model, tuple(providers), at.replace(hour=0, minute=0, second=0, microsecond=0))
        return None if prices is None else round(cached_tokens * prices[0] + written_tokens * prices[1])

    def _compute(self, model: str, providers: tuple[str, ...], at: datetime) -> tuple[float, float] | None:
        """Return what a token saves that is read from the cache, and one that is written to it."""
        self._book = self._book or price_book(self._pricing)
        for provider in (*providers, None):
            uncached, read, written = (
                self._book.cost(usage, models=[model], provider=provider, at=at).nano_usd
                for usage in (
                    Usage(input_uncached=_TOKENS),
                    Usage(input_uncached=0, cache_read=_TOKENS),
                    Usage(input_uncached=0, cache_write=_TOKENS),
                )
            )
            if uncached is not None:
                saved = 0 if read is None else uncached - read
                lost = 0 if written is None else uncached - written
                return saved / _TOKENS, lost / _TOKENS
        return None
