"""What the real SDKs send, with answers of the documented shape: forms, queries and deployments are understood."""

from __future__ import annotations

import pytest

from proxy.wire import read
from tests.wire.exchanges import captured


@pytest.mark.parametrize(
    ("name", "wire", "endpoint", "model_requested", "text"),
    [
        ("openai_images_edit", "openai", "images_edit", "gpt-image-1", None),
        ("openai_transcription_stream", "openai", "transcriptions", "gpt-4o-transcribe", "Hello."),
        ("openai_speech_stream", "openai", "speech", "gpt-4o-mini-tts", None),
        ("openai_video", "openai", "videos", "sora-2", None),
        ("openai_responses_resumed", "openai", "responses_retrieve", None, "Hello."),
        ("azure_chat", "azure", "chat", "my-dep", "Hello."),
        ("azure_transcription", "azure", "transcriptions", "wh", "Hello."),
    ],
)
def test_what_the_sdk_sends_is_understood(
    name: str, wire: str, endpoint: str, model_requested: str | None, text: str | None
) -> None:
    reading = read(captured(name, wire=wire))
    assert (reading.endpoint, reading.model_requested, reading.output_text) == (endpoint, model_requested, text)
    assert reading.problems == ()
    assert reading.usage is not None or reading.is_pending
    assert reading.is_streaming is ("stream" in name or "resumed" in name)
    assert reading.has_ended is (True if reading.is_streaming else None)
