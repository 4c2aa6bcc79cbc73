"""What is read of vectors, predictions and counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.gemini.answers import read

EMBED = "/v1beta/models/gemini-embedding-001:embedContent"
BATCH = "/v1/models/gemini-embedding-001:batchEmbedContents"
PREDICT = "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict"
IMAGEN = "/v1beta/models/imagen-4.0-generate-001:predict"


def test_embeddings_have_input_only() -> None:
    request = {"requests": [{"content": {"parts": [{"text": "hi"}]}}, {"content": {"parts": [{"text": "ho"}]}}]}
    body = {"embeddings": [{"values": [0.1]}, {"values": [0.2]}], "usageMetadata": {"promptTokenCount": 4}}
    reading = read(body, path=BATCH, request=request)
    assert (reading.reader, reading.endpoint, reading.input_text) == ("gemini_embeddings/1", "embeddings", "hi\nho")
    assert reading.model_requested == "gemini-embedding-001"
    assert reading.usage is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (4, None)


def test_a_picture_to_embed_is_a_picture() -> None:
    usage = read(
        {
            "embedding": {"values": [0.1]},
            "usageMetadata": {
                "promptTokenCount": 260,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 2},
                    {"modality": "IMAGE", "tokenCount": 258},
                ],
            },
        },
        path=EMBED,
    ).usage
    assert usage is not None
    assert (usage.input_uncached, usage.input_image, usage.output_tokens) == (2, 258, None)


def test_embeddings_that_say_nothing_of_usage_have_none() -> None:
    reading = read({"embedding": {"values": [0.1, 0.2]}}, path=EMBED, request={"content": {"parts": [{"text": "hi"}]}})
    assert (reading.usage, reading.input_text, reading.problems) == (None, "hi", ())


@pytest.mark.parametrize("name", ["token_count", "tokenCount"])
def test_the_tokens_of_vertex_stand_beside_each_vector(name: str) -> None:
    predictions = [{"embeddings": {"values": [1.0], "statistics": {name: count}}} for count in (3, 4.0)]
    request = {"instances": [{"content": "hi"}, {"content": "ho"}]}
    reading = read({"predictions": predictions}, path=PREDICT, request=request, wire="vertex")
    assert (reading.reader, reading.input_text) == ("gemini_predict/1", "hi\nho")
    assert reading.usage is not None
    assert reading.usage.input_tokens == 7


@pytest.mark.parametrize("count", [-1, "x", 1e300, None])
def test_an_impossible_count_of_one_vector_makes_the_sum_unknown(count: Any) -> None:
    predictions = [{"embeddings": {"statistics": {"token_count": each}}} for each in (3, count)]
    assert read({"predictions": predictions}, path=PREDICT, wire="vertex").usage is None


def test_pictures_are_counted_and_those_filtered_out_are_not() -> None:
    pictures: list[dict[str, Any]] = [{"mimeType": "image/png", "bytesBase64Encoded": "iVBORw0KGgo="}] * 2
    body = {"predictions": [*pictures, {"raiFilteredReason": "Unable to show generated images."}]}
    reading = read(body, path=IMAGEN, request={"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 3}})
    assert reading.usage is not None
    assert (reading.usage.count("images"), reading.input_text) == (2, "a cat")


def test_counting_costs_nothing_and_its_errors_are_read() -> None:
    path = "/v1beta/models/gemini-2.5-flash:countTokens"
    assert read({"totalTokens": 31}, path=path).usage is None
    error = {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}
    reading = read(error, path=path, status=404)
    assert (reading.endpoint, reading.error_type) == ("count_tokens", "NOT_FOUND")
