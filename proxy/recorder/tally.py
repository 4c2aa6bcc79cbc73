"""Tallies: what one record adds to the metrics.

Names and labels are a public interface. Label values come from the configuration or the price table; whatever else a
client or a provider wrote is `other`, and what is missing is ''.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from pricing import PriceBook, Totals, Usage
from proxy.recorder.verdict import Verdict
from proxy.records import Exchange, Reading, TokenTimes
from proxy.store import Tally
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


_NO_LABELS: Final[Labels] = ()


class _Spender(NamedTuple):
    """The labels of who spends on what."""

    labels: Labels
    tokens: tuple[tuple[str, Labels], ...]
    """By field of `Totals`, with the type of the tokens."""


class _Client(NamedTuple):
    """The labels of OpenTelemetry's client metrics."""

    labels: Labels
    input: Labels
    """With the type of the tokens, as the next."""
    output: Labels


class Tallier:
    """Turns records into tallies.

    The same labels come again and again, and are then the same objects: so those who add up need not compare them.
    """

    def __init__(self, book: PriceBook, labels: Sequence[str]) -> None:
        """`labels`: those of key, upstream and model that are wanted."""
        self._book = book
        self._wanted = frozenset(labels)
        # Names come from traffic: the caches are as bounded as the series are.
        self._name_of = lru_cache(maxsize=4096)(self._look_up)
        self._spender_of = lru_cache(maxsize=1024)(self._spender)
        self._request_labels_of = lru_cache(maxsize=4096)(self._request_labels)
        self._client_of = lru_cache(maxsize=1024)(self._client)

    def tallies(self, exchange: Exchange, reading: Reading, verdict: Verdict, times: TokenTimes) -> tuple[Tally, ...]:
        """Return what the record adds."""
        tallies = self._counts(exchange, reading, verdict)
        if verdict.outcome != "interrupted":
            tallies.append(Tally("glassline_overhead_seconds", _NO_LABELS, exchange.end.overhead_us / 1e6))
            operation = _OPERATIONS.get(reading.endpoint)
            if operation is not None and verdict.outcome != "refused":
                tallies += self._observations(exchange, reading, verdict.totals, times, operation)
        return tuple(tallies)

    def model_name(self, model: str | None, provider: str | None) -> str:
        """Return the price table's name of a model, `other` or ''."""
        return self._name_of(model, provider) if model else ""

    def _counts(self, exchange: Exchange, reading: Reading, verdict: Verdict) -> list[Tally]:
        begin, status, cost, totals = exchange.begin, exchange.end.status, verdict.cost, verdict.totals
        model = cost.model if cost.model and not begin.is_free else None
        model = model or self.model_name(reading.model or reading.model_requested, begin.provider)
        spender = self._spender_of(begin.key, begin.upstream, model)
        status_class = status // 100 if status is not None and 100 <= status < 600 else None
        labels = self._request_labels_of(spender.labels, reading.endpoint, status_class, verdict.outcome)
        tallies = [Tally("glassline_requests_total", labels, 1), _WRITTEN]
        for type_, labels in spender.tokens:
            count: int | None = getattr(totals, type_)
            if count:
                tallies.append(Tally("glassline_tokens_total", labels, min(count, _MOST)))
        if cost.nano_usd:
            tallies.append(Tally("glassline_cost_usd_total", spender.labels, min(cost.nano_usd, _MOST)))
        if verdict.is_unpriced:
            tallies.append(Tally("glassline_unpriced_requests_total", _NO_LABELS, 1))
        if verdict.outcome == "refused":
            reason = ("reason", exchange.end.error_code or "")
            key = (("key", begin.key or ""),) if "key" in self._wanted else ()
            tallies.append(Tally("glassline_refused_total", (*key, reason), 1))
        return tallies

    def _observations(
        self, exchange: Exchange, reading: Reading, totals: Totals, times: TokenTimes, operation: str
    ) -> list[Tally]:
        begin = exchange.begin
        client = self._client_of(operation, begin.provider, begin.upstream, reading.model_requested, reading.model)
        labels, output = client.labels, totals.output
        tallies = [Tally("gen_ai_client_operation_duration_seconds", labels, exchange.end.ended_us / 1e6)]
        if totals.input is not None:
            tallies.append(Tally("gen_ai_client_token_usage", client.input, min(totals.input, _MOST)))
        if output is not None:
            tallies.append(Tally("gen_ai_client_token_usage", client.output, min(output, _MOST)))
        if times.first is None:
            return tallies
        tallies.append(Tally("gen_ai_server_time_to_first_token_seconds", labels, times.first / 1e6))
        if times.last is not None and output is not None and output > 1:
            each = (times.last - times.first) / 1e6 / (output - 1)
            tallies.append(Tally("gen_ai_server_time_per_output_token_seconds", labels, each))
        return tallies

    def _spender(self, key: str | None, upstream: str, model: str) -> _Spender:
        known = {"key": key or "", "upstream": upstream, "model": model}
        labels = tuple((label, value) for label, value in known.items() if label in self._wanted)
        return _Spender(labels, tuple((type_, (*labels, ("type", type_))) for type_ in Totals.__struct_fields__))

    def _request_labels(self, spender: Labels, endpoint: str, status_class: int | None, outcome: str) -> Labels:
        status = "" if status_class is None else f"{status_class}xx"
        return (*spender, ("endpoint", endpoint), ("status_class", status), ("outcome", outcome))

    def _client(
        self, operation: str, provider: str | None, upstream: str, model_requested: str | None, model: str | None
    ) -> _Client:
        name = provider or upstream
        labels: Labels = (
            ("gen_ai_operation_name", operation),
            ("gen_ai_provider_name", _PROVIDERS.get(name, name)),
        )
        if "model" in self._wanted:
            labels = (
                *labels,
                ("gen_ai_request_model", self.model_name(model_requested, provider)),
                ("gen_ai_response_model", self.model_name(model, provider)),
            )
        type_ = "gen_ai_token_type"
        return _Client(labels, (*labels, (type_, "input")), (*labels, (type_, "output")))

    def _look_up(self, model: str, provider: str | None) -> str:
        cost = self._book.cost(_ONE_PRICE, models=[model], provider=provider, at=datetime.now(UTC))
        return cost.model or OTHER


_WRITTEN: Final = Tally("glassline_records_written_total", _NO_LABELS, 1)
