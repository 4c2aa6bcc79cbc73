"""The simulated Bedrock: what it bills is what it says, and what our readers read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.harness import Simulator
from tests.simulator.provider import Told, tell

CLAUDE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
SAID: list[Any] = [{"role": "user", "content": [{"text": "What do you see?"}]}]
SPEC = {"name": "get_weather", "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}}
TOOLS: dict[str, Any] = {"toolConfig": {"tools": [{"toolSpec": SPEC}]}}
THINKING = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
LONG = "The pane was clear and the light fell through it. " * 300
SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261120/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"
}


def ask(provider: Simulator, action: str, content: dict[str, Any], *, model: str = CLAUDE, simulate: str = "") -> Told:
    return tell(provider, "bedrock", f"/model/{model}/{action}", content, simulate=simulate, headers=SIGNED)


@pytest.mark.parametrize("action", ["converse", "converse-stream"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "end_turn"),
        (TOOLS, "tool_use"),
        (THINKING, "end_turn"),
        ({"inferenceConfig": {"maxTokens": 3}}, "max_tokens"),
        ({"system": [{"text": "Be brief."}], "serviceTier": {"type": "priority"}}, "end_turn"),
    ],
)
def test_what_it_bills_is_what_it_says(provider: Simulator, action: str, content: dict[str, Any], reason: str) -> None:
    told = ask(provider, action, {"messages": SAID, **content})
    told.assert_usage_is_true()
    reading = told.reading
    assert (reading.problems, reading.model, reading.finish_reasons) == ((), CLAUDE, (reason,))
    assert reading.is_streaming == (action == "converse-stream")
    assert reading.has_ended is (True if reading.is_streaming else None)
    assert bool(reading.reasoning_text) == (content is THINKING)
    assert [call.name for call in reading.tool_calls] == (["get_weather"] if content is TOOLS else [])
    assert reading.service_tier == content.get("serviceTier", {"type": "default"})["type"]


@pytest.mark.parametrize("action", ["converse", "converse-stream"])
def test_a_prompt_is_written_once_and_read_afterwards(provider: Simulator, action: str) -> None:
    content = {
        "system": [{"text": f"{action} {LONG}"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [{"text": LONG}, {"cachePoint": {"type": "default"}}, {"text": "Go."}]}
        ],
    }
    first, again = ask(provider, action, content), ask(provider, action, content)
    for told in (first, again):
        told.assert_usage_is_true()
    five, hour = (first.truth["usage"][f"cache_write_{life}_tokens"] for life in ("5m", "1h"))
    assert again.truth["usage"]["cached_tokens"] == five + hour > 2048


BODIES: dict[str, dict[str, Any]] = {
    CLAUDE: {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hello"}],
    },
    "amazon.nova-lite-v1:0": {"messages": SAID, "inferenceConfig": {"maxTokens": 9}},
    "amazon.titan-text-lite-v1": {"inputText": "Hello", "textGenerationConfig": {"maxTokenCount": 9}},
    "meta.llama3-8b-instruct-v1:0": {"prompt": "Hello", "max_gen_len": 9},
    "mistral.mistral-large-2402-v1:0": {"prompt": "Hello", "max_tokens": 9},
    "cohere.command-r-v1:0": {"message": "Hello", "max_tokens": 9},
    "openai.gpt-oss-20b-1:0": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9},
}


@pytest.mark.parametrize("model", BODIES)
@pytest.mark.parametrize("action", ["invoke", "invoke-with-response-stream"])
def test_every_family_speaks_for_itself(provider: Simulator, model: str, action: str) -> None:
    told = ask(provider, action, BODIES[model], model=model)
    told.assert_usage_is_true()
    reading = told.reading
    assert (reading.problems, reading.model, reading.is_streaming) == ((), model, "stream" in action)
    assert reading.output_text
    assert reading.usage is not None
    assert (reading.usage.output_tokens, len(reading.finish_reasons)) == (9, 1)
    assert reading.has_ended is (True if reading.is_streaming else None)


@pytest.mark.parametrize("action", ["converse", "converse-stream"])
def test_the_same_request_gets_the_same_bytes(provider: Simulator, action: str) -> None:
    first, again = (ask(provider, action, {"messages": SAID}).response.content for _ in range(2))
    assert first == again != b""


def test_embeddings_have_an_input_only(provider: Simulator) -> None:
    told = ask(provider, "invoke", {"inputText": "Hello"}, model="amazon.titan-embed-text-v2:0")
    assert told.reading.usage is not None
    assert (told.reading.usage.input_tokens, told.reading.usage.output_tokens) == (
        told.truth["usage"]["input_tokens"],
        None,
    )


def test_counting_is_free_and_agrees_with_the_bill(provider: Simulator) -> None:
    given = {"converse": {"messages": SAID}}
    counted = ask(provider, "count-tokens", {"input": given})
    assert counted.json == {"inputTokens": ask(provider, "converse", given["converse"]).truth["usage"]["input_tokens"]}
    assert counted.truth["usage"] is None
    body = base64.b64encode(json.dumps(BODIES[CLAUDE]).encode()).decode()
    counted = ask(provider, "count-tokens", {"input": {"invokeModel": {"body": body}}})
    assert counted.json == {"inputTokens": ask(provider, "invoke", BODIES[CLAUDE]).truth["usage"]["input_tokens"]}


def test_a_model_may_be_named_by_its_arn(provider: Simulator) -> None:
    arn = f"arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F{CLAUDE}"
    told = ask(provider, "converse", {"messages": SAID}, model=arn)
    told.assert_usage_is_true()
    assert told.reading.model == CLAUDE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
    ],
)
@pytest.mark.parametrize("action", ["converse", "invoke-with-response-stream"])
def test_its_errors_are_bedrocks(provider: Simulator, action: str, status: int, kind: str) -> None:
    told = ask(provider, action, BODIES[CLAUDE], simulate=f"status={status}")
    assert (told.response.status_code, told.reading.error_type) == (status, kind)
    assert told.reading.error_message == told.json["message"]


@pytest.mark.parametrize(
    ("action", "content"), [("converse-stream", {"messages": SAID}), ("invoke-with-response-stream", BODIES[CLAUDE])]
)
def test_a_failure_in_the_middle_is_an_exception(provider: Simulator, action: str, content: dict[str, Any]) -> None:
    told = ask(provider, action, content, simulate="error=3")
    assert (told.reading.error_type, told.reading.has_ended) == ("modelStreamErrorException", True)
    assert told.reading.problems == ()


@pytest.mark.parametrize("wish", ["chunk=1", "gzip", "eof=4"])
def test_however_it_is_delivered_it_can_be_read(provider: Simulator, wish: str) -> None:
    told = ask(provider, "converse-stream", {"messages": SAID}, simulate=wish)
    assert (told.reading.problems, told.reading.has_ended) == ((), wish != "eof=4")
    if told.reading.has_ended:
        told.assert_usage_is_true()


@pytest.mark.parametrize("content", [{}, {"messages": []}])
def test_it_refuses_a_conversation_without_messages(provider: Simulator, content: dict[str, Any]) -> None:
    told = ask(provider, "converse", content)
    assert (told.response.status_code, told.reading.error_type) == (400, "ValidationException")
