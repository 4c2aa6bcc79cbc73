"""Forms: the fields that decide are read, files are skipped over, and what has two readings has none."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gates.admission import PICTURE_TOKENS, peek, unseen
from proxy.operations import Operation, find_operation

TYPE = b"multipart/form-data; boundary=ab12"
TRANSCRIBE = find_operation("openai", "POST", "/v1/audio/transcriptions")
EDIT = find_operation("openai", "POST", "/v1/images/edits")


def part(name: str, value: bytes, *, filename: str | None = None, extra: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "") + extra
    return b"--ab12\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + value + b"\r\n"


END = b"--ab12--\r\n"


def test_a_transcription_is_bounded_by_the_bytes_of_its_sound() -> None:
    sound = b"\x00" * 100_000
    body = part("file", sound, filename="a.mp3") + part("model", b"whisper-1") + part("stream", b"true") + END
    found = peek(body, TRANSCRIBE, TYPE)
    assert found is not None
    assert (found.model, found.is_streaming, found.is_bounded) == ("whisper-1", True, True)
    assert found.units == (("input_audio_ms", len(body)),)
    assert found.file_bytes == 100_000
    assert unseen(body, TRANSCRIBE, found).tokens == 2_000


def test_an_edited_picture_is_bounded_by_how_many_go_in_and_come_out() -> None:
    pictures = b"".join(part("image[]", b"\x89PNG", filename=f"{number}.png") for number in range(3))
    body = pictures + part("n", b"4") + part("model", b"gpt-image-1") + part("size", b"1536x1024") + END
    found = peek(body, EDIT, TYPE)
    assert found is not None
    assert (found.model, found.choices, found.max_output_tokens) == ("gpt-image-1", 4, 8_192)
    assert unseen(body, EDIT, found).tokens == 3 * PICTURE_TOKENS


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part("model", b"a") + part("model", b"b") + END, TYPE),
        (part("model", b"a") + part("Model", b"b") + END, TYPE),
        (part("N", b"128") + END, TYPE),
        (b"preamble\r\n" + part("model", b"a") + END, TYPE),
        (part("model", b"a") + END + part("model", b"b") + END, TYPE),
        (part("model", b"a"), TYPE),
        (part("model", b"a") + b"--ab12", TYPE),
        (part("file", b'x\n--ab12\r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n') + END, TYPE),
        (part("model", b"a", extra="; name*=utf-8''n") + END, TYPE),
        (part("model", b"a", extra='; name="n"') + END, TYPE),
        (part("model", b"a").replace(b"form-data", b"attachment") + END, TYPE),
        (part("model", b"a").replace(b'"model"', b'"mo\\"del"') + END, TYPE),
        (part("model", b"a") + END, b"multipart/form-data"),
        (part("model", b"a") + END, b"multipart/form-data; boundary=ab12; boundary=cd"),
        (part("model", b"a") + END, b"multipart/form-data; boundary=other"),
        (b"", TYPE),
    ],
)
def test_a_form_with_two_readings_is_not_read(body: bytes, content_type: bytes) -> None:
    assert peek(body, TRANSCRIBE, content_type) is None


def test_a_form_is_no_body_for_what_is_billed_by_the_token() -> None:
    assert peek(part("model", b"a") + END, Operation("openai", "chat", "tokens"), TYPE) is None


@given(st.binary(max_size=300))
def test_a_file_may_hold_any_bytes(content: bytes) -> None:
    found = peek(part("file", content, filename="a.wav") + part("model", b"m") + END, TRANSCRIBE, TYPE)
    if b"--ab12" not in content:
        assert found is not None
        assert (found.model, found.file_bytes) == ("m", len(content))


def test_a_large_file_is_neither_copied_nor_slow() -> None:
    body = part("model", b"whisper-1") + part("file", b"\r\n--ab1" * 7_000_000, filename="a.wav") + END
    tracemalloc.start()
    started = time.perf_counter()
    found = peek(body, TRANSCRIBE, TYPE)
    took, (_, most) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert most < 100_000
    assert took < 2, "49 MB of near misses"
