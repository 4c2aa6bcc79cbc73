"""From the `pricing:` section to the price book that ledger and recorder share."""

from __future__ import annotations

from datetime import date

from pricing import Override, PriceBook
from proxy.config.schema import PriceOverride, Pricing


def price_book(section: Pricing) -> PriceBook:
    """Return the price table with the operator's overrides in front of it."""
    return PriceBook([_override(row) for row in section.overrides])


def _override(row: PriceOverride) -> Override:
    return Override(
        model=row.model,
        provider=row.provider,
        alias_of=row.alias_of,
        multiplier=row.multiplier,
        input=row.input,
        output=row.output,
        cache_read=row.cache_read,
        cache_write=row.cache_write,
        per_request=row.per_request,
        free=row.free,
        effective_from=date.fromisoformat(row.effective_from) if row.effective_from else None,
        effective_to=date.fromisoformat(row.effective_to) if row.effective_to else None,
    )
