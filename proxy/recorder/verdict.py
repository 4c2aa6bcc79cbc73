"""Verdict: from an exchange and its reading to usage, cost and what the ledger is told.

The rule of the money: nothing that was not billed is charged, nothing that may have been billed is free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from pricing import Cost, PriceBook, Usage, combined
from proxy.operations import Operation, find_operation
from proxy.recorder.estimate import estimated_usage
from proxy.records import Charge, Exchange, Outcome, Reading
from proxy.store import Settlement, Totals, UsageSource

NOT_BILLED: Final = Cost(nano_usd=0, source="table")
"""A rule of ours: what was not forwarded, or was answered with an error, is billed by nobody."""
UNKNOWN: Final = Cost(nano_usd=None, source="unknown", reason="no usage")
PENDING: Final = Cost(nano_usd=None, source="unknown", reason="billed later")
"""The provider goes on: what it costs stands in a later answer."""
NOTHING_PAID: Final[Mapping[str, str]] = MappingProxyType({})
_READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Methods that make no provider work for money, whatever the path."""


class Verdict(msgspec.Struct, frozen=True):
    """What an exchange consumed and cost."""

    outcome: Outcome
    usage: Usage | None
    totals: Totals
    usage_source: UsageSource
    cost: Cost
    settlement: Settlement
    """What the ledger would be told, if it held a reservation."""
    is_unpriced: bool = False
    """Something was consumed, and nobody can say what it costs."""
    bills: tuple[str, ...] = ()
    """Ids under which the provider bills this once, and which are paid with this record."""


def judge(exchange: Exchange, reading: Reading, book: PriceBook, paid: Mapping[str, str] = NOTHING_PAID) -> Verdict:
    """Decide what an exchange consumed and cost.

    `paid`: of the ids in `billing_ids(reading)` those that another exchange paid, with that exchange's id.
    """
    outcome = final_outcome(exchange, reading)
    operation = find_operation(exchange.begin.wire, exchange.begin.method, exchange.begin.path)
    if is_certainly_free(exchange) or _is_free_by_rule(exchange, reading, operation):
        return Verdict(outcome, None, Totals(), "none", NOT_BILLED, Settlement(0, None, None, is_estimate=False))
    if reading.is_pending:
        return Verdict(outcome, None, Totals(), "none", PENDING, Settlement(None, None, None, is_estimate=True))
    ids = billing_ids(reading)
    if ids and all(id_ in paid for id_ in ids):
        cost = Cost(nano_usd=0, source="table", reason=f"billed with {paid[ids[0]]}")
        return Verdict(outcome, None, Totals(), "none", cost, Settlement(0, None, None, is_estimate=False))
    due = [charge for charge in reading.charges if charge.id is None or charge.id not in paid]
    usage, source = _usage(exchange, reading, due)
    cost = UNKNOWN if usage is None else price(exchange, reading, usage, due if source == "provider" else (), book)
    nano_usd = cost.nano_usd
    if source != "provider" and _may_hide_more(exchange, reading, book):
        nano_usd = None
    totals = Totals.of(usage)
    settlement = Settlement(nano_usd, totals.input, totals.output, is_estimate=source != "provider")
    is_unpriced = cost.nano_usd is None and (usage is not None or _consumed(exchange, operation))
    bills = tuple(id_ for id_ in ids if id_ not in paid) if usage is not None else ()
    return Verdict(outcome, usage, totals, source, cost, settlement, is_unpriced=is_unpriced, bills=bills)


def billing_ids(reading: Reading) -> tuple[str, ...]:
    """Return the ids under which the provider bills what was read, each once."""
    if reading.is_pending:
        return ()
    ids = [charge.id for charge in reading.charges if charge.id is not None]
    return tuple(dict.fromkeys(ids)) if ids else (reading.billing_id,) if reading.billing_id is not None else ()


