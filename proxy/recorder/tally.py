"""Tallies: what one record adds to the metrics.

Names and labels are a public interface. Label values come from the configuration or the price table; whatever else a
client or a provider wrote is `other`, and what is missing is ''.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from pricing import PriceBook, Usage
from proxy.recorder.verdict import Verdict
from proxy.records import Exchange, Reading, TokenTimes
from proxy.store import Tally, Totals
from proxy.store.series import OTHER, Labels

# OpenTelemetry's names for the operations and providers that it has names for (semantic conventions v1.41.1).
_OPERATIONS: Final = {
    "chat": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "messages": "chat",
    "converse": "chat",
    "generate_content": "generate_content",
}
_PROVIDERS: Final = {
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
    "azure": "azure.ai.openai",
    "aws": "aws.bedrock",
}
_MOST: Final = 10**15
"""No single record adds more (a million dollars, a thousand million million tokens): counters must not overflow."""
_ONE_PRICE: Final = Usage(input_uncached=0)


class Tallier:
    """Turns records into tallies."""

    def __init__(self, book: PriceBook, labels: Sequence[str]) -> None:
        """`labels`: those of key, upstream and model that are wanted."""
        self._book = book
        self._wanted = frozenset(labels)
        # Names come from traffic: the cache is as bounded as the series are.
        self._name_of = lru_cache(maxsize=4096)(self._look_up)

    def tallies(self, exchange: Exchange, reading: Reading, verdict: Verdict, times: TokenTimes) -> tuple[Tally, ...]:
        """Return what the record adds."""
        return (
            *self._counts(exchange, reading, verdict),
            *self._observations(exchange, reading, verdict, times),
        )

    def model_name(self, model: str | None, provider: str | None) -> str:
        """Return the price table's name of a model, `other` or ''."""
        return self._name_of(model, provider) if model else ""

    def _counts(self, exchange: Exchange, reading: Reading, verdict: Verdict) -> Iterator[Tally]:
        begin, end = exchange.begin, exchange.end
        who = self._who(exchange, reading, verdict)
        status_class = f"{end.status // 100}xx" if end.status is not None and 100 <= end.status < 600 else ""
        what = (("endpoint", reading.endpoint), ("status_class", status_class), ("outcome", verdict.outcome))
        yield Tally("glassline_requests_total", (*who, *what), 1)
        yield Tally("glassline_records_written_total", (), 1)
        for type_, count in _token_counts(verdict.totals):
            yield Tally("glassline_tokens_total", (*who, ("type", type_)), count)
        if verdict.cost.nano_usd:
            yield Tally("glassline_cost_usd_total", who, min(verdict.cost.nano_usd, _MOST))
        if verdict.is_unpriced:
            yield Tally("glassline_unpriced_requests_total", (), 1)
        if verdict.outcome == "refused":
            yield Tally("glassline_refused_total", (*self._key(begin.key), ("reason", end.error_code or "")), 1)

    def _observations(
        self, exchange: Exchange, reading: Reading, verdict: Verdict, times: TokenTimes
    ) -> Iterator[Tally]:
        if verdict.outcome == "interrupted":
            return
        yield Tally("glassline_overhead_seconds", (), exchange.end.overhead_us / 1e6)
        operation = _OPERATIONS.get(reading.endpoint)
        if operation is None or verdict.outcome == "refused":
            return
        labels = self._gen_ai(exchange, reading, operation)
        yield Tally("gen_ai_client_operation_duration_seconds", labels, exchange.end.ended_us / 1e6)
        totals = verdict.totals
        for type_, count in (("input", totals.input), ("output", totals.output)):
            if count is not None:
                typed = (*labels, ("gen_ai_token_type", type_))
                yield Tally("gen_ai_client_token_usage", typed, min(count, _MOST))
        if times.first is None:
            return
        yield Tally("gen_ai_server_time_to_first_token_seconds", labels, times.first / 1e6)
        output = totals.output
        if times.last is not None and output is not None and output > 1:
            each = (times.last - times.first) / 1e6 / (output - 1)
            yield Tally("gen_ai_server_time_per_output_token_seconds", labels, each)

    def _who(self, exchange: Exchange, reading: Reading, verdict: Verdict) -> Labels:
        begin = exchange.begin
        model = verdict.cost.model if verdict.cost.model and not begin.is_free else None
        known = {
            "key": begin.key or "",
            "upstream": begin.upstream,
            "model": model or self.model_name(reading.model or reading.model_requested, begin.provider),
        }
        return tuple((label, value) for label, value in known.items() if label in self._wanted)

    def _key(self, key: str | None) -> Labels:
        return (("key", key or ""),) if "key" in self._wanted else ()

    def _gen_ai(self, exchange: Exchange, reading: Reading, operation: str) -> Labels:
        begin = exchange.begin
        provider = begin.provider or begin.upstream
        head = (("gen_ai_operation_name", operation), ("gen_ai_provider_name", _PROVIDERS.get(provider, provider)))
        if "model" not in self._wanted:
            return head
        return (
            *head,
            ("gen_ai_request_model", self.model_name(reading.model_requested, begin.provider)),
            ("gen_ai_response_model", self.model_name(reading.model, begin.provider)),
        )

    def _look_up(self, model: str, provider: str | None) -> str:
        cost = self._book.cost(_ONE_PRICE, models=[model], provider=provider, at=datetime.now(UTC))
        return cost.model or OTHER


def _token_counts(totals: Totals) -> Iterator[tuple[str, int]]:
    for type_ in Totals.__struct_fields__:
        count: int | None = getattr(totals, type_)
        if count:
            yield type_, min(count, _MOST)
