"""Refusals in the shape of each API: what its SDK reads, and nothing that makes it try again in vain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from proxy.gateway.envelopes import CODES
from proxy.gateway.refusal import Refusal, body_of, headers_of, socket_error, spelled, stream_error

ENVELOPES = ("openai", "azure", "anthropic", "gemini", "ollama", "bedrock")
SPENT = Refusal("budget_exceeded", 429, "No money left.")
STREAM = {"ollama": b"application/x-ndjson", "bedrock": b"application/vnd.amazon.eventstream"}


def shown(refusal: Refusal, envelope: str) -> tuple[int, Any, dict[str, str]]:
    refusal = spelled(refusal, envelope)
    lines = headers_of(refusal, envelope, "id-1").decode().split("\r\n")[:-1]
    return refusal.status, json.loads(body_of(refusal, envelope, "id-1")), dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("code", CODES)
def test_every_refusal_has_a_shape_in_every_api_and_names_itself(code: str, envelope: str) -> None:
    status, body, headers = shown(Refusal(code, 499, "Why."), envelope)
    assert status == 499
    assert "Why." in json.dumps(body)
    assert headers["x-glassline-error"] == code
    assert headers["content-type"] == "application/json"
    names = {"anthropic": "request-id", "bedrock": "x-amzn-requestid"}
    assert headers[names.get(envelope, "x-request-id")] == "id-1"


def test_openai_reads_a_type_and_a_code() -> None:
    status, body, headers = shown(SPENT, "openai")
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert body == {
        "error": {
            "message": "No money left.",
            "type": "insufficient_quota",
            "param": None,
            "code": "project_spend_limit_exceeded",
        }
    }


def test_azure_reads_a_code_and_a_message() -> None:
    assert shown(SPENT, "azure")[:2] == (
        429,
        {"error": {"code": "project_spend_limit_exceeded", "message": "No money left."}},
    )


def test_anthropic_reads_a_type_and_details() -> None:
    status, body, headers = shown(SPENT, "anthropic")
    assert (status, headers["x-should-retry"]) == (429, "false")
    details = {"error_code": "enforced_spend_limit_reached"}
    error = {"type": "rate_limit_error", "message": "No money left.", "details": details}
    assert body == {"type": "error", "error": error, "request_id": "id-1"}
    status, body, _ = shown(Refusal("budget_exceeded", 402, "No money left."), "anthropic")
    assert (status, body["error"]) == (402, {"type": "billing_error", "message": "No money left."})


def test_google_reads_a_status_and_details() -> None:
    assert shown(SPENT, "gemini")[1] == {
        "error": {"code": 429, "message": "No money left.", "status": "RESOURCE_EXHAUSTED"}
    }
    status, body, _ = shown(Refusal("invalid_key", 401, "Which key?"), "gemini")
    assert status == body["error"]["code"] == 400
    assert body["error"]["status"] == "INVALID_ARGUMENT"
    assert body["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    limited = shown(Refusal("rate_limited", 429, "Slowly.", retry_after_ms=1500), "gemini")[1]
    assert limited["error"]["details"][0]["retryDelay"] == "2s"
    unpaid = shown(Refusal("budget_exceeded", 402, "No."), "gemini")[1]
    assert unpaid["error"]["status"] == "FAILED_PRECONDITION"


def test_ollama_reads_a_sentence() -> None:
    assert shown(SPENT, "ollama")[:2] == (429, {"error": "No money left."})


def test_bedrock_reads_a_header_and_retries_no_spent_budget() -> None:
    """boto3 tries any 429 three to five times; a service quota, with 400, once."""
    status, body, headers = shown(SPENT, "bedrock")
    assert (status, body) == (400, {"message": "No money left."})
    assert headers["x-amzn-errortype"] == "ServiceQuotaExceededException"
    status, _, headers = shown(Refusal("rate_limited", 429, "Slowly.", retry_after_ms=10), "bedrock")
    assert (status, headers["x-amzn-errortype"]) == (429, "ThrottlingException")
    status, _, headers = shown(Refusal("invalid_key", 401, "Who?"), "bedrock")
    assert (status, headers["x-amzn-errortype"]) == (403, "UnrecognizedClientException")
    assert shown(Refusal("budget_exceeded", 402, "No."), "bedrock")[0] == 402


def test_a_wait_is_never_longer_than_sdks_would_sleep() -> None:
    headers = shown(Refusal("rate_limited", 429, "Slowly.", retry_after_ms=3_600_000), "openai")[2]
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("60", "60000")


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_only_a_stream_of_the_right_kind_gets_an_error_inside(envelope: str) -> None:
    for content_type in (b"", b"application/json", b"audio/mpeg"):
        assert stream_error(SPENT, envelope, "/x", "id-1", content_type) is None
    event = stream_error(SPENT, envelope, "/x", "id-1", STREAM.get(envelope, b"text/event-stream; charset=utf-8"))
    assert (event is None) == (envelope == "gemini")


def test_an_error_in_a_stream_is_one_whole_event_of_its_api() -> None:
    chat = stream_error(SPENT, "openai", "/chat/completions", "id-1")
    assert chat is not None
    assert chat == b"data: " + body_of(SPENT, "openai", "id-1") + b"\n\n"
    responses = stream_error(SPENT, "openai", "/responses", "id-1")
    assert responses is not None
    kind, data = responses.decode().rstrip("\n").split("\n")
    assert kind == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "project_spend_limit_exceeded"
    messages = stream_error(SPENT, "anthropic", "/messages", "id-1")
    assert messages == b"event: error\ndata: " + body_of(SPENT, "anthropic", "id-1") + b"\n\n"
    assert stream_error(SPENT, "ollama", "/api/chat", "", STREAM["ollama"]) == b'{"error":"No money left."}\n'


@pytest.mark.parametrize("code", CODES)
def test_an_error_in_a_stream_of_bedrock_is_one_that_botocore_can_read(code: str) -> None:
    frame = stream_error(Refusal(code, 429, "No."), "bedrock", "/converse-stream", "", STREAM["bedrock"])
    assert frame is not None
    buffer = EventStreamBuffer()  # checks both CRCs
    buffer.add_data(frame)
    [message] = list(buffer)
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] in {
        "throttlingException",
        "validationException",
        "modelTimeoutException",
        "serviceUnavailableException",
    }
    assert json.loads(message.payload) == {"message": "No."}


def test_a_websocket_hears_why_it_is_closed_if_its_api_has_words_for_it() -> None:
    said = json.loads(socket_error(SPENT, "openai", "id-1"))
    assert (said["type"], said["status"], said["error"]["code"]) == ("error", 429, "project_spend_limit_exceeded")
    assert socket_error(SPENT, "gemini", "id-1") == b""