def final_outcome(exchange: Exchange, reading: Reading) -> Outcome:
    """Return the outcome of the whole: the gateway relays bytes and cannot know that a stream lacks its end."""
    outcome = exchange.end.outcome
    if outcome == "completed" and _is_success(exchange) and reading.error_type is not None:
        return "upstream_error"  # told inside an answer that began well
    lacks_end = reading.is_streaming and reading.has_ended is False and exchange.response.is_whole
    return "truncated" if outcome == "completed" and lacks_end and _is_success(exchange) else outcome


def is_certainly_free(exchange: Exchange) -> bool:
    """Say whether the exchange cost nothing for certain: never dispatched, or the provider answered with an error."""
    end = exchange.end
    if end.outcome == "interrupted":
        return False
    if end.dispatched_us is None:
        return True  # A refusal after dispatch is a stream that was cut: what had passed was billed.
    return end.response_head_us is not None and end.status is not None and not _is_success(exchange)


def price(exchange: Exchange, reading: Reading, usage: Usage, due: Sequence[Charge], book: PriceBook) -> Cost:
    """Return what the usage cost: the sum of the charges that are due where there are some, else the whole."""
    if not due or usage.reported_cost_nano_usd is not None:
        return _price_of(exchange, reading, Charge(usage=usage), book)
    return combined(_price_of(exchange, reading, charge, book) for charge in due)


def _price_of(exchange: Exchange, reading: Reading, charge: Charge, book: PriceBook) -> Cost:
    begin = exchange.begin
    models = [charge.model] if charge.model else [reading.model, reading.model_requested]
    return book.cost(
        charge.usage,
        models=[model for model in models if model is not None],
        provider=begin.provider,
        at=datetime.fromtimestamp(begin.started_at_ms / 1000, UTC),
        tier=charge.service_tier or reading.service_tier,
        processing=charge.processing or reading.processing,
        speed=charge.speed or reading.speed,
        free=begin.is_free,
    )


def _is_free_by_rule(exchange: Exchange, reading: Reading, operation: Operation | None) -> bool:
    """Say whether an operation costs nothing by its nature: listing, counting, reading what was billed before."""
    if reading.usage is not None or reading.charges or reading.is_pending:
        return False
    if operation is None:
        return exchange.begin.method in _READING_METHODS
    return operation.billing == "nothing" and exchange.end.outcome != "interrupted"


def _consumed(exchange: Exchange, operation: Operation | None) -> bool:
    """Say whether the provider worked for money, or may have: nothing is free because it was not understood."""
    if exchange.begin.is_free or not _was_answered(exchange) or not _is_success(exchange):
        return False
    return operation is None or operation.billing in ("tokens", "units")


def _usage(exchange: Exchange, reading: Reading, due: Sequence[Charge]) -> tuple[Usage | None, UsageSource]:
    if len(due) < len(reading.charges):
        return Usage.total(charge.usage for charge in due), "provider"
    if reading.usage is not None and (_says_enough(reading.usage) or exchange.begin.is_free):
        return reading.usage, "provider"
    if not _was_answered(exchange):
        return None, "none"
    usage = estimated_usage(exchange, reading)
    return usage, "none" if usage is None else "estimated"


def _says_enough(usage: Usage) -> bool:
    """Say whether the totals are there; None in a remainder means that the provider's figure was unusable."""
    return usage.input_uncached is not None and usage.output_text is not None


def _was_answered(exchange: Exchange) -> bool:
    if exchange.end.outcome == "interrupted":
        return exchange.response.size > 0
    return exchange.end.response_head_us is not None


def _may_hide_more(exchange: Exchange, reading: Reading, book: PriceBook) -> bool:
    """Say whether more may have been billed than an estimate can see, so that the whole reservation is spent."""
    if exchange.begin.is_free:
        return False
    if exchange.end.outcome == "interrupted" or not _was_answered(exchange):
        return True
    model = reading.model or reading.model_requested
    at = datetime.fromtimestamp(exchange.begin.started_at_ms / 1000, UTC)
    rates = book.rates(model, provider=exchange.begin.provider, at=at) if model else None
    return rates is not None and rates.hides_reasoning and reading.endpoint != "embeddings"


def _is_success(exchange: Exchange) -> bool:
    status = exchange.end.status
    return status is not None and 200 <= status < 300
