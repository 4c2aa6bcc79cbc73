"""Verdict: from an exchange and its reading to usage, cost and what the ledger is told.

The rule of the money: nothing that was not billed is charged, nothing that may have been billed is free. So a cost of
0 always has a reason that can be named: not forwarded, answered with an error, free by its nature, or billed with
another exchange. What was not understood has no cost at all, and is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from pricing import Cost, PriceBook, Totals, Usage, combined
from proxy.operations import Operation, find_operation
from proxy.recorder.estimate import estimated_usage
from proxy.records import SWITCHING_PROTOCOLS, Charge, Exchange, Outcome, Reading
from proxy.store import Settlement, UsageSource
from proxy.wire.session import UNFINISHED

NOT_BILLED: Final = Cost(nano_usd=0, source="table")
"""A rule of ours: what was not forwarded, or was answered with an error, is billed by nobody."""
UNKNOWN: Final = Cost(nano_usd=None, source="unknown", reason="no usage")
PENDING: Final = Cost(nano_usd=None, source="unknown", reason="billed later")
"""The provider goes on: what it costs stands in a later answer."""
_ALL_OF_IT: Final = Settlement(None, None, None, is_estimate=True)
_UNSEEN: Final = Charge(usage=Usage(input_uncached=None, output_text=None))
"""Stands for the lines of a list that were not kept, so that what was kept is a lower bound, also when repriced."""
NOTHING_PAID: Final[Mapping[str, str]] = MappingProxyType({})
_SURELY_BEHIND: Final = 2
"""A running total so many times below what was seen has stopped running; estimates err by half at most."""
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
    charges: tuple[Charge, ...] = ()
    """The parts that were priced apart; empty: the usage as a whole."""
    is_unpriced: bool = False
    """Something was consumed, and nobody can say what it costs."""
    bills: tuple[str, ...] = ()
    """Ids under which the provider bills this once, and which are paid with this record."""
    pending_id: str | None = None
    """Id under which the provider will bill this later; None: it will not, or nobody knows under which."""


def judge(exchange: Exchange, reading: Reading, book: PriceBook, paid: Mapping[str, str] = NOTHING_PAID) -> Verdict:
    """Decide what an exchange consumed and cost.

    `paid`: of the ids in `shown_ids(reading)` those that another exchange paid, with that exchange's id.
    """
    outcome = final_outcome(exchange, reading)
    operation = operation_of(exchange)
    if is_certainly_free(exchange) or _is_free_by_rule(exchange, reading, operation):
        return _free(outcome, NOT_BILLED)
    if _is_pending(reading, operation):
        return _pending(reading, paid, outcome)
    if _is_partly_listed(exchange, reading, operation) and not _is_cut(reading):
        return Verdict(outcome, None, Totals(), "none", PENDING, _ALL_OF_IT)
    due = due_charges(reading, paid)
    if reading.usage is not None and not due:
        # Who paid by reading it held no reservation, so what this one holds is spent at the price of the whole.
        whole = _priced(exchange, reading, operation, due_charges(reading, NOTHING_PAID), book, outcome)
        return _billed_with(next(iter(paid.values())), outcome, whole.settlement)
    if _is_partly_listed(exchange, reading, operation):
        due = (*due, _UNSEEN)
    return _priced(exchange, reading, operation, due, book, outcome)


def _pending(reading: Reading, paid: Mapping[str, str], outcome: Outcome) -> Verdict:
    id_ = _pending_id(reading)
    if id_ is not None and id_ in paid:
        # It was over, and was read, before the answer that began it.
        return _billed_with(paid[id_], outcome, _ALL_OF_IT)
    return Verdict(outcome, None, Totals(), "none", PENDING, _ALL_OF_IT, pending_id=id_)


def _pending_id(reading: Reading) -> str | None:
    return reading.billing_id or reading.response_id


def _billed_with(payer: str, outcome: Outcome, settlement: Settlement) -> Verdict:
    cost = Cost(nano_usd=0, source="table", reason=f"billed with {payer}")
    return Verdict(outcome, None, Totals(), "none", cost, settlement)


def _is_partly_listed(exchange: Exchange, reading: Reading, operation: Operation | None) -> bool:
    """Say whether the bills of a batch are listed line by line, and not all of them could be seen."""
    is_list = operation is not None and operation.billing == "nothing" and reading.processing == "batch"
    return is_list and bool(reading.charges) and (exchange.end.outcome != "completed" or _is_cut(reading))


def _is_cut(reading: Reading) -> bool:
    """Say whether more was relayed than is here to be read; what was not relayed will be fetched again."""
    return any(problem == "response_cut" or problem.startswith("response_encoding") for problem in reading.problems)


def _free(outcome: Outcome, cost: Cost) -> Verdict:
    return Verdict(outcome, None, Totals(), "none", cost, Settlement(0, None, None, is_estimate=False))


def _priced(
    exchange: Exchange,
    reading: Reading,
    operation: Operation | None,
    due: tuple[Charge, ...],
    book: PriceBook,
    outcome: Outcome,
) -> Verdict:
    usage, source = _usage(exchange, reading, due)
    charges = due if source == "provider" and reading.charges else ()
    is_consumed = usage is not None or _consumed(exchange, operation)
    cost = price(exchange, reading, usage, charges, book) if is_consumed or exchange.begin.is_free else UNKNOWN
    nano_usd = cost.nano_usd
    is_unfinished = UNFINISHED in reading.problems
    if is_unfinished or (source != "provider" and _may_hide_more(exchange, reading, book)):
        nano_usd = None  # What was under way is billed, too, and nobody said how much it was.
    totals = Totals() if usage is None else usage.totals()
    return Verdict(
        outcome,
        usage,
        totals,
        source,
        cost,
        Settlement(nano_usd, totals.input, totals.output, is_estimate=is_unfinished or source != "provider"),
        charges=charges,
        is_unpriced=cost.nano_usd is None and is_consumed,
        bills=_paid_with(usage, due, reading),
    )


def operation_of(exchange: Exchange) -> Operation | None:
    """Return the operation that an exchange was; None: nobody knows it."""
    begin = exchange.begin
    return find_operation(begin.wire, exchange.method, begin.path)


def billing_ids(reading: Reading) -> tuple[str, ...]:
    """Return the ids under which the provider bills what was read, each once."""
    if reading.charges:
        return () if reading.is_pending else _ids(due_charges(reading, NOTHING_PAID))
    is_billed = reading.billing_id is not None and reading.usage is not None and not reading.is_pending
    return (reading.billing_id,) if is_billed and reading.billing_id else ()


def shown_ids(reading: Reading) -> tuple[str, ...]:
    """Return the ids that another exchange may have paid: those billed here, or the one awaited."""
    awaited = _pending_id(reading) if reading.usage is None else None
    return billing_ids(reading) or (() if awaited is None else (awaited,))


def due_charges(reading: Reading, paid: Mapping[str, str]) -> tuple[Charge, ...]:
    """Return what an exchange has to pay: each part, or the whole, that nobody paid yet."""
    if reading.usage is None:
        return ()
    if reading.charges:
        named = [part if part.id else msgspec.structs.replace(part, id=reading.billing_id) for part in reading.charges]
    else:
        named = [Charge(usage=reading.usage, id=reading.billing_id)]
    return tuple([part for part in named if part.id is None or part.id not in paid])


def _paid_with(usage: Usage | None, due: Sequence[Charge], reading: Reading) -> tuple[str, ...]:
    if usage is None:
        return ()
    # An estimate pays as well: who sees the true figure later must not pay for the same work again.
    return _ids(due) or ((reading.billing_id,) if reading.billing_id else ())


def _ids(charges: Sequence[Charge]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(charge.id for charge in charges if charge.id is not None))


def final_outcome(exchange: Exchange, reading: Reading) -> Outcome:
    """Return the outcome of the whole: the gateway relays bytes and cannot know that a stream lacks its end."""
    outcome = exchange.end.outcome
    if outcome == "completed" and _is_success(exchange) and reading.error_type is not None:
        return "upstream_error"  # told inside an answer that began well
    if reading.is_streaming:
        lacks_end = reading.has_ended is False
    else:
        lacks_end = ("response_json" in reading.problems or _lacks_json(exchange)) and _ended_by_close(exchange)
    is_cut = lacks_end and exchange.response.is_whole
    return "truncated" if outcome == "completed" and is_cut and _is_success(exchange) else outcome


def _lacks_json(exchange: Exchange) -> bool:
    """Say whether JSON was announced and not one byte came."""
    if exchange.response.size or exchange.begin.method == "HEAD" or exchange.end.status in (204, 205):
        return False
    return any(name.lower() == b"content-type" and b"json" in value.lower() for name, value in exchange.end.headers)


def _ended_by_close(exchange: Exchange) -> bool:
    """Say whether nothing but the close of the connection told where the response ended."""
    framing = (b"content-length", b"transfer-encoding")
    return not any(name.lower() in framing for name, _ in exchange.end.headers)


def is_certainly_free(exchange: Exchange) -> bool:
    """Say whether the exchange cost nothing for certain: never dispatched, or the provider answered with an error."""
    end = exchange.end
    if end.outcome == "interrupted":
        return False
    if end.dispatched_us is None:
        return True  # A refusal after dispatch is a stream that was cut: what had passed was billed.
    return end.response_head_us is not None and end.status is not None and not _is_success(exchange)


def price(
    exchange: Exchange, reading: Reading, usage: Usage | None, charges: Sequence[Charge], book: PriceBook
) -> Cost:
    """Return what the usage cost: its parts where there are some, else the whole. None: nobody said what it was."""
    begin = exchange.begin
    pricer = Pricer(book, begin.provider, begin.started_at_ms, is_free=begin.is_free)
    return pricer.cost(terms_of(reading), usage, charges)


class Terms(msgspec.Struct, frozen=True):
    """What of a reading decides about prices, beside what was consumed."""

    models: tuple[str, ...] = ()
    """Candidates, the response's before the request's; the operation for what is made without a model."""
    service_tier: str | None = None
    speed: str | None = None
    processing: str | None = None
    region: str | None = None


def terms_of(reading: Reading) -> Terms:
    """Return the terms of a reading."""
    models = tuple(model for model in (reading.model, reading.model_requested) if model)
    return Terms(
        models or (reading.endpoint,),
        reading.service_tier,
        reading.speed,
        reading.processing,
        reading.region,
    )


class Pricer:
    """Prices what one exchange consumed, now or when its record is priced again."""

    def __init__(self, book: PriceBook, provider: str | None, started_at_ms: int, *, is_free: bool) -> None:
        self._book = book
        self._provider = provider
        self._at = _minute(started_at_ms // 60_000)
        self._is_free = is_free

    def cost(self, terms: Terms, usage: Usage | None, charges: Sequence[Charge]) -> Cost:
        """Return the cost of the charges, or of the usage as a whole when there are none.

        A usage that nobody knows has a cost only where none depends on it: it is free, or there is a flat fee.
        """
        if usage is None:
            cost = self._cost_of(terms, Charge(usage=Usage()))
            return UNKNOWN if cost.nano_usd is None else cost
        if not charges or usage.reported_cost_nano_usd is not None:
            return self._cost_of(terms, Charge(usage=usage))
        return combined(self._cost_of(terms, charge) for charge in charges)

    def _cost_of(self, terms: Terms, charge: Charge) -> Cost:
        return self._book.cost(
            charge.usage,
            models=(charge.model,) if charge.model else terms.models,
            provider=self._provider,
            at=self._at,
            tier=charge.service_tier or terms.service_tier,
            processing=charge.processing or terms.processing,
            speed=charge.speed or terms.speed,
            region=charge.region or terms.region,
            variant=charge.variant,
            free=self._is_free,
        )


@lru_cache(maxsize=16)
def _minute(number: int) -> datetime:
    """Return the start of a minute since 1970: no price changes within one."""
    return datetime.fromtimestamp(number * 60, UTC)


def _is_free_by_rule(exchange: Exchange, reading: Reading, operation: Operation | None) -> bool:
    """Say whether an operation costs nothing by its nature: listing, counting, reading what is billed elsewhere."""
    if operation is None:
        return exchange.method in _READING_METHODS
    # What an operation of this kind shows of a usage is billed only if the provider bills it under an id.
    return operation.billing == "nothing" and not billing_ids(reading)


def _is_pending(reading: Reading, operation: Operation | None) -> bool:
    if reading.usage is not None:
        return False
    return reading.is_pending or (operation is not None and operation.billing == "later")


def _consumed(exchange: Exchange, operation: Operation | None) -> bool:
    """Say whether the provider worked for money, or may have: nothing is free because it was not understood."""
    if exchange.begin.is_free or not is_answered(exchange):
        return False
    return operation is None or operation.billing in ("tokens", "units")


def _usage(exchange: Exchange, reading: Reading, due: Sequence[Charge]) -> tuple[Usage | None, UsageSource]:
    if reading.usage is not None and (_says_enough(reading.usage) or exchange.begin.is_free):
        if reading.usage.reported_cost_nano_usd is not None:
            return reading.usage, "provider"
        if not reading.charges:
            return _with_what_was_seen(exchange, reading, reading.usage)
        return Usage.total(charge.usage for charge in due), "provider"
    if not is_answered(exchange):
        return None, "none"
    usage = estimated_usage(exchange, reading)
    if usage is not None:
        said = reading.usage
        if said is not None and said.input_tokens is not None and usage.output_text is not None:
            usage = msgspec.structs.replace(said, output_text=usage.output_text)  # The input is known.
        return usage, "estimated"
    # Something was said, though not enough for a price: its parts are a lower bound.
    return reading.usage, "none" if reading.usage is None else "provider"


def _with_what_was_seen(exchange: Exchange, reading: Reading, usage: Usage) -> tuple[Usage, UsageSource]:
    """Return a usage with at least the output that was seen.

    What a stream says before its end are running totals, and Anthropic's begins with one token of output: whoever
    leaves early must not get the rest for nothing.
    """
    is_open = reading.is_streaming and (reading.has_ended is False or reading.error_type is not None)
    made = usage.output_tokens if is_open and not exchange.begin.is_free else None
    seen = None if made is None else estimated_usage(exchange, reading)
    if seen is None or made is None or not isinstance(usage.output_text, int):
        return usage, "provider"
    if 0 < (seen.output_tokens or 0) <= made * _SURELY_BEHIND:
        return usage, "provider"  # A total that runs along is exact, and an estimate is not.
    more = max((seen.output_tokens or 0) - made, 0)
    return msgspec.structs.replace(usage, output_text=usage.output_text + more), "estimated"


def _says_enough(usage: Usage) -> bool:
    """Say whether the totals or the cost are there; None in a remainder means that the provider's figure was unusable."""
    if usage.reported_cost_nano_usd is not None:
        return True
    return usage.input_uncached is not None and usage.output_text is not None


def may_have_cost(exchange: Exchange) -> bool:
    """Say whether an exchange of which nothing is understood may have cost something."""
    return not exchange.begin.is_free and not is_certainly_free(exchange) and is_answered(exchange)


def is_answered(exchange: Exchange) -> bool:
    """Say whether the provider began to answer."""
    if exchange.end.outcome == "interrupted":
        return exchange.response.size > 0
    return exchange.end.response_head_us is not None


def _may_hide_more(exchange: Exchange, reading: Reading, book: PriceBook) -> bool:
    """Say whether more may have been billed than an estimate can see, so that the whole reservation is spent."""
    if exchange.begin.is_free:
        return False
    if exchange.end.outcome == "interrupted" or not is_answered(exchange) or exchange.response.is_lost:
        return True
    model = reading.model or reading.model_requested
    at = datetime.fromtimestamp(exchange.begin.started_at_ms / 1000, UTC)
    rates = book.rates(model, provider=exchange.begin.provider, at=at) if model else None
    return rates is not None and rates.hides_reasoning and reading.endpoint != "embeddings"


def _is_success(exchange: Exchange) -> bool:
    status = exchange.end.status
    return status is not None and (200 <= status < 300 or status == SWITCHING_PROTOCOLS)
