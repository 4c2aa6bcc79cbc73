from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from proxy.records import Reading
from proxy.wire import read
from tests.wire.exchanges import make_exchange, sse
from tests.wire.openai.forms import form, form_exchange

USAGE = {
    "input_tokens": 340,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 320},
    "output_tokens": 4160,
    "total_tokens": 4500,
}


def read_generated(request: dict[str, Any], response: dict[str, Any] | bytes) -> Reading:
    return read(make_exchange(request, response, path="/images/generations"))


def test_usage_is_split_by_what_it_is_of() -> None:
    reading = read_generated({"model": "gpt-image-1", "prompt": "a cat"}, {"data": [{}], "usage": USAGE})
    usage = reading.usage
    assert usage is not None
    assert (usage.input_uncached, usage.input_image, usage.output_image, usage.output_text) == (20, 320, 4160, 0)
    assert (reading.model_requested, reading.input_text, reading.charges) == ("gpt-image-1", "a cat", ())


def test_output_that_the_provider_splits_is_split_so() -> None:
    split = USAGE | {"output_tokens_details": {"text_tokens": 60, "image_tokens": 4100}}
    usage = read_generated({"model": "gpt-image-1.5"}, {"data": [{}], "usage": split}).usage
    assert usage is not None
    assert (usage.output_image, usage.output_text) == (4100, 60)


@pytest.mark.parametrize(
    ("request_", "response", "pictures", "variant"),
    [
        ({"model": "dall-e-3", "size": "1024x1792", "quality": "hd"}, {}, 1, "1024x1792/hd"),
        ({"model": "dall-e-3"}, {}, 1, "1024x1024/standard"),
        ({}, {}, 2, "1024x1024/standard"),
        ({"model": "gpt-image-1", "size": "auto", "quality": "auto"}, {}, 1, None),
        ({"model": "gpt-image-1"}, {"size": "1536x1024", "quality": "high"}, 1, "1536x1024/high"),
    ],
)
def test_without_usage_pictures_are_counted_with_size_and_quality(
    request_: dict[str, Any], response: dict[str, Any], pictures: int, variant: str | None
) -> None:
    reading = read_generated(request_, response | {"created": 1, "data": [{"url": "u"}] * pictures})
    (charge,) = reading.charges
    assert (charge.usage.images, charge.variant, reading.usage) == (pictures, variant, charge.usage)
    assert charge.usage.output_text is UNSET


def test_an_unreadable_usage_is_a_problem_and_never_a_count_of_pictures() -> None:
    for usage in (b"5", b'{"input_tokens":"many"}'):
        reading = read_generated({"model": "gpt-image-1"}, b'{"data":[{}],"usage":' + usage + b"}")
        assert (reading.usage, reading.charges) == (None, ())
        assert "usage" in reading.problems


def test_what_drew_the_svg_is_charged_at_its_own_model() -> None:
    svg = {"model": "gpt-5.6", "input_tokens": 10, "output_tokens": 300, "reasoning_tokens": 100, "total_tokens": 310}
    reading = read_generated({"model": "gpt-image-2.5"}, {"data": [{}], "usage": USAGE, "svg_usage": svg})
    whole, drawing = reading.charges
    assert (whole.model, whole.usage.output_tokens) == (None, 4160)
    assert (drawing.model, drawing.usage.input_tokens, drawing.usage.output_text) == ("gpt-5.6", 10, 200)
    assert drawing.usage.output_reasoning == 100
    assert reading.usage is not None
    assert reading.usage.output_tokens == 4460


def test_an_edit_is_a_form_with_files() -> None:
    body = form(("prompt", "cat"), ("model", "gpt-image-1"), ("image[]", b"\x89PNG"), ("image[]", b"\x89PNG"))
    reading = read(form_exchange("/v1/images/edits", body, {"data": [{}], "usage": USAGE}))
    assert (reading.endpoint, reading.model_requested, reading.input_text) == ("images_edit", "gpt-image-1", "cat")
    assert reading.usage is not None
    assert reading.is_streaming is False


def test_a_variation_has_no_usage_and_is_billed_by_the_piece() -> None:
    body = form(("n", "2"), ("size", "512x512"), ("image", b"\x89PNG"))
    reading = read(form_exchange("/v1/images/variations", body, {"data": [{"url": "a"}, {"url": "b"}]}))
    (charge,) = reading.charges
    assert (charge.usage.images, charge.variant) == (2, "512x512/standard")


def test_a_stream_shows_its_first_picture_early_and_its_usage_late() -> None:
    partial = {"type": "image_generation.partial_image", "b64_json": "eHg=", "partial_image_index": 0}
    completed = {"type": "image_generation.completed", "b64_json": "eHg=", "usage": USAGE, "size": "1024x1024"}
    body = sse(partial, partial, completed)
    reading = read_generated({"model": "gpt-image-1", "stream": True, "partial_images": 2}, body)
    assert (reading.is_streaming, reading.has_ended) == (True, True)
    assert (reading.first_token_offset, reading.last_token_offset) == (len(sse(partial)), len(body))
    assert reading.usage is not None
    assert reading.usage.output_image == 4160


def test_a_stream_that_broke_off_says_so() -> None:
    body = sse({"type": "image_edit.partial_image", "b64_json": "eHg="})
    exchange = form_exchange("/v1/images/edits", form(("model", "gpt-image-1"), ("stream", "true")), body)
    reading = read(exchange)
    assert (reading.has_ended, reading.usage, reading.charges) == (False, None, ())


@pytest.mark.parametrize("is_streaming", [False, True])
def test_the_usage_of_pictures_too_long_to_keep_is_read(is_streaming: bool) -> None:
    picture = "A" * 50_000
    request = {"model": "gpt-image-1", "stream": is_streaming}
    completed = {"type": "image_generation.completed", "b64_json": picture, "size": "1024x1024", "usage": USAGE}
    plain = {"created": 1, "data": [{"b64_json": picture}] * 2, "usage": USAGE}
    body = sse({"type": "image_generation.partial_image", "b64_json": picture}, completed) if is_streaming else plain
    reading = read(make_exchange(request, body, path="/images/generations", capture_limit=5_000))
    assert reading.usage is not None
    assert (reading.usage.output_image, reading.charges) == (4160, ())
    assert reading.has_ended is (True if is_streaming else None)


def test_pictures_that_were_not_kept_are_not_counted() -> None:
    body = {"data": [{"b64_json": "A" * 50_000}] * 2}
    reading = read(make_exchange({"model": "dall-e-3"}, body, path="/images/generations", capture_limit=5_000))
    assert (reading.usage, reading.charges) == (None, ())


def test_an_error_inside_a_stream_is_read() -> None:
    error = {"type": "error", "error": {"type": "image_generation_user_error", "code": "moderation_blocked"}}
    reading = read_generated({"model": "gpt-image-1", "stream": True}, sse(error))
    assert (reading.error_type, reading.has_ended) == ("moderation_blocked", True)
