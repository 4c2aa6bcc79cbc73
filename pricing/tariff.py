"""Tariff: the prices in force for one model at one moment, and the sum they make of a usage.

The buckets of a usage are disjoint, so each has exactly one price: that of the most specific key the tariff knows.
The arithmetic is `count * price`, in Decimal, rounded once at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from pricing.cost import Cost, CostSource
from pricing.usage import Usage

NANO = 10**9
"""Nano-USD in a USD."""

LARGEST_COUNT = 10**12
"""More of anything in one request is not believed. Ours: a thousand times the largest context of 2026, and at the
dearest price of the table still within the 64-bit integers of the store."""

Steps: TypeAlias = tuple[tuple[int, Decimal], ...]
"""A price in USD with its long-context steps: `(threshold, price)` ascending; a price holds above its threshold."""

TOKEN_KEYS: Mapping[str, tuple[str, ...]] = {
    "input_uncached": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_30m": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_12h": ("cache_write_12h_mtok", "cache_write_mtok", "input_mtok"),
    "input_audio": ("input_audio_mtok", "input_mtok"),
    "input_image": ("input_image_mtok", "input_mtok"),
    "input_video": ("input_video_mtok", "input_mtok"),
    "cache_read_audio": ("cache_audio_read_mtok", "cache_read_mtok", "input_audio_mtok", "input_mtok"),
    "cache_read_image": ("cache_image_read_mtok", "cache_read_mtok", "input_image_mtok", "input_mtok"),
    "cache_read_video": ("cache_video_read_mtok", "cache_read_mtok", "input_video_mtok", "input_mtok"),
    "output_text": ("output_mtok",),
    "output_reasoning": ("output_reasoning_mtok", "output_mtok"),
    "output_audio": ("output_audio_mtok", "output_mtok"),
    "output_image": ("output_image_mtok", "output_mtok"),
    "output_video": ("output_video_mtok", "output_mtok"),
    "output_citation": ("output_citation_mtok", "output_mtok"),
}
"""By bucket, the price table's keys from the most specific to the most general, in USD per million tokens."""

UNIT_KEYS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "web_searches": (("web_searches_kcount",), 1_000),
    "social_searches": (("social_searches_kcount",), 1_000),
    "file_searches": (("storage_searches_kcount",), 1_000),
    "code_executions": (("code_executions_kcount",), 1_000),
    "containers": (("container",), 1),
    "rerank_searches": (("rerank_searches_kcount",), 1_000),
    "images": (("image",), 1),
    "video_ms": (("video_seconds",), 1_000),
    "input_characters": (("input_mchars",), 1_000_000),
    "input_messages": (("input_text_messages_kcount",), 1_000),
    "document_pages": (("input_document_kpages",), 1_000),
    "annotated_document_pages": (("input_annotated_document_kpages", "input_document_kpages"), 1_000),
    "audio_ms": (("audio_hours",), 3_600_000),
    "input_audio_ms": (("input_audio_hours", "audio_hours"), 3_600_000),
}
"""By bucket, the table's keys and how many of the bucket's units one price is for.

`container`, `image` and `video_seconds` are keys of `gaps.yaml` alone."""

TOOL_BUCKETS = ("web_searches", "social_searches", "file_searches", "code_executions", "containers")
"""What a model may decide to run on the provider's side while it answers."""

