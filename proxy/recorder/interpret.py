"""Interpret: from an exchange to the record that is stored. Pure, and the only place where opinions are formed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pricing import PriceBook, Totals
from proxy import wire
from proxy.config import Config
from proxy.recorder.bills import Bills
from proxy.recorder.echoes import Echoes
from proxy.recorder.keep import Keeper
from proxy.recorder.tally import Tallier
from proxy.recorder.verdict import UNKNOWN, Verdict, judge, may_have_cost, shown_ids
from proxy.records import Exchange, Feedback, Reading, TokenTimes
from proxy.store import Record, Settlement, Tally


class Interpreter:
    """Makes records of exchanges."""

    def __init__(self, book: PriceBook, config: Config, bills: Bills, *, secret: bytes = b"") -> None:
        """`secret`: what the pseudonyms of redacted users are keyed with."""
        self._book = book
        self._bills = bills
        self._echoes = Echoes(config)
        self._keeper = Keeper(config.record, secret)
        self._tallier = Tallier(book, config.metrics.labels)

    def records(self, exchanges: Sequence[Exchange]) -> list[Record]:
        """Return the records of exchanges. Whatever is raised is the fault of one of them.

        Step by step for all of them: the code of a step stays warm, and the store is asked once.
        """
        readings = [wire.read(exchange) for exchange in exchanges]
        ids = [shown_ids(reading) for reading in readings]
        payers = self._bills.payers(zip((exchange.begin for exchange in exchanges), ids, strict=True))
        verdicts = [self._judged(*each, payers) for each in zip(exchanges, readings, ids, strict=True)]
        return [self._record(*each) for each in zip(exchanges, readings, verdicts, strict=True)]

    def record(self, exchange: Exchange) -> Record:
        """Return the record of an exchange. Whatever is raised is its fault."""
        return self.records((exchange,))[0]

    def stored(self) -> None:
        """Say that the records made so far are stored."""
        self._bills.stored()

    def facts(self, exchange: Exchange) -> Record:
        """Return a record of the facts alone, for an exchange that cannot be interpreted or stored as it is."""
        reading = Reading(reader="none", endpoint="other", problems=("record",))
        settlement = Settlement(None, None, None, is_estimate=True)
        verdict = Verdict(
            exchange.end.outcome, None, Totals(), "none", UNKNOWN, settlement, is_unpriced=may_have_cost(exchange)
        )
        silent = self._echoes.without(exchange)
        has_echo = silent is not exchange
        exchange = silent
        kept = self._keeper.facts(exchange, reading, verdict)
        return Record(
            exchange=kept.exchange,
            outcome=exchange.end.outcome,
            reading=kept.reading,
            usage=None,
            totals=verdict.totals,
            usage_source="none",
            cost=UNKNOWN,
            is_unpriced=verdict.is_unpriced,
            settlement=settlement if exchange.begin.is_reserved else None,
            request=kept.request,
            response=kept.response,
            privacy=kept.privacy,
            has_echo=has_echo,
            pseudonyms=kept.pseudonyms,
            tallies=(*self._tallier.tallies(exchange, reading, verdict, TokenTimes()), *kept.tallies),
        )

    def feedback(self, said: Feedback) -> tuple[Feedback, tuple[Tally, ...]]:
        """Return what may be stored of what somebody says of an answer, and what is to be counted."""
        return self._keeper.keep_feedback(said)

    def _judged(
        self, exchange: Exchange, reading: Reading, ids: Sequence[str], payers: Mapping[tuple[str, str], str]
    ) -> Verdict:
        paid = self._bills.paid_by_others(exchange.begin, ids, payers)
        verdict = judge(exchange, reading, self._book, paid)
        if verdict.bills or verdict.pending_id is not None:
            self._bills.note(exchange.begin, verdict.bills, verdict.pending_id)
        return verdict

    def _record(self, exchange: Exchange, reading: Reading, verdict: Verdict) -> Record:
        times = wire.token_times(exchange, reading)
        silent = self._echoes.without(exchange)
        has_echo = silent is not exchange
        if has_echo:
            exchange, reading = silent, self._echoes.without_text(reading)
        is_error = is_failure(exchange, reading, verdict)
        kept = self._keeper.keep(exchange, reading, verdict, is_error=is_error)
        tallies = self._tallier.tallies(exchange, reading, verdict, times)
        return Record(
            exchange=kept.exchange,
            outcome=verdict.outcome,
            reading=kept.reading,
            usage=verdict.usage,
            totals=verdict.totals,
            usage_source=verdict.usage_source,
            cost=kept.cost,
            is_unpriced=verdict.is_unpriced,
            settlement=verdict.settlement if exchange.begin.is_reserved and not verdict.pending_id else None,
            charges=kept.charges,
            bills=verdict.bills,
            resolves=self._bills.awaiting(exchange.begin, _shown(reading, verdict)),
            pending_id=verdict.pending_id,
            times=times,
            request=kept.request,
            response=kept.response,
            answer=answer_text(kept.reading) if kept.response.head is not None else "",
            privacy=kept.privacy,
            has_echo=has_echo,
            pseudonyms=kept.pseudonyms,
            tallies=(*tallies, *kept.tallies),
        )


def answer_text(reading: Reading) -> str:
    """Return what an answer says, tools it calls included."""
    calls = [part for call in reading.tool_calls for part in (call.name, call.arguments)]
    return "\n".join(filter(None, (reading.output_text, reading.reasoning_text, *calls)))


def _shown(reading: Reading, verdict: Verdict) -> tuple[str, ...]:
    """Return the ids whose cost stands in a record; a batch's results name the batch and pay for its lines."""
    return (*verdict.bills, reading.response_id) if verdict.bills and reading.response_id else verdict.bills


def is_failure(exchange: Exchange, reading: Reading, verdict: Verdict) -> bool:
    """Say whether an exchange counts as an error for the policy `bodies: errors`."""
    status = exchange.end.status
    return verdict.outcome != "completed" or status is None or status >= 400 or reading.error_type is not None
