"""What is read of jobs and of the files they write."""

from __future__ import annotations

import json
from typing import Any

from proxy.records import Reading
from tests.wire.gemini.answers import answer, read

BEGIN = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
JOB = "/v1beta/batches/abc"
FILE = "/download/v1beta/files/batch-abc:download?alt=media"


def job(state: str, *singles: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"model": "models/gemini-2.5-flash", "state": state, "name": "batches/abc"}
    if singles:
        metadata["output"] = {"inlinedResponses": {"inlinedResponses": list(singles)}}
    return {"name": "batches/abc", "metadata": metadata}


def single(identity: str | None, prompt: int, written: int) -> dict[str, Any]:
    usage = {"promptTokenCount": prompt, "candidatesTokenCount": written}
    made = answer({"text": "x"}, finish="STOP", usageMetadata=usage)
    made["responseId"] = identity
    return {"response": made}


def assert_is_billed_by_the_answer(reading: Reading, *ids: str) -> None:
    assert reading.processing == "batch"
    assert [(charge.id, charge.processing, charge.model) for charge in reading.charges] == [
        (id_, "batch", "gemini-2.5-flash") for id_ in ids
    ]
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (30, 3)


def test_a_job_that_begins_is_billed_later() -> None:
    reading = read(job("BATCH_STATE_PENDING"), path=BEGIN)
    assert (reading.reader, reading.endpoint, reading.is_pending) == ("gemini_batches/1", "batches", True)
    assert (reading.response_id, reading.model, reading.usage) == ("batches/abc", "gemini-2.5-flash", None)


def test_a_job_that_runs_is_billed_by_nobody() -> None:
    reading = read(job("BATCH_STATE_RUNNING"), path=JOB, method="GET", request=b"")
    assert (reading.is_pending, reading.charges, reading.usage) == (False, (), None)


def test_a_job_that_is_done_holds_a_bill_for_each_answer() -> None:
    done = job("BATCH_STATE_SUCCEEDED", single("r1", 10, 1), {"error": {"code": 3}}, single(None, 20, 2))
    reading = read(done, path=JOB, method="GET", request=b"")
    assert_is_billed_by_the_answer(reading, "r1", "batches/abc/2")


def test_the_file_of_a_job_holds_the_same_bills() -> None:
    lines = [{"key": "a"} | single("r1", 10, 1), {"key": "b"} | single(None, 20, 2)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    reading = read(body, path=FILE, method="GET", request=b"", content_type=b"application/octet-stream")
    assert (reading.reader, reading.endpoint) == ("gemini_files/1", "files_content")
    assert_is_billed_by_the_answer(reading, "r1", "batch-abc/b")


def test_any_other_file_is_only_a_file() -> None:
    for body in (b"\x89PNG\r\n", b'{"key": 1}\n{"text": "x"}\n', b""):
        reading = read(body, path=FILE, method="GET", request=b"", content_type=b"application/octet-stream")
        assert (reading.usage, reading.charges, reading.problems, reading.processing) == (None, (), (), None)


def test_a_list_of_jobs_is_no_job() -> None:
    reading = read(
        {"operations": [job("BATCH_STATE_SUCCEEDED", single("r1", 1, 1))]}, path="/v1beta/batches", method="GET"
    )
    assert (reading.usage, reading.response_id) == (None, None)
