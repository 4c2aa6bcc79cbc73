from __future__ import annotations

import json
from typing import Any

import pytest

from pricing.tokens import count_text
from proxy.records import Exchange
from proxy.store import Record
from tests.recorder.builders import (
    ANSWER,
    ANSWER_NANO_USD,
    DONE_EVENT,
    EVENTS,
    PROMPT,
    SSE_HEADERS,
    STREAM_PROMPT,
    USAGE_EVENT,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    make_record,
    times_of,
)

NO_ANSWER: dict[str, Any] = {"headers": (), "response_head_us": None, "response": b""}
ERROR = b'{"error":{"message":"no","type":"server_error"}}'


def record(
    response: bytes = ANSWER, *, request: bytes = PROMPT, begin: dict[str, Any] | None = None, **end: Any
) -> Record:
    started = make_begin(**({"is_reserved": True} | (begin or {})))
    return make_record(started, make_end(response, request, **end), request=request, response=response)


def stream(*events: bytes, **end: Any) -> Record:
    fields = {"headers": SSE_HEADERS, "times": times_of(events)} | end
    return record(b"".join(events), request=STREAM_PROMPT, **fields)


def settled(made: Record) -> tuple[int | None, bool]:
    assert made.settlement is not None
    return made.settlement.nano_usd, made.settlement.is_estimate


def test_usage_of_the_provider_is_priced_by_the_table() -> None:
    made = record()
    assert (made.outcome, made.usage_source, made.cost.source) == ("completed", "provider", "table")
    assert made.cost.nano_usd == ANSWER_NANO_USD
    assert settled(made) == (ANSWER_NANO_USD, False)


@pytest.mark.parametrize(
    "end",
    [
        {"outcome": "refused", "status": 429, "error_code": "budget_exceeded", "dispatched_us": None} | NO_ANSWER,
        {"outcome": "upstream_error", "status": 502, "error_code": "upstream_unreachable", "dispatched_us": None}
        | NO_ANSWER,
        {"outcome": "client_closed", "status": None, "dispatched_us": None} | NO_ANSWER,
        {"status": 500, "response": ERROR},
        {"status": 429, "response": ERROR},
        {"status": 302, "response": b""},
    ],
)
def test_what_was_not_forwarded_or_was_answered_with_an_error_costs_nothing(end: dict[str, Any]) -> None:
    made = record(**end)
    assert (made.usage, made.usage_source, made.cost.nano_usd) == (None, "none", 0)
    assert settled(made) == (0, False)
    assert not made.is_unpriced


@pytest.mark.parametrize(
    "end",
    [
        {"outcome": "timeout", "status": 504, "error_code": "upstream_timeout"} | NO_ANSWER,
        {"outcome": "upstream_reset", "status": 502, "error_code": "upstream_unreachable"} | NO_ANSWER,
        {"outcome": "client_closed", "status": None} | NO_ANSWER,
    ],
)
def test_what_was_dispatched_and_never_answered_spends_the_whole_reservation(end: dict[str, Any]) -> None:
    made = record(**end)
    assert (made.usage, made.cost.nano_usd, made.cost.source) == (None, None, "unknown")
    assert settled(made) == (None, True)
    assert not made.is_unpriced


def test_a_stream_with_usage_is_exact_and_its_times_are_those_of_its_tokens() -> None:
    made = stream(*EVENTS, USAGE_EVENT, DONE_EVENT)
    assert (made.outcome, made.usage_source) == ("completed", "provider")
    assert made.cost.nano_usd == 12 * 150 + 2 * 600
    # The first event has a role and no token; the second and third came 10 ms apart.
    assert made.times == (410_000, 410_000, 420_000)


def test_a_stream_without_usage_is_estimated() -> None:
    made = stream(*EVENTS, DONE_EVENT)
    assert (made.outcome, made.usage_source) == ("completed", "estimated")
    assert made.totals.output == count_text("Hello!", "gpt-4o-mini")
    assert made.totals.input is not None
    assert 10 < made.totals.input < 20
    assert settled(made) == (made.cost.nano_usd, True)
    assert made.cost.nano_usd == made.totals.input * 150 + made.totals.output * 600


def test_a_stream_that_lacks_its_end_is_truncated() -> None:
    made = stream(*EVENTS[:2])
    assert (made.outcome, made.usage_source) == ("truncated", "estimated")
    assert made.exchange.end.outcome == "completed"


def test_a_stream_whose_capture_was_cut_is_not_called_truncated() -> None:
    body = b"".join(EVENTS)
    assert stream(*EVENTS, response_size=len(body) + 10).outcome == "completed"


@pytest.mark.parametrize("outcome", ["client_closed", "upstream_reset", "timeout"])
def test_an_aborted_stream_is_estimated_and_keeps_its_outcome(outcome: str) -> None:
    made = stream(*EVENTS[:3], outcome=outcome)
    assert (made.outcome, made.usage_source) == (outcome, "estimated")
    assert settled(made) == (made.cost.nano_usd, True)
    assert made.cost.nano_usd


def test_an_aborted_stream_of_a_model_that_hides_reasoning_spends_the_whole_reservation() -> None:
    prompt = STREAM_PROMPT.replace(b"gpt-4o-mini", b"o3-mini")
    events = [event.replace(b"gpt-4o-mini", b"o3-mini") for event in EVENTS[:3]]
    body = b"".join(events)
    made = record(body, request=prompt, headers=SSE_HEADERS, outcome="client_closed", times=times_of(events))
    assert made.usage_source == "estimated"
    assert made.cost.nano_usd
    assert settled(made) == (None, True)


