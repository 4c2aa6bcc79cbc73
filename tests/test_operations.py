"""What a method and a path mean, before any body is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.operations import DIALECTS_OF, WEBSOCKET, Operation, find_operation


@pytest.mark.parametrize(
    ("wire", "method", "path", "dialect", "endpoint", "model", "is_streaming"),
    [
        ("openai", "POST", "/chat/completions", "openai", "chat", None, False),
        ("openai", "POST", "/v1/messages?beta=true", "anthropic", "messages", None, False),
        ("anthropic", "POST", "/v1/messages", "anthropic", "messages", None, False),
        ("anthropic", "POST", "/v1/chat/completions", "openai", "chat", None, False),
        ("azure", "POST", "/openai/deployments/my-gpt/chat/completions?api-version=1", "openai", "chat", "my-gpt", False),
        ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "gemini", "generate_content",
         "gemini-2.5-pro", True),
        ("gemini", "POST", "/v1beta/openai/chat/completions", "openai", "chat", None, False),
        ("vertex", "POST", "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict",
         "anthropic", "messages", "claude-x@1", True),
        ("bedrock", "POST", "/model/anthropic.claude-3%3A0/converse-stream", "bedrock", "converse",
         "anthropic.claude-3:0", True),
        ("bedrock", "POST", "/model/arn:aws:bedrock:us-east-1::foundation-model%2Fx.y-v1%3A0/invoke", "bedrock", "invoke",
         "arn:aws:bedrock:us-east-1::foundation-model/x.y-v1:0", False),
        ("bedrock", "POST", "/guardrail/g1/version/1/apply", "bedrock", "guardrails", None, False),
        ("bedrock", "GET", "/async-invoke/arn%3Aaws%3A1", "bedrock", "async_invoke", None, False),
        ("bedrock", "POST", "/openai/v1/chat/completions", "openai", "chat", None, False),
        ("anthropic", "GET", "/v1/messages/batches/msgbatch_1/results", "anthropic", "message_batch_results", None, False),
        ("vertex", "POST", "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
         "anthropic", "count_tokens", None, False),
        ("anthropic", "POST", "/v1/sessions/s_1/events?beta=true", "anthropic", "sessions", None, False),
        ("anthropic", "GET", "/v1/sessions/s_1/events/stream", "anthropic", "sessions", None, False),
        ("anthropic", "GET", "/v1/organizations/cost_report", "anthropic", "administration", None, False),
        ("vertex", "POST", "/v1/projects/p/locations/l/endpoints/123:generateContent", "gemini", "generate_content",
         "123", False),
        ("vertex", "POST", "/v1/projects/p/locations/l/endpoints/123:streamGenerateContent?alt=sse", "gemini",
         "generate_content", "123", True),
        ("vertex", "POST", "/v1/projects/p/locations/l/endpoints/123:countTokens", "gemini", "count_tokens", "123", False),
        ("vertex", "POST", "/v1/projects/p/locations/l/endpoints/123:predict", "gemini", "predict", "123", False),
        ("vertex", "POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", "openai", "chat", None, False),
        ("ollama", "POST", "/api/chat", "ollama", "chat", None, False),
        ("ollama", "POST", "/v1/chat/completions", "openai", "chat", None, False),
        ("openai", WEBSOCKET, "/responses", "openai", "responses_socket", None, True),
        ("openai", "GET", "/responses/resp_1?stream=true", "openai", "responses_retrieve", None, False),
        ("openai", "POST", "/v1/Chat%2FCompletions/", "openai", "chat", None, False),
    ],
)  # fmt: skip
def test_a_method_and_a_path_name_an_operation(
    wire: str, method: str, path: str, dialect: str, endpoint: str, model: str | None, is_streaming: bool
) -> None:
    found = find_operation(wire, method, path)
    assert found is not None
    assert (found.dialect, found.endpoint, found.model, found.is_streaming) == (dialect, endpoint, model, is_streaming)


@pytest.mark.parametrize("path", ["", "/", "/xcompletions", "/chat/completionsx/c-1", "/supermodels"])
def test_a_path_nobody_knows_is_no_operation(path: str) -> None:
    assert find_operation("openai", "POST", path) is None


def test_nothing_is_known_of_an_upstream_without_a_wire() -> None:
    assert find_operation("none", "POST", "/chat/completions") is None


@given(st.sampled_from(sorted(DIALECTS_OF)), st.text(max_size=40), st.text(max_size=200))
def test_no_method_and_no_path_raises(wire: str, method: str, path: str) -> None:
    assert isinstance(find_operation(wire, method, path), Operation | None)
