"""Sampling: of which exchanges the bodies are kept.

What is left out is only what was said. The row of every exchange is kept, with its tokens and its cost, and counters
and budgets see all of them: who pays has to be able to add up what was spent.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.config import Sample

_SCALE: Final = float(1 << 64)


def is_chosen(exchange_id: str, duration_us: int, sample: Sample, *, is_error: bool) -> bool:
    """Say whether the bodies of an exchange are kept; the same for the same id, whoever asks and whenever."""
    if sample.rate >= 1 or ("errors" in sample.always and is_error):
        return True
    if "slow" in sample.always and duration_us >= sample.slow * 1_000_000:
        return True
    # The letters of a UUIDv7 begin with the time; their digest is spread evenly.
    place = int.from_bytes(blake2b(exchange_id.encode(), digest_size=8).digest(), "big")
    return place / _SCALE < sample.rate
