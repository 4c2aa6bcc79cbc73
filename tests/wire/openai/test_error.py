from __future__ import annotations

import pytest

from proxy.wire import read
from tests.wire.exchanges import make_exchange

HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c"}}', "c", "m"),
        (b'{"error":{"message":"m","type":null,"code":"c"}}', "c", "m"),
        (b'{"error":{"message":"m","code":402}}', "402", "m"),
        (b'{"error":"m"}', None, "m"),
        (b'{"object":"error","message":"m","type":"BadRequestError","code":400}', "BadRequestError", "m"),
        (b'{"detail":"m"}', None, "m"),
        (b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"m"}]}', "extra_forbidden", "m"),
        (b'{"message":"m"}', None, "m"),
        (b'[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]', "400", "m"),
        (b'\n\n {"error":{"message":"m","type":"t"}}', "t", "m"),
        (b'{"error":{"message":["odd"],"type":"t"}}', "t", None),
        (b'{"error":{"message":"m","type":"t"', "t", "m"),
        (b"upstream connect error\n", None, "upstream connect error"),
        (HTML, None, None),
        (b"", None, None),
    ],
)
def test_errors_are_read_in_every_shape(body: bytes, kind: str | None, message: str | None) -> None:
    reading = read(make_exchange({"model": "m"}, body, status=400))
    assert (reading.error_type, reading.error_message) == (kind, message)
    assert (reading.usage, reading.output_text, reading.model_requested) == (None, None, "m")


def test_a_page_that_is_not_json_is_a_problem() -> None:
    assert read(make_exchange({}, HTML, status=502, content_type=b"text/html")).problems == ("response_json",)
    assert read(make_exchange({}, b"", status=502)).problems == ()


@pytest.mark.parametrize("body", [b'{"error":{"type":"t"}}', b"upstream connect error", b""])
def test_a_failure_for_who_asked_for_a_stream_is_no_stream(body: bytes) -> None:
    reading = read(make_exchange({"stream": True}, body, status=503, content_type=b""))
    assert (reading.is_streaming, reading.has_ended) == (False, None)


def test_usage_of_a_failed_request_is_not_believed() -> None:
    body = {"error": {"type": "t"}, "usage": {"prompt_tokens": 5, "completion_tokens": 5}}
    assert read(make_exchange({}, body, status=500)).usage is None


def test_an_error_inside_a_successful_answer_is_read() -> None:
    reading = read(make_exchange({}, {"error": {"message": "m", "code": 429}, "choices": []}))
    assert (reading.error_type, reading.error_message) == ("429", "m")


@pytest.mark.parametrize("nothing", ["null", "{}", '""', "false"])
def test_an_empty_error_is_no_error(nothing: str) -> None:
    reading = read(make_exchange({}, b'{"choices":[],"error":' + nothing.encode() + b"}"))
    assert (reading.error_type, reading.error_message) == (None, None)


@pytest.mark.parametrize("path", ["/models", "/models/meta-llama/Llama-3", "/files", "/v1/vector_stores/vs-1"])
def test_operations_that_nobody_reads_still_have_their_errors_read(path: str) -> None:
    reading = read(make_exchange(b"", b'{"error":{"type":"t","message":"m"}}', path=path, method="GET", status=401))
    assert (reading.reader, reading.error_type) == ("openai_other/1", "t")
    assert reading.endpoint == path.removeprefix("/v1").split("/")[1]