_PER_TOKENS = 1_000_000
_TOO_SHORT_LIVED = {"cache_write_1h": "cache_write_mtok", "cache_write_12h": "cache_write_mtok"}
"""A long-lived write costs more than a short-lived one, so the price of the latter must not stand in for it."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices in force for one model at one moment, for one way of processing."""

    model: str
    """The price table's name of the model, or the pattern of the override."""
    prices: Mapping[str, Steps]
    """USD by the price table's key."""
    source: CostSource
    """`table` or `override`."""
    version: str
    """Version of the source."""
    effective_date: str | None = None
    """ISO date from which these prices are in force. None: no start date."""
    multiplier: Decimal = Decimal(1)
    """Factor on every price but `per_request_usd`."""
    per_request_usd: Decimal = Decimal(0)
    """USD added once per request."""
    free: bool = False
    """Whatever is consumed costs nothing: there is `per_request_usd`, or nothing at all."""
    filled: frozenset[str] = frozenset()
    """Keys of prices that do not come from the table."""
    filled_version: str = ""
    """Version of the source when one of those was used."""
    _unit_prices: dict[str, "UnitPrice"] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `unit_price` has worked out already."""

    def steps(self, bucket: str) -> Steps | None:
        """Return the price of the bucket with its long-context steps. None: it has no price."""
        key = self.key(bucket)
        return None if key is None else self.prices[key]

    def key(self, bucket: str) -> str | None:
        """Return the key under which the bucket has its price. None: it has none."""
        keys = UNIT_KEYS[bucket][0] if bucket in UNIT_KEYS else TOKEN_KEYS[bucket]
        key = next((key for key in keys if key in self.prices), None)
        return None if key == _TOO_SHORT_LIVED.get(bucket) else key

    def price_usd(self, bucket: str, input_tokens: int) -> Decimal | None:
        """Return the price of one unit of the bucket in a request of that many input tokens. None: it has no price."""
        steps = self.unit_price(bucket).steps
        if not steps:
            return None
        return next((usd for threshold, usd in reversed(steps) if input_tokens > threshold), steps[0][1])

    def unit_price(self, bucket: str) -> "UnitPrice":
        """Return the price of one unit of the bucket."""
        known = self._unit_prices.get(bucket)
        if known is None:
            key, units = self.key(bucket), units_per_price(bucket)
            listed = () if key is None else self.prices[key]
            steps = tuple((threshold, usd * self.multiplier / units) for threshold, usd in listed)
            known = self._unit_prices[bucket] = UnitPrice(steps, key in self.filled)
        return known

    @property
    def request_usd(self) -> Decimal:
        """USD for the request itself, whatever it consumes."""
        per_thousand = self.prices.get("requests_kcount")
        fee = per_thousand[0][1] * self.multiplier / 1_000 if per_thousand else Decimal(0)
        return fee + self.per_request_usd


class UnitPrice(NamedTuple):
    """What one unit of a bucket costs."""

    steps: Steps
    """USD; empty: it has no price."""
    is_filled: bool
    """The price does not come from the table."""


def units_per_price(bucket: str) -> int:
    """Return how many units of the bucket its price in the table is for."""
    return UNIT_KEYS[bucket][1] if bucket in UNIT_KEYS else _PER_TOKENS


def charge(usage: Usage, tariff: Tariff) -> Cost:
    """Price a usage; the cost is unknown if any count that matters is unknown or has no price."""
    if tariff.free:
        fee = tariff.per_request_usd
        return _cost(tariff, fee, {"request": fee} if fee else {})
    counts = usage.counts()
    reason = _unreadable(counts, tariff)
    amounts: dict[str, Decimal] = {}
    is_filled = False
    for bucket, count in counts.items():
        if not count or not 0 < count <= LARGEST_COUNT:
            continue
        steps, is_gap = tariff.unit_price(bucket)
        price = steps[0][1] if len(steps) == 1 else tariff.price_usd(bucket, usage.input_tokens or 0)
        if price is None:
            reason = reason or f"no price for {bucket} of {tariff.model}"
        else:
            amounts[bucket] = price * count
            is_filled = is_filled or is_gap
    if request_usd := tariff.request_usd:
        amounts["request"] = request_usd
    total = None if reason else sum(amounts.values(), Decimal(0))
    return _cost(tariff, total, amounts, reason, is_filled=is_filled)


def _unreadable(counts: Mapping[str, int | None], tariff: Tariff) -> str | None:
    """Say why this usage cannot be priced at all. None: it can."""
    if not counts:
        return "no usage reported"
    unknown = []
    for bucket, count in counts.items():
        if count is None:
            unknown.append(bucket)
        elif not 0 <= count <= LARGEST_COUNT:
            return f"{bucket} is not plausible: {count}"
    if not unknown:
        return None
    for direction, (remainder, *_) in (("input", Usage.INPUT), ("output", Usage.OUTPUT)):
        if remainder in unknown and tariff.steps(remainder) is not None:
            return f"{direction} tokens unknown"
    return next((f"{unit} unknown" for unit in Usage.UNITS if unit in unknown and tariff.steps(unit)), None)


def _cost(
    tariff: Tariff,
    total: Decimal | None,
    amounts: Mapping[str, Decimal],
    reason: str | None = None,
    *,
    is_filled: bool = False,
) -> Cost:
    return Cost(
        nano_usd=None if total is None else to_nano(total),
        source="unknown" if total is None else tariff.source,
        version=tariff.filled_version if is_filled else tariff.version,
        effective_date=tariff.effective_date,
        model=tariff.model,
        components={bucket: to_nano(usd) for bucket, usd in amounts.items()},
        reason=reason,
    )


def to_nano(usd: Decimal) -> int:
    """Round USD half-even to whole nano-USD."""
    return round(usd * NANO)
