from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.store import Tally
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
    times_of,
)

WHO = (("key", "search-team"), ("upstream", "openai"), ("model", "gpt-4o-mini"))
GEN_AI = (
    ("gen_ai_operation_name", "chat"),
    ("gen_ai_provider_name", "openai"),
    ("gen_ai_request_model", "gpt-4o-mini"),
    ("gen_ai_response_model", "gpt-4o-mini"),
)


def tallies(
    response: bytes = ANSWER,
    request: bytes = PROMPT,
    begin: dict[str, Any] | None = None,
    labels: list[str] | None = None,
    **end: Any,
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    policy = {} if labels is None else {"metrics": {"labels": labels}}
    exchange = make_exchange(make_begin(**(begin or {})), make_end(response, request, **end), request, response)
    made: tuple[Tally, ...] = interpreter(json.dumps(policy)).record(exchange).tallies
    return {(tally.name, tally.labels): tally.value for tally in made}


def test_a_completed_request_adds_exactly_this() -> None:
    assert tallies() == {
        (
            "glassline_requests_total",
            (*WHO, ("endpoint", "chat"), ("status_class", "2xx"), ("outcome", "completed")),
        ): 1,
        ("glassline_records_written_total", ()): 1,
        ("glassline_tokens_total", (*WHO, ("type", "input"))): 1000,
        ("glassline_tokens_total", (*WHO, ("type", "output"))): 100,
        ("glassline_cost_usd_total", WHO): ANSWER_NANO_USD,
        ("glassline_overhead_seconds", ()): 0.00025,
        ("gen_ai_client_operation_duration_seconds", GEN_AI): 0.5,
        ("gen_ai_client_token_usage", (*GEN_AI, ("gen_ai_token_type", "input"))): 1000,
        ("gen_ai_client_token_usage", (*GEN_AI, ("gen_ai_token_type", "output"))): 100,
    }


def test_a_stream_adds_its_time_to_the_first_token_and_for_each_further_one() -> None:
    events = (*EVENTS, USAGE_EVENT, DONE_EVENT)
    added = tallies(b"".join(events), STREAM_PROMPT, headers=SSE_HEADERS, times=times_of(events))
    assert added["gen_ai_server_time_to_first_token_seconds", GEN_AI] == 0.41
    assert added["gen_ai_server_time_per_output_token_seconds", GEN_AI] == pytest.approx(0.01)


def test_a_refusal_is_counted_with_its_reason_and_is_no_operation() -> None:
    refused: dict[str, Any] = {
        "outcome": "refused",
        "status": 429,
        "error_code": "budget_exceeded",
        "dispatched_us": None,
    }
    added = tallies(b"", **refused)
    assert added["glassline_refused_total", (("key", "search-team"), ("reason", "budget_exceeded"))] == 1
    assert not [name for name, _ in added if name.startswith("gen_ai")]


def test_names_that_no_price_table_knows_are_other_and_missing_ones_are_empty() -> None:
    invented = tallies(
        ANSWER.replace(b"gpt-4o-mini-2024-07-18", b"secret-7"), PROMPT.replace(b"gpt-4o-mini", b"secret")
    )
    assert "secret" not in str(invented)
    assert [dict(labels)["model"] for name, labels in invented if name == "glassline_requests_total"] == ["other"]
    assert invented["glassline_unpriced_requests_total", ()] == 1
    nameless = tallies(b"{}", b"{}", {"key": None})
    (labels,) = (dict(labels) for name, labels in nameless if name == "glassline_requests_total")
    assert (labels["model"], labels["key"]) == ("", "")


def test_labels_can_be_switched_off() -> None:
    added = tallies(labels=["upstream"])
    assert ("glassline_cost_usd_total", (("upstream", "openai"),)) in added
    assert ("gen_ai_client_operation_duration_seconds", GEN_AI[:2]) in added


def test_no_user_path_or_prompt_ever_becomes_a_label() -> None:
    begin = {"user": "canary-1", "session": "canary-2", "path": "/chat/completions?canary-3", "tags": {"a": "canary-4"}}
    added = tallies(request=PROMPT.replace(b"Say hello", b"canary-5"), begin=begin)
    assert "canary" not in str(added)


def test_a_status_outside_http_has_no_class() -> None:
    (labels,) = (dict(labels) for name, labels in tallies(status=999) if name == "glassline_requests_total")
    assert labels["status_class"] == ""
