"""Amounts of money as people read them. An unknown amount is never shown as zero."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

NANO: Final = 1_000_000_000
"""nano-USD in a dollar."""


def money(nano_usd: int | None) -> str:
    """Write an amount: `no price`, $0, $0.0123 (three significant digits), $1,234.56."""
    if nano_usd is None:
        return "no price"
    sign, amount = ("-" if nano_usd < 0 else ""), Decimal(abs(nano_usd)) / NANO
    if amount == 0:
        return "$0"
    if amount < 1:
        rounded = round_significant(amount, 3)
        if rounded < 1:
            return f"{sign}${rounded:f}"
    return f"{sign}${amount.quantize(Decimal('0.01'), rounding=ROUND_HALF_EVEN):,f}"


def exact(nano_usd: int) -> str:
    """Write an amount in dollars for programs, to the last nano-USD: 12345.67."""
    return f"{(Decimal(nano_usd) / NANO).normalize():f}"


def round_significant(amount: Decimal, digits: int) -> Decimal:
    """Round a positive `amount` to so many significant digits."""
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - digits + 1), rounding=ROUND_HALF_EVEN)