def interrupted(response: bytes, request: bytes = STREAM_PROMPT) -> Record:
    end = make_end(
        response, request, outcome="interrupted", status=None, headers=(), dispatched_us=None, response_head_us=None
    )
    return make_record(make_begin(is_reserved=True), end, request=request, response=response)


def test_an_interrupted_exchange_spends_the_whole_reservation_unless_the_provider_said_its_usage() -> None:
    nothing = interrupted(b"")
    assert (nothing.usage, nothing.cost.nano_usd, settled(nothing)) == (None, None, (None, True))
    some = interrupted(b"".join(EVENTS[:3]))
    assert (some.usage_source, settled(some)) == ("estimated", (None, True))
    assert some.cost.nano_usd
    whole = interrupted(b"".join((*EVENTS, USAGE_EVENT)))
    assert (whole.usage_source, settled(whole)) == ("provider", (12 * 150 + 2 * 600, False))
    assert {nothing.outcome, some.outcome, whole.outcome} == {"interrupted"}


@pytest.mark.parametrize("count", ["-5", "1e308", '"many"', "null", "true", "1" * 5000])
def test_a_usage_that_cannot_be_true_is_replaced_by_an_estimate(count: str) -> None:
    usage = f'{{"prompt_tokens":{count},"completion_tokens":2}}'.encode()
    answer = ANSWER[: ANSWER.index(b'"usage"')] + b'"usage":' + usage + b"}"
    made = record(answer)
    assert made.usage_source == "estimated"
    assert made.cost.nano_usd is not None
    assert 0 < made.cost.nano_usd < 100_000


def test_a_price_nobody_knows_is_unknown_and_never_zero() -> None:
    made = record(ANSWER.replace(b"gpt-4o-mini-2024-07-18", b"x"), request=PROMPT.replace(b"gpt-4o-mini", b"x"))
    assert (made.usage_source, made.cost.nano_usd, made.cost.source) == ("provider", None, "unknown")
    assert made.is_unpriced
    assert settled(made) == (None, False)


def test_a_free_upstream_costs_nothing_even_when_it_was_cut_off() -> None:
    made = record(begin={"is_free": True, "provider": None})
    assert (made.cost.nano_usd, made.cost.source, settled(made)) == (0, "override", (0, False))
    aborted = record(b"", begin={"is_free": True, "provider": None}, outcome="client_closed", status=200)
    assert settled(aborted)[0] == 0
    assert aborted.cost.nano_usd == 0


def test_what_has_no_tokens_has_no_usage_and_counts_as_no_gap_in_the_prices() -> None:
    models = b'{"object":"list","data":[]}'
    begin = {"method": "GET", "path": "/models"}
    made = record(models, request=b"", begin=begin)
    assert (made.reading.endpoint, made.usage, made.cost.nano_usd, made.is_unpriced) == ("models", None, 0, False)


def test_embeddings_are_estimated_by_their_input_alone() -> None:
    request = json.dumps({"model": "text-embedding-3-small", "input": "hello world"}).encode()
    answer = b'{"object":"list","model":"text-embedding-3-small","data":[]}'
    made = record(answer, request=request, begin={"path": "/embeddings"})
    assert (made.usage_source, made.totals.input, made.totals.output) == ("estimated", 2, None)
    assert made.cost.nano_usd == 2 * 20


def test_a_request_that_was_not_captured_whole_is_estimated_by_its_size() -> None:
    made = record(b"{}", request=PROMPT[:50], request_size=4_000_000)
    assert (made.usage_source, made.totals.input) == ("estimated", 1_000_000)


def test_an_exchange_without_a_reservation_is_not_settled() -> None:
    assert make_record().settlement is None


def test_the_facts_alone_make_a_record_of_any_exchange() -> None:
    exchange: Exchange = make_exchange(make_begin(started_at_ms=2**62, is_reserved=True))
    with pytest.raises(ValueError, match="out of range"):
        interpreter().record(exchange)
    facts = interpreter().facts(exchange)
    assert (facts.reading.reader, facts.usage_source, facts.cost.nano_usd) == ("none", "none", None)
    assert settled(facts) == (None, True)


def test_a_cost_that_the_provider_reports_without_tokens_is_believed() -> None:
    answer = json.dumps({"model": "x/y", "choices": [], "usage": {"cost": 0.5}}).encode()
    made = record(answer, begin={"provider": "openrouter"})
    assert (made.cost.nano_usd, made.cost.source, made.is_unpriced) == (500_000_000, "provider", False)
    assert settled(made) == (500_000_000, False)


def message_stream(*events: dict[str, Any], **end: Any) -> Record:
    usage = {"input_tokens": 100, "output_tokens": 1}
    start = {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "content": [], "usage": usage}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word " * 500}}
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (start, text, *events))
    request = b'{"model":"claude-sonnet-4-5","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    begin = {"path": "/v1/messages", "wire": "anthropic", "upstream": "anthropic", "provider": "anthropic"}
    return record(body, request=request, begin=begin, headers=SSE_HEADERS, **end)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ((), "client_closed"),
        ((), "completed"),
        (({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},), "completed"),
    ],
)
def test_a_message_that_breaks_off_costs_what_was_seen_of_it_and_not_the_one_token_it_began_with(
    last: tuple[dict[str, Any], ...], outcome: str
) -> None:
    made = message_stream(*last, outcome=outcome)
    assert made.usage_source == "estimated"
    assert made.totals.input == 100, "as the provider said"
    assert made.totals.output is not None
    assert made.totals.output >= 500
    assert settled(made)[1] is True


def test_a_message_that_ends_costs_what_the_provider_says() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 480}}
    made = message_stream(end, {"type": "message_stop"})
    assert (made.usage_source, made.totals.input, made.totals.output) == ("provider", 100, 480)
    assert settled(made) == (100 * 3000 + 480 * 15000, False)
