"""What admission reads of each dialect's body: limits, choices, streams, tools, and what its bytes do not bound."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.gates.admission import (
    CONTEXT_TOKENS,
    PICTURE_TOKENS,
    TOOL_CALLS,
    Peek,
    Unseen,
    confusing_field,
    must_be_readable,
    peek,
    unseen,
)
from proxy.gates.admission.values import LOOSE_BYTES
from proxy.operations import OPERATIONS, Operation, find_operation

MESSAGES = Operation("anthropic", "messages", "tokens")
CHAT = Operation("openai", "chat", "tokens")
RESPONSES = Operation("openai", "responses", "tokens")
GEMINI = Operation("gemini", "generate_content", "tokens", "gemini-2.5-flash")
OLLAMA = Operation("ollama", "chat", "tokens")
CONVERSE = Operation("bedrock", "converse", "tokens", "amazon.nova-lite-v1:0")
INVOKE = Operation("bedrock", "invoke", "tokens", "anthropic.claude-sonnet-4-5-20250929-v1:0")


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def seen(body: object, operation: Operation | None) -> Peek:
    found = peek(encoded(body), operation)
    assert found is not None
    return found


def hidden(body: object, operation: Operation) -> Unseen:
    return unseen(encoded(body), operation, seen(body, operation))


@pytest.mark.parametrize(
    ("operation", "body", "limit", "choices"),
    [
        (MESSAGES, {"max_tokens": 300, "max_completion_tokens": 5}, 300, 1),
        (MESSAGES, {"max_tokens": "300", "n": 9}, 300, 1),
        (MESSAGES, {}, None, 1),
        (CHAT, {"max_tokens": 10, "prediction": {"type": "content", "content": "x" * 56}}, 100, 1),
        (CHAT, {"prediction": {"type": "content", "content": "x"}}, None, 1),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 300, "candidateCount": 4}}, 300, 4),
        (GEMINI, {"generation_config": {"max_output_tokens": 300, "candidate_count": 4}}, 300, 4),
        (GEMINI, {"generationConfig": {"max_output_tokens": 300}}, 300, 1),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 5}, "generation_config": {"maxOutputTokens": 300}}, 300, 1),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": 900}}}, 1000, 1),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": -1}}}, 100, 1),
        (GEMINI, {"generationConfig": {"thinkingConfig": {"thinking_budget": 900}}}, None, 1),
        (GEMINI, {"generationConfig": [1], "maxOutputTokens": 7}, None, 1),
        (OLLAMA, {"options": {"num_predict": 300}}, 300, 1),
        (OLLAMA, {"options": {"num_predict": -1}}, None, 1),
        (OLLAMA, {"num_predict": 300, "options": None}, None, 1),
        (CONVERSE, {"inferenceConfig": {"maxTokens": 300}}, 300, 1),
        (CONVERSE, {"maxTokens": 300}, None, 1),
        (INVOKE, {"max_tokens": 300, "anthropic_version": "bedrock-2023-05-31"}, 300, 1),
        (INVOKE, {"max_gen_len": 300}, 300, 1),
        (INVOKE, {"textGenerationConfig": {"maxTokenCount": 300}}, 300, 1),
        (INVOKE, {"inferenceConfig": {"max_new_tokens": 300}}, 300, 1),
        (INVOKE, {"max_tokens": 300, "num_generations": 5}, 300, 5),
    ],
)
def test_the_limit_of_each_dialect_is_read_and_no_other_counts(
    operation: Operation, body: object, limit: int | None, choices: int
) -> None:
    found = seen(body, operation)
    assert (found.max_output_tokens, found.choices) == (limit, choices)


@pytest.mark.parametrize(
    ("wire", "path", "body", "is_streaming"),
    [
        ("anthropic", "/v1/messages", {"stream": True}, True),
        ("anthropic", "/v1/messages", {}, False),
        ("vertex", "/v1/projects/p/models/claude-x:streamRawPredict", {}, True),
        ("gemini", "/v1beta/models/g:generateContent", {"stream": True}, True),
        ("gemini", "/v1beta/models/g:streamGenerateContent?alt=sse", {}, True),
        ("gemini", "/v1beta/models/g:streamGenerateContent", {}, True),
        ("ollama", "/api/chat", {}, True),
        ("ollama", "/api/generate", {"stream": None}, True),
        ("ollama", "/api/chat", {"stream": False}, False),
        ("ollama", "/api/embed", {}, False),
        ("bedrock", "/model/m/converse-stream", {}, True),
        ("bedrock", "/model/m/converse", {"stream": True}, False),
        ("openai", "/v1/responses", {"stream": True}, True),
    ],
)
def test_whether_it_streams_is_known_from_the_path_or_the_body(
    wire: str, path: str, body: object, is_streaming: bool
) -> None:
    assert seen(body, find_operation(wire, "POST", path)).is_streaming is is_streaming


@pytest.mark.parametrize(
    ("wire", "path", "model"),
    [
        ("azure", "/openai/deployments/my-deployment/chat/completions", "my-deployment"),
        ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("bedrock", "/model/us.anthropic.claude-x-v1%3A0/converse", "us.anthropic.claude-x-v1:0"),
        ("openai", "/v1/chat/completions", "of-the-body"),
        ("anthropic", "/v1/messages", "of-the-body"),
        ("ollama", "/api/chat", "of-the-body"),
    ],
)
def test_a_model_in_the_path_counts_more_than_one_in_the_body(wire: str, path: str, model: str) -> None:
    assert seen({"model": "of-the-body"}, find_operation(wire, "POST", path)).model == model


def test_an_interaction_of_gemini_names_its_model_in_the_body() -> None:
    interact = find_operation("gemini", "POST", "/v1beta/interactions")
    assert interact is not None
    body = {
        "model": "models/gemini-3-pro",
        "stream": True,
        "previous_interaction_id": "i",
        "generation_config": {"max_output_tokens": 9},
    }
    found = seen(body, interact)
    assert (found.model, found.is_streaming, found.max_output_tokens) == ("gemini-3-pro", True, 9)
    assert hidden(body, interact).tokens == CONTEXT_TOKENS
    assert not seen({"agent": "deep-research"}, interact).is_bounded


def test_what_changes_the_price_is_read() -> None:
    found = seen({"model": "m", "speed": "fast", "service_tier": "standard_only"}, MESSAGES)
    assert (found.speed, found.service_tier) == ("fast", "standard_only")


def test_models_that_may_answer_instead_are_read() -> None:
    assert seen({"model": "a", "models": ["b", 5, "c"]}, CHAT).other_models == ("b", None, "c")
    assert seen({"model": "a", "models": "b"}, CHAT).other_models == (None,)
    assert seen({"model": "a", "models": None}, CHAT).other_models == ()


@pytest.mark.parametrize(
    ("operation", "body", "field"),
    [
        (MESSAGES, b'{"max_tokens":5,"max_tokens":50000}', "max_tokens"),
        (MESSAGES, b'{"Max_Tokens":5}', "Max_Tokens"),
        (GEMINI, b'{"generationConfig":{},"generation_config":{}}', "generation_config"),
        (GEMINI, b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}', "max_output_tokens"),
        (GEMINI, b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}', "maxOutputTokens"),
        (GEMINI, b'{"generationConfig":{"candidatecount":9}}', "candidatecount"),
        (GEMINI, b'{"gener\\u0061tionConfig":{},"generationConfig":{}}', "generationConfig"),
        (GEMINI, b'{"generationConfig":{"maxOutputTokens":1},"contents":[{"parts":[{"text":"x","text":"y"}]}]}', None),
        (OLLAMA, b'{"options":{"num_predict":1,"num_predict":9}}', "num_predict"),
        (OLLAMA, b'{"options":{},"Options":{}}', "Options"),
        (CONVERSE, b'{"inferenceConfig":{"maxTokens":1,"maxTokens":9}}', "maxTokens"),
        (INVOKE, b'{"max_tokens":1,"max_tokens":9}', "max_tokens"),
        (CHAT, b'{"n":1,"N":128}', "N"),
        (CHAT, b'{"N":128}', "N"),
        (CHAT, b'{"model":"a","messages":[{"N":128}]}', None),
        (GEMINI, b'{"generationConfig":{"maxOutputTokens":1},"x":NaN}', "generationConfig"),
    ],
)
def test_a_deciding_field_that_two_readers_read_differently_is_found(
    operation: Operation, body: bytes, field: str | None
) -> None:
    assert confusing_field(body, operation) == field


@pytest.mark.parametrize(
    ("operation", "body", "tokens"),
    [
        (
            CHAT,
            b'{"messages":[{"content":[{"type":"image\\u005furl","image_url":{"url":"https://a"}}]}]}',
            PICTURE_TOKENS,
        ),
        (CHAT, b'{"messages":[{"content":[{"\\u0069mage_url":{"url":"https://a"}}]}]}', PICTURE_TOKENS),
        (RESPONSES, b'{"input":[{"type":"input_file","file\\u005fid":"f"}]}', CONTEXT_TOKENS),
        (RESPONSES, b'{"input":[{"file_url":"https://a/b.pdf"}]}', CONTEXT_TOKENS),
        (CHAT, b'{"messages":[{"content":"' + b"\\u0061" * 30_000 + b'"}]}', CONTEXT_TOKENS),
        (CHAT, b'{"messages":[{"content":"' + b"\\u0430" * 30_000 + b'"}]}', 0),
        (MESSAGES, b'{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"u"}}]}]}', 6_000),
        (
            MESSAGES,
            b'{"messages":[{"content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}',
            CONTEXT_TOKENS,
        ),
        (MESSAGES, b'{"messages":[{"content":[{"type":"document","source":{"type":"url"}}]}]}', CONTEXT_TOKENS),
        (MESSAGES, b'{"messages":[{"content":"hi"}]}', 0),
        (MESSAGES, b'{"tools":[{"name":"f","input_schema":{}}]}', 2_000),
        (MESSAGES, b'{"container":"c_1"}', CONTEXT_TOKENS),
        (GEMINI, b'{"contents":[{"parts":[{"fileData":{"fileUri":"u"}}]}]}', CONTEXT_TOKENS),
        (GEMINI, b'{"contents":[{"parts":[{"file_data":{"file_uri":"u"}}]}]}', CONTEXT_TOKENS),
        (GEMINI, b'{"cachedContent":"cachedContents/1"}', CONTEXT_TOKENS),
        (GEMINI, b'{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"A"}}]}]}', PICTURE_TOKENS),
        (GEMINI, b'{"contents":[{"parts":[{"inline_data":{"mime_type":"video/mp4","data":"A"}}]}]}', CONTEXT_TOKENS),
        (OLLAMA, b'{"messages":[{"content":"x","images":["AAAA"]}]}', CONTEXT_TOKENS),
        (OLLAMA, b'{"messages":[{"content":"x","images":[]}]}', 0),
        (CONVERSE, b'{"messages":[{"content":[{"image":{"source":{"bytes":"A"}}}]}]}', PICTURE_TOKENS + 2_000),
        (
            CONVERSE,
            b'{"messages":[{"content":[{"image":{"source":{"s3Location":{"uri":"s"}}}}]}]}',
            CONTEXT_TOKENS + 2_000,
        ),
        (INVOKE, b'{"messages":[{"content":[{"type":"image","source":{"type":"base64"}}]}]}', 6_000),
    ],
)
def test_input_that_bytes_do_not_bound_is_bounded_in_every_dialect(
    operation: Operation, body: bytes, tokens: int
) -> None:
    assert hidden(body, operation) == Unseen(tokens)


@pytest.mark.parametrize(
    ("operation", "body", "calls"),
    [
        (RESPONSES, {"tools": [{"type": "web_search"}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": "web_search_preview_2025_03_11"}], "max_tool_calls": 3}, 3),
        (RESPONSES, {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": "code_interpreter"}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": "mcp"}, {"type": "function"}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": "computer_use_preview"}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": "image_generation"}]}, TOOL_CALLS),
        (RESPONSES, {"tools": [{"type": ["function"]}]}, TOOL_CALLS),
        (RESPONSES, {"tools": {"type": "function"}}, TOOL_CALLS),
        (RESPONSES, b'{"to\\u006fls":[{"type":"web_se\\u0061rch"}]}', TOOL_CALLS),
        (CHAT, {"web_search_options": {}}, TOOL_CALLS),
        (CHAT, {"plugins": [{"id": "web"}]}, TOOL_CALLS),
        (CHAT, {"model": "gpt-4o-search-preview"}, TOOL_CALLS),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]}, 0),
        (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]}, 5),
        (MESSAGES, {"tools": [{"type": "web_search_20250305", "max_uses": 5}, {"type": "web_fetch_20250910"}]}, 37),
        (MESSAGES, {"tools": [{"type": "bash_20250124"}, {"type": "custom"}, {"name": "f"}]}, 0),
        (MESSAGES, {"mcp_servers": [{"type": "url"}]}, TOOL_CALLS),
        (GEMINI, {"tools": [{"googleSearch": {}}]}, TOOL_CALLS),
        (GEMINI, {"tools": [{"google_search": {}}, {"functionDeclarations": []}]}, TOOL_CALLS),
        (GEMINI, {"tools": [{"functionDeclarations": []}, {"function_declarations": []}]}, 0),
        (CONVERSE, {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, TOOL_CALLS),
        (CONVERSE, b'{"toolConfig":{"tools":[{"systemT\\u006fol":{}}]}}', TOOL_CALLS),
        (CONVERSE, {"toolConfig": {"tools": [{"toolSpec": {}}]}}, 0),
        (INVOKE, {"tools": [{"type": "web_search_20250305"}]}, TOOL_CALLS),
    ],
)
def test_tools_that_the_provider_runs_need_the_whole_context_and_their_fees(
    operation: Operation, body: Any, calls: int
) -> None:
    found = hidden(body, operation)
    assert found.tool_calls == calls
    assert (found.tokens >= CONTEXT_TOKENS) is (calls > 0)


@pytest.mark.parametrize("operation", [CHAT, MESSAGES, GEMINI, OLLAMA, CONVERSE, None])
def test_a_large_body_that_only_the_slow_reader_could_read_is_not_read(operation: Operation | None) -> None:
    body = b'{"model":"m","x":"\\ud800","y":"' + b"z" * (64 * LOOSE_BYTES) + b'"}'
    started = time.perf_counter()
    assert peek(body, operation) is None
    assert confusing_field(body, operation) is None
    assert time.perf_counter() - started < 0.5, "16 MB; the slow reader takes seconds"


@pytest.mark.parametrize("operation", [CHAT, MESSAGES, GEMINI, OLLAMA, CONVERSE])
def test_a_small_body_with_half_a_character_is_read(operation: Operation) -> None:
    assert peek(b'{"model":"m","messages":"\\ud83d"}', operation) is not None


ALL = sorted({*OPERATIONS}, key=str)
MEMBERS = st.sampled_from(
    ["model", "stream", "max_tokens", "generationConfig", "options", "inferenceConfig", "tools", "n", "size", "models"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(ALL), st.dictionaries(MEMBERS | st.text(max_size=8), VALUES, max_size=8))
@example(MESSAGES, {"max_tokens": 2**53 + 1})
@settings(max_examples=800)
def test_no_body_of_any_operation_raises_and_every_figure_is_bounded(
    operation: Operation, body: dict[str, Any]
) -> None:
    raw = json.dumps(body).encode()
    found = peek(raw, operation)
    confusing_field(raw, operation)
    assert found is not None
    assert 1 <= found.choices <= 2**53
    assert found.max_output_tokens is None or 1 <= found.max_output_tokens <= 2**53
    bound = unseen(raw, operation, found)
    assert bound.tokens >= 0
    assert bound.tool_calls >= 0


@given(st.sampled_from(ALL), st.binary(max_size=200), st.sampled_from([b"", b"multipart/form-data; boundary=x"]))
@settings(max_examples=400)
def test_no_bytes_raise(operation: Operation, body: bytes, content_type: bytes) -> None:
    found = peek(body, operation, content_type)
    confusing_field(body, operation, content_type)
    if found is not None:
        unseen(body, operation, found)


def test_a_body_must_be_readable_where_only_it_says_how_much_there_can_be() -> None:
    assert must_be_readable(MESSAGES)
    assert must_be_readable(find_operation("openai", "POST", "/v1/images/generations"))
    assert not must_be_readable(find_operation("openai", "POST", "/v1/videos"))
    assert not must_be_readable(find_operation("openai", "POST", "/v1/files"))
    assert not must_be_readable(None)


@pytest.mark.parametrize(
    ("path", "body", "limit", "choices", "units", "is_bounded"),
    [
        ("images/generations", {"n": 3}, 8_192, 3, (), True),
        ("images/generations", {"size": "1024x1024", "partial_images": 2}, 8_392, 1, (), True),
        ("images/generations", {"size": "4096x4096"}, 83_886, 1, (), True),
        ("images/generations", {"size": "auto"}, 8_192, 1, (), True),
        ("audio/speech", {"input": "hello"}, None, 1, (("input_characters", 18),), True),
        ("images/variations", {}, None, 1, (), False),
        ("videos", {"seconds": "8"}, None, 1, (), False),
        ("containers", {}, None, 1, (), False),
    ],
)
def test_what_is_billed_by_other_units_is_bounded_where_it_can_be(
    path: str, body: object, limit: int | None, choices: int, units: object, is_bounded: bool
) -> None:
    found = seen(body, find_operation("openai", "POST", f"/v1/{path}"))
    assert (found.max_output_tokens, found.choices, found.units, found.is_bounded) == (
        limit,
        choices,
        units,
        is_bounded,
    )


PICTURE = "iVBORw0KGgo" + "A" * 300_000 + "=="
WITH_PICTURE = {
    "chat": (CHAT, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}),
    "responses": (RESPONSES, {"type": "input_image", "image_url": f"data:image/webp;base64,{PICTURE}"}),
    "messages": (
        MESSAGES,
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PICTURE}},
    ),
    "gemini": (GEMINI, {"inlineData": {"mimeType": "image/png", "data": PICTURE}}),
    "gemini, as its SDK writes it": (GEMINI, {"inline_data": {"data": PICTURE, "mime_type": "image/png"}}),
}


@pytest.mark.parametrize("kind", WITH_PICTURE)
def test_a_picture_in_the_body_counts_as_a_picture_and_not_as_text(kind: str) -> None:
    operation, part = WITH_PICTURE[kind]
    body = encoded({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    hidden = unseen(body, operation, seen(body, operation))
    assert hidden.picture_bytes >= len(PICTURE)
    assert len(body) - hidden.picture_bytes < 300
    assert 0 < hidden.tokens <= PICTURE_TOKENS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": f"data:image/png;base64,{PICTURE}"},
        {"type": "text", "text": f'"image_url": {{"url": "data:image/png;base64,{PICTURE}"}}'},
        {"type": "text", "text": f'"media_type": "image/png", "data": "{PICTURE}"'},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PICTURE}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "not base64! " * 100}},
    ],
)
def test_text_that_looks_like_a_picture_counts_as_text(part: dict[str, Any]) -> None:
    body = encoded({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    for operation in (CHAT, MESSAGES):
        assert unseen(body, operation, seen(body, operation)).picture_bytes == 0


def test_many_beginnings_of_pictures_are_looked_through_in_linear_time() -> None:
    body = (
        b'{"model":"m","messages":['
        + b'"url":"data:image/png;base64,' * 100_000
        + b'"data":"'
        + b"A" * 3_000_000
        + b"]}"
    )
    started = time.process_time()
    unseen(body, CHAT, Peek(None, False, None, None, 1, None, None, False))
    assert time.process_time() - started < 5
