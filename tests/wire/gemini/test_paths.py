"""What Google's paths mean, and whose a path is that both Google and OpenAI have."""

from __future__ import annotations

import pytest

from proxy.operations import find_operation

MODELS = "/v1beta/models/gemini-2.5-flash"
VERTEX = "/v1/projects/p/locations/l"


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "billing"),
    [
        ("POST", f"{MODELS}:generateContent", "generate_content", "tokens"),
        ("POST", "/v1beta/tunedModels/mine:generateContent", "generate_content", "tokens"),
        ("POST", f"{MODELS}:countTokens", "count_tokens", "nothing"),
        ("POST", f"{MODELS}:batchEmbedContents", "embeddings", "tokens"),
        ("POST", "/v1beta/models/imagen-4.0-generate-001:predict", "predict", "units"),
        ("POST", "/v1beta/models/veo-3.0-generate-001:predictLongRunning", "videos", "later"),
        ("GET", "/v1beta/models/veo-3.0-generate-001/operations/o1", "models", "nothing"),
        ("POST", f"{MODELS}:batchGenerateContent", "batches", "later"),
        ("POST", f"{MODELS}:asyncBatchEmbedContent", "batches", "later"),
        ("GET", "/v1beta/batches/b1", "batches", "nothing"),
        ("POST", "/v1beta/batches/b1:cancel", "batches", "nothing"),
        ("POST", "/v1/interactions", "interactions", "tokens"),
        ("GET", "/v1/interactions/i1", "interactions", "nothing"),
        ("POST", "/v1/interactions/i1/cancel", "interactions", "nothing"),
        ("POST", "/v1beta/cachedContents", "cached_contents", "units"),
        ("DELETE", "/v1beta/cachedContents/c1", "cached_contents", "nothing"),
        ("POST", "/upload/v1beta/files", "files", "nothing"),
        ("GET", "/download/v1beta/files/f1:download?alt=media", "files_content", "nothing"),
        ("POST", f"{VERTEX}/publishers/google/models/gemini-2.5-pro:generateContent", "generate_content", "tokens"),
        ("POST", f"{VERTEX}/batchPredictionJobs", "batches", "later"),
    ],
)
def test_a_path_of_googles_is_an_operation(method: str, path: str, endpoint: str, billing: str) -> None:
    for wire in ("gemini", "vertex"):
        found = find_operation(wire, method, path)
        assert found is not None
        assert (found.dialect, found.endpoint, found.billing) == ("gemini", endpoint, billing)


@pytest.mark.parametrize("path", ["/v1beta/openai/batches", "/v1beta/openai/files", "/v1beta/openai/chat/completions"])
def test_what_lies_below_openai_is_openais(path: str) -> None:
    found = find_operation("gemini", "POST", path)
    assert found is not None
    assert found.dialect == "openai"
