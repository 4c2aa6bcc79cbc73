from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.tokens import count_chat, estimate_input

MODEL = "gpt-4o"
"""Its counting rules are published, so that the shapes can be told apart from the factors of other models."""
TEXT = "The quick brown fox jumps over the lazy dog."
SYSTEM = "Be brief."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "A city"}}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 512, 512)).decode()
CHAT = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tell it", "parameters": SCHEMA}}]
SAME: dict[str, dict[str, Any]] = {
    "messages": {
        "system": SYSTEM,
        "messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}],
        "tools": [{"name": "weather", "description": "Tell it", "input_schema": SCHEMA}],
    },
    "generate_content": {
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
        "tools": [{"functionDeclarations": [{"name": "weather", "description": "Tell it", "parameters": SCHEMA}]}],
    },
    "converse": {
        "system": [{"text": SYSTEM}],
        "messages": [{"role": "user", "content": [{"text": TEXT}]}],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "weather", "description": "Tell it", "inputSchema": {"json": SCHEMA}}}]
        },
    },
}
SAME["invoke"] = SAME["messages"]


@pytest.mark.parametrize("kind", SAME)
def test_the_same_prompt_counts_the_same_whatever_api_it_was_written_for(kind: str) -> None:
    counted = estimate_input(SAME[kind], kind, MODEL)
    assert counted is not None
    # The word for a role is a token, and not every API sends one.
    assert abs(counted - count_chat(CHAT, TOOLS, MODEL)) <= 2


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                            }
                        ],
                    }
                ]
            },
        ),
        ("generate_content", {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}]}),
        ("converse", {"messages": [{"content": [{"image": {"format": "png", "source": {"bytes": PNG}}}]}]}),
    ],
)
def test_a_picture_counts_by_its_size_and_not_by_its_bytes(kind: str, request_: dict[str, Any]) -> None:
    counted = estimate_input(request_, kind, MODEL)
    assert counted is not None
    assert 85 + 170 <= counted <= 85 + 170 + 10


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}),
        ("messages", {"messages": [], "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("generate_content", {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}]}]}),
        ("generate_content", {"contents": [{"parts": [{"fileData": {"fileUri": "gs://x"}}]}]}),
        ("generate_content", {"contents": [{"parts": [{"text": "a"}]}], "cachedContent": "cachedContents/1"}),
        ("converse", {"messages": [{"content": [{"document": {"format": "pdf"}}]}]}),
        ("chat", {"messages": [{"role": "user", "content": "what is it?", "images": [PNG]}]}),
        ("completions", {"prompt": "what is it?", "images": [PNG]}),
        ("images_generate", {"prompt": "a cat"}),
        ("transcriptions", {"file": "x"}),
    ],
)
def test_what_cannot_be_counted_is_not_estimated(kind: str, request_: dict[str, Any]) -> None:
    assert estimate_input(request_, kind, MODEL) is None


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"input": TEXT}, TEXT),
        ({"prompt": TEXT}, TEXT),
        ({"content": {"parts": [{"text": TEXT}]}}, TEXT),
        ({"requests": [{"content": {"parts": [{"text": TEXT}]}}, {"content": {"parts": [{"text": SYSTEM}]}}]}, None),
    ],
)
def test_texts_to_embed_are_found_in_every_dialect(request_: dict[str, Any], text: str | None) -> None:
    expected = sum(
        estimate_input({"input": each}, "embeddings", MODEL) or 0 for each in ([text] if text else [TEXT, SYSTEM])
    )
    assert estimate_input(request_, "embeddings", MODEL) == expected


def test_claude_counts_more_than_openai_and_its_later_models_more_still() -> None:
    request = SAME["messages"]
    plain, older, newer, bedrock = (
        estimate_input(request, "messages", model) or 0
        for model in (MODEL, "claude-sonnet-4-5", "claude-opus-5", "us.anthropic.claude-opus-5-v1:0")
    )
    assert plain < older < newer == bedrock


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("text", "type", "content", "parts", "source", "data", "image", "inlineData", "tools", "toolSpec"),
                    *("input_schema", "messages", "contents", "system", "inputSchema", "json", "toolResult", "name"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    request_=st.dictionaries(
        st.sampled_from(
            ["messages", "contents", "system", "tools", "toolConfig", "prompt", "input", "requests", "content"]
        ),
        anything,
    ),
    kind=st.sampled_from(["messages", "generate_content", "converse", "invoke", "embeddings", "chat", "completions"]),
)
def test_nothing_a_client_sends_raises(request_: dict[str, Any], kind: str) -> None:
    counted = estimate_input(request_, kind, MODEL)
    assert counted is None or counted >= 0
