from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.anthropic.messages import MODEL, read_message

BATCH = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress", "request_counts": {}}
RESULTS = "/v1/messages/batches/msgbatch_1/results"


def line(custom_id: str | None, input_tokens: int, output_tokens: int, **more: Any) -> bytes:
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens, "service_tier": "batch"}
    message = {"id": f"msg_{custom_id}", "type": "message", "model": MODEL, "content": [], "usage": usage, **more}
    return json.dumps({"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}).encode() + b"\n"


def failed(custom_id: str, kind: str) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": {"type": kind}}).encode() + b"\n"


def results(body: bytes, **changes: Any) -> Any:
    return read_message(body, b"", path=RESULTS, method="GET", content_type=b"application/x-jsonl", **changes)


def test_a_batch_that_was_accepted_is_billed_later() -> None:
    request = {"requests": [{"custom_id": "a", "params": {}}]}
    reading = read_message(BATCH, request, path="/v1/messages/batches")
    assert (reading.reader, reading.endpoint) == ("anthropic_batches/1", "message_batches")
    assert (reading.is_pending, reading.response_id, reading.usage) == (True, "msgbatch_1", None)
    assert reading.finish_reasons == ("in_progress",)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/messages/batches/msgbatch_1"), ("POST", "/v1/messages/batches/msgbatch_1/cancel")]
)
def test_looking_at_a_batch_starts_nothing(method: str, path: str) -> None:
    reading = read_message({**BATCH, "processing_status": "ended"}, b"", path=path, method=method)
    assert (reading.is_pending, reading.response_id, reading.finish_reasons) == (False, "msgbatch_1", ("ended",))


def test_each_result_is_a_charge_of_its_own() -> None:
    body = (
        line("a", 100, 20)
        + failed("b", "errored")
        + line("c", 50, 5)
        + failed("d", "expired")
        + failed("e", "canceled")
    )
    reading = results(body)
    assert (reading.reader, reading.billing_id, reading.problems) == ("anthropic_batch_results/1", "msgbatch_1", ())
    assert [(each.id, each.model, each.processing) for each in reading.charges] == [
        ("msgbatch_1/a", MODEL, "batch"),
        ("msgbatch_1/c", MODEL, "batch"),
    ]
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.processing) == (150, 25, "batch")


def test_two_downloads_show_the_same_bills() -> None:
    body = line("a", 100, 20) + line(None, 7, 1)
    assert (
        [each.id for each in results(body).charges]
        == [each.id for each in results(body).charges]
        == ["msgbatch_1/a", "msgbatch_1/1"]
    )


def test_a_result_of_several_samplings_is_several_charges() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {"type": "compaction", "input_tokens": 900, "output_tokens": 30},
        ],
    }
    reading = results(line("a", 0, 0, usage=usage))
    assert [(each.id, each.usage.input_tokens) for each in reading.charges] == [
        ("msgbatch_1/a", 10),
        ("msgbatch_1/a/1", 900),
    ]
    assert all(each.processing == "batch" for each in reading.charges)


def test_results_that_break_off_keep_the_whole_lines() -> None:
    reading = results((line("a", 100, 20) + line("b", 50, 5))[:-150])
    assert [each.id for each in reading.charges][:1] == ["msgbatch_1/a"]
    assert "response_json" in reading.problems


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches",
        "/v1/messages/batches/b_1",
        RESULTS,
        "/v1/models",
        "/v1/files",
        "/v1/messages/count_tokens",
    ],
)
def test_errors_are_read_everywhere(path: str) -> None:
    body = {"type": "error", "error": {"type": "not_found_error", "message": "No."}, "request_id": "req_1"}
    reading = read_message(body, b"", path=path, method="POST" if path.endswith("tokens") else "GET", status=404)
    assert (reading.error_type, reading.error_message, reading.usage) == ("not_found_error", "No.", None)


def test_counting_is_free_and_has_no_usage() -> None:
    request = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]}
    reading = read_message({"input_tokens": 14}, request, path="/v1/messages/count_tokens")
    assert (reading.endpoint, reading.usage, reading.problems) == ("count_tokens", None, ())
    assert (reading.model_requested, reading.input_text) == ("claude-sonnet-4-5", "Hi")


@given(st.binary(max_size=300))
def test_hostile_bytes_are_never_fatal(noise: bytes) -> None:
    assert "reader" not in results(noise).problems
    assert "reader" not in results(line("a", 1, 1) + noise).problems
    assert "reader" not in read_message(noise, noise, path="/v1/messages/batches").problems
