"""A receipt: what a request cost, line by line, who says so, and what the provider's cache saved."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pricing import Usage
from pricing.tariff import units_per_price
from proxy.store.detail import Detail
from proxy.store.query import RequestRow

_READS: Final = ("cache_read", "cache_read_audio", "cache_read_image", "cache_read_video")


class ReceiptLine(msgspec.Struct, frozen=True):
    """One kind of what was consumed."""

    bucket: str
    """As in `pricing.Usage`: input_uncached, cache_read, output_text, …"""
    count: int | None
    """Tokens, or units of its own. None: unknown."""
    nano_usd: int | None
    """None: it has no price."""
    per: int
    """So many of them have the price below."""
    price_usd: float | None
    """What so many cost, as it comes out of the amount."""


class Receipt(msgspec.Struct, frozen=True):
    """What a request cost."""

    lines: tuple[ReceiptLine, ...]
    nano_usd: int | None
    """Of all. None: unknown."""
    source: str
    """provider, override, table or unknown."""
    model: str | None
    """The price table's name of the model, or the pattern of the override."""
    version: str | None
    price_date: str | None
    """ISO date from which the price is in force."""
    reason: str | None
    """Why there is no price."""
    saved_nano_usd: int | None
    """What reading from the cache saved. None: nothing was read, or nobody can say."""
    is_pending: bool
    """The provider bills later."""


def read_receipt(row: RequestRow, known: Detail) -> Receipt:
    """Return what a request cost, line by line."""
    usage = _decoded(known.usage_buckets, Usage)
    components = _decoded(known.cost_components, dict[str, int]) or {}
    counts: dict[str, int | None] = usage.counts() if usage is not None else {}
    names = [name for name in (*Usage.INPUT, *Usage.OUTPUT, *Usage.UNITS) if name in counts or name in components]
    names += [name for name in components if name not in names]
    lines = tuple(_line(name, counts.get(name), components.get(name)) for name in names)
    return Receipt(
        lines=tuple(line for line in lines if line.count or line.nano_usd),
        nano_usd=row.cost_nano_usd,
        source=row.cost_source,
        model=known.cost_model,
        version=row.price_version,
        price_date=known.price_date,
        reason=known.cost_reason,
        saved_nano_usd=_saved({line.bucket: line for line in lines}),
        is_pending=known.pending_id is not None,
    )


def _line(bucket: str, count: int | None, nano_usd: int | None) -> ReceiptLine:
    is_counted = bucket in (*Usage.INPUT, *Usage.OUTPUT, *Usage.UNITS)
    per = units_per_price(bucket) if is_counted else 1
    price = nano_usd / 1e9 / count * per if nano_usd is not None and count else None
    return ReceiptLine(bucket, count, nano_usd, per, price)


def _saved(lines: dict[str, ReceiptLine]) -> int | None:
    """Return what the tokens read from the cache would have cost at the price of the others, less what they did."""
    plain = lines.get("input_uncached")
    if plain is None or not plain.count or plain.nano_usd is None:
        return None
    read = [line for name in _READS if (line := lines.get(name)) and line.count and line.nano_usd is not None]
    saved = sum(round((line.count or 0) * plain.nano_usd / plain.count) - (line.nano_usd or 0) for line in read)
    return saved if saved > 0 else None


def _decoded(text: str | None, type_: Any) -> Any:
    """Decode what an earlier version of this program wrote; None: it is not there, or no longer understood."""
    try:
        return None if text is None else msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError:
        return None
