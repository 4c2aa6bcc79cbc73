"""Verdict: from an exchange and its reading to usage, cost and what the ledger is told.

The rule of the money: nothing that was not billed is charged, nothing that may have been billed is free.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from pricing import Cost, PriceBook, Usage
from proxy.recorder.estimate import estimated_usage
from proxy.records import Exchange, Outcome, Reading
from proxy.store import Settlement, Totals, UsageSource

NOT_BILLED: Final = Cost(nano_usd=0, source="table")
"""A rule of ours: what was not forwarded, or was answered with an error, is billed by nobody."""
UNKNOWN: Final = Cost(nano_usd=None, source="unknown", reason="no usage")


class Verdict(msgspec.Struct, frozen=True):
    """What an exchange consumed and cost."""

    outcome: Outcome
    usage: Usage | None
    totals: Totals
    usage_source: UsageSource
    cost: Cost
    settlement: Settlement
    """What the ledger would be told, if it held a reservation."""

    @property
    def is_unpriced(self) -> bool:
        """Say whether tokens were consumed that nobody can price."""
        return self.usage is not None and self.cost.nano_usd is None


def judge(exchange: Exchange, reading: Reading, book: PriceBook) -> Verdict:
    """Decide what an exchange consumed and cost."""
    outcome = final_outcome(exchange, reading)
    if is_certainly_free(exchange):
        return Verdict(outcome, None, Totals(), "none", NOT_BILLED, Settlement(0, None, None, is_estimate=False))
    usage, source = _usage(exchange, reading)
    cost = UNKNOWN if usage is None else price(exchange, reading, usage, book)
    nano_usd = cost.nano_usd
    if source != "provider" and _may_hide_more(exchange, reading, book):
        nano_usd = None
    totals = Totals.of(usage)
    settlement = Settlement(
        nano_usd,
        totals.input,
        totals.output,
        is_estimate=source != "provider",
    )
    return Verdict(outcome, usage, totals, source, cost, settlement)


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


def price(exchange: Exchange, reading: Reading, usage: Usage, book: PriceBook) -> Cost:
    """Return what the usage cost."""
    begin = exchange.begin
    return book.cost(
        usage,
        models=[model for model in (reading.model, reading.model_requested) if model is not None],
        provider=begin.provider,
        at=datetime.fromtimestamp(begin.started_at_ms / 1000, UTC),
        tier=reading.service_tier,
        free=begin.is_free,
    )


def _usage(exchange: Exchange, reading: Reading) -> tuple[Usage | None, UsageSource]:
    if reading.usage is not None and _says_enough(reading.usage):
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
    if reading.endpoint == "responses" and not reading.is_streaming:
        return True  # Queued in the background: it is produced and billed later.
    model = reading.model or reading.model_requested
    at = datetime.fromtimestamp(exchange.begin.started_at_ms / 1000, UTC)
    rates = book.rates(model, provider=exchange.begin.provider, at=at) if model else None
    return rates is not None and rates.hides_reasoning and reading.endpoint != "embeddings"


def _is_success(exchange: Exchange) -> bool:
    status = exchange.end.status
    return status is not None and 200 <= status < 300
