from __future__ import annotations

import pytest

from tests.wire.anthropic.messages import read_message


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            b'{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}',
            "overloaded_error",
            "m",
        ),
        (
            b'{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}',
            "enforced_spend_limit_reached",
            "m",
        ),
        (b'{"type":"error","error":{"type":"api_error","message":"m","details":null}}', "api_error", "m"),
        (b'{"type":"error","error":{"type":"api_error","message":"m"', "api_error", "m"),
        (b'{"error":{"message":"m","type":null,"code":"c"}}', "c", "m"),
        (b'{"detail":"m"}', None, "m"),
        (b'{"message":"m"}', None, "m"),
        (b"upstream connect error", None, "upstream connect error"),
        (b"<html>", None, None),
        (b"", None, None),
    ],
)
def test_errors_are_read_in_every_shape(body: bytes, kind: str | None, message: str | None) -> None:
    reading = read_message(body, status=529)
    assert (reading.error_type, reading.error_message, reading.usage) == (kind, message, None)
    assert (reading.is_streaming, reading.model_requested) == (False, "claude-sonnet-4-5")


def test_an_error_inside_a_successful_answer_is_an_error() -> None:
    reading = read_message({"type": "error", "error": {"type": "api_error", "message": "m"}})
    assert (reading.error_type, reading.error_message) == ("api_error", "m")
