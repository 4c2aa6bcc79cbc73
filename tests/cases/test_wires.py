"""Cases 29 to 32 and 35: what Anthropic, Gemini, the Responses API and Ollama say of usage, and when."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.cases.stage import KEY, SSE, Stage, plain, split, streamed, then_reset

MESSAGES = json.dumps(
    {"model": "claude-sonnet-4-5", "max_tokens": 64, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
).encode()
VERSION = "anthropic-version: 2023-06-01"


def named(name: str, **data: Any) -> bytes:
    """Return an event as Anthropic and the Responses API write it: its name twice."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def message_start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    return named("message_start", message={**message, "content": [], "stop_reason": None, "usage": usage})


def text_block(*texts: str) -> bytes:
    start = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    deltas = [named("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts]
    return start + b"".join(deltas) + named("content_block_stop", index=0)


@pytest.mark.case(29)
def test_anthropics_cumulative_usage_with_both_cache_lives_and_searches(stage: Stage) -> None:
    """Claude Sonnet 4.5, USD per million: input 3, cache read 0.30, write 3.75 (5 min) and 6 (1 h), output 15.

    100 · 3 + 1000 · 0.30 + 200 · 3.75 + 50 · 6 + 20 · 15 = 300 + 300 + 750 + 300 + 300 = 1950 millionths,
    and two searches at 10 dollars per thousand: 0.00195 + 0.02 = 0.02195.
    """
    creation = {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 50}
    whole = (
        message_start(
            input_tokens=100,
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=250,
            cache_creation=creation,
            output_tokens=1,
        )
        + named("ping")
        + text_block("Hel", "lo")
        + named("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 9})
        + named(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 20, "server_tool_use": {"web_search_requests": 2}},
        )
        + named("message_stop")
    )
    played = stage.play("/v1/messages", MESSAGES, streamed(split(whole, 11)), VERSION)
    played.assert_request_is(MESSAGES)
    played.assert_response_is(whole)
    row = played.row
    assert (row["wire"], row["endpoint"], row["model"]) == ("anthropic", "messages", "claude-sonnet-4-5-20250929")
    assert (row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"]) == (1350, 1000, 250)
    assert (row["output_tokens"], row["finish_reason"], row["outcome"]) == (20, "end_turn", "completed")
    assert row["cost_usd"] == pytest.approx(0.02195, abs=1e-12)


@pytest.mark.case(30)
def test_an_error_within_anthropics_stream_is_an_error_whose_input_was_billed(stage: Stage) -> None:
    error = named("error", error={"type": "overloaded_error", "message": "Overloaded"})
    whole = message_start(input_tokens=100, output_tokens=1) + error
    played = stage.play("/v1/messages", MESSAGES, streamed([whole]), VERSION)
    played.assert_response_is(whole)
    row = played.row
    assert (row["status"], row["error_code"], row["input_tokens"]) == (200, "overloaded_error", 100)
    assert row["outcome"] == "upstream_error"
    assert row["cost_usd"] == pytest.approx(100 * 3e-6 + 1 * 15e-6, abs=1e-12)


def part(text: str | None, usage: dict[str, int], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one answer of a Gemini stream."""
    content = {"parts": [{"text": text, **more}] if text is not None else [], "role": "model"}
    candidate = {"content": content, "index": 0, **({"finishReason": finish} if finish else {})}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}


ANSWERS = [
    part("Let me see.", {"promptTokenCount": 30, "totalTokenCount": 30}, thought=True),
    part("Hel", {"promptTokenCount": 30, "thoughtsTokenCount": 40, "totalTokenCount": 70}),
    part(
        "lo",
        {"promptTokenCount": 30, "candidatesTokenCount": 5, "thoughtsTokenCount": 40, "totalTokenCount": 75},
        "STOP",
    ),
]
GENERATE = json.dumps({"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}).encode()
GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"


def assert_gemini(row: dict[str, Any]) -> None:
    """Gemini 2.5 Flash, USD per million: input 0.30, output 2.50; 30 · 0.30 + 45 · 2.50 = 9 + 112.5 millionths."""
    assert (row["wire"], row["model"], row["finish_reason"]) == ("gemini", "gemini-2.5-flash", "STOP")
    assert (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (30, 45, 40)
    assert row["cost_usd"] == pytest.approx(121.5e-6, abs=1e-12)
    assert (row["streaming"], row["outcome"]) == (1, "completed")
    assert row["ttft_ms"] is not None


@pytest.mark.case(31)
def test_geminis_events_pass_with_nothing_added_and_the_last_usage_counts(stage: Stage) -> None:
    whole = b"".join(b"data: %b\r\n\r\n" % json.dumps(answer).encode() for answer in ANSWERS)
    played = stage.play(f"{GEMINI}?alt=sse", GENERATE, streamed(split(whole, 13)))
    played.assert_request_is(GENERATE)
    played.assert_response_is(whole)
    assert_gemini(played.row)


@pytest.mark.case(31)
def test_geminis_array_streamed_without_events_is_read_as_it_grows(stage: Stage) -> None:
    whole = b"[" + b"\n,\r\n".join(json.dumps(answer, indent=2).encode() for answer in ANSWERS) + b"]\n"
    headers = b"content-type: application/json; charset=UTF-8\r\n"
    played = stage.play(GEMINI, GENERATE, streamed(split(whole, 17), headers))
    played.assert_response_is(whole)
    assert_gemini(played.row)


RESPONSES = json.dumps({"model": "gpt-4o-mini", "input": "hi", "stream": True}).encode()
RESPONSE_USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 30,
}


def response(status: str, identity: str = "resp_1", **more: Any) -> dict[str, Any]:
    whole = {"id": identity, "object": "response", "model": "gpt-4o-mini-2024-07-18", "status": status, "output": []}
    return {**whole, "usage": None, **more}


@pytest.mark.case(32)
@pytest.mark.parametrize(
    ("last", "finish", "outcome"),
    [("completed", "completed", "completed"), ("incomplete", "max_output_tokens", "completed")],
)
def test_a_response_that_ends_is_billed_as_it_says(stage: Stage, last: str, finish: str, outcome: str) -> None:
    details = {"incomplete_details": {"reason": "max_output_tokens"}} if last == "incomplete" else {}
    whole = (
        named("response.created", sequence_number=0, response=response("in_progress", f"resp_{last}"))
        + named("response.output_text.delta", sequence_number=1, output_index=0, content_index=0, delta="Hi")
        + named(
            f"response.{last}",
            sequence_number=2,
            response=response(last, f"resp_{last}", usage=RESPONSE_USAGE, **details),
        )
    )
    played = stage.play("/v1/responses", RESPONSES, streamed(split(whole, 19)))
    played.assert_response_is(whole)
    row = played.row
    assert (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (20, 10, 4)
    assert (row["finish_reason"], row["outcome"]) == (finish, outcome)
    assert row["cost_usd"] == pytest.approx(20 * 0.15e-6 + 10 * 0.60e-6, abs=1e-12)


@pytest.mark.case(32)
def test_a_response_that_fails_says_so(stage: Stage) -> None:
    failure = {"code": "server_error", "message": "The model gave up."}
    whole = named("response.created", sequence_number=0, response=response("in_progress", "resp_f")) + named(
        "response.failed", sequence_number=1, response=response("failed", "resp_f", error=failure)
    )
    played = stage.play("/v1/responses", RESPONSES, streamed([whole]))
    played.assert_response_is(whole)
    assert (played.row["status"], played.row["error_code"]) == (200, "server_error")
    assert played.row["outcome"] == "upstream_error"


@pytest.mark.case(32)
def test_a_background_response_is_paid_once_however_often_it_is_looked_at(stage: Stage) -> None:
    identity = "resp_background"
    queued = json.dumps(response("queued", identity, background=True)).encode()
    body = json.dumps({"model": "gpt-4o-mini", "input": "hi", "background": True}).encode()
    created = stage.play("/v1/responses", body, plain(queued))
    done = response("completed", identity, background=True, usage=RESPONSE_USAGE)
    events = named("response.output_text.delta", sequence_number=6, output_index=0, content_index=0, delta="Hi")
    events += named("response.completed", sequence_number=7, response=done)
    looked = [get(stage, f"/v1/responses/{identity}?stream=true&starting_after=5", events, SSE) for _ in range(2)]
    looked.append(get(stage, f"/v1/responses/{identity}", json.dumps(done).encode(), b""))
    costs = [row["cost_usd"] for row in (created.row, *looked)]
    price = 20 * 0.15e-6 + 10 * 0.60e-6
    assert [cost for cost in costs if cost] == [pytest.approx(price, abs=1e-12)]
    counted = [row["output_tokens"] for row in (created.row, *looked) if row["output_tokens"]]
    assert sum(counted) == 10, "roll-ups would count the tokens twice"


def get(stage: Stage, path: str, body: bytes, headers: bytes) -> dict[str, Any]:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    answer = streamed([body], headers) if headers else plain(body)
    played = stage.play("", b"", answer, request=request.encode())
    played.assert_response_is(body)
    return played.row


OLLAMA = json.dumps({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]}).encode()
NDJSON = b"content-type: application/x-ndjson\r\n"


def line(**data: Any) -> bytes:
    return json.dumps({"model": "llama3.2", "created_at": "2026-11-21T00:00:00Z", **data}).encode() + b"\n"


def said(text: str) -> bytes:
    return line(message={"role": "assistant", "content": text}, done=False)


@pytest.mark.case(35)
def test_ollama_streams_lines_unless_told_not_to_and_a_missing_count_is_unknown(stage: Stage) -> None:
    last = line(message={"role": "assistant", "content": ""}, done=True, done_reason="stop", eval_count=2)
    whole = said("Hel") + said("lo") + last
    played = stage.play("/ollama/api/chat", OLLAMA, streamed(split(whole, 23), NDJSON))
    played.assert_request_is(OLLAMA)
    played.assert_response_is(whole)
    row = played.row
    assert (row["wire"], row["streaming"], row["finish_reason"]) == ("ollama", 1, "stop")
    assert (row["input_tokens"], row["output_tokens"]) == (None, 2)
    assert row["ttft_ms"] is not None


@pytest.mark.case(35)
def test_ollamas_error_line_is_an_error(stage: Stage) -> None:
    whole = said("Hel") + b'{"error":"model runner has unexpectedly stopped"}\n'
    played = stage.play("/ollama/api/chat", OLLAMA, streamed([whole], NDJSON))
    played.assert_response_is(whole)
    assert played.row["outcome"] == "upstream_error"
    assert "unexpectedly stopped" in played.row["error_message"]


@pytest.mark.case(30)
def test_a_stream_of_anthropic_that_breaks_keeps_the_input_it_knows(stage: Stage) -> None:
    whole = message_start(input_tokens=100, output_tokens=1) + text_block("Hello")
    played = stage.play("/v1/messages", MESSAGES, then_reset(streamed([whole]).removesuffix(b"0\r\n\r\n")), VERSION)
    assert (played.row["outcome"], played.row["input_tokens"]) == ("upstream_reset", 100)
    assert played.digests[1] == hashlib.sha256(whole).hexdigest()
