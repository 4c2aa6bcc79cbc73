"""Usage over the wire, against an independent count."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from pricing.tokens import count_chat, count_text, estimate_input
from tests.harness import Simulator
from tests.simulator.raw import exchange

LONG = "All work and no play makes a long prompt. " * 200


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5", "gpt-3.5-turbo-instruct"])
def test_max_tokens_is_kept_to_the_token(client: openai.OpenAI, limit: int, model: str) -> None:
    messages: Any = [{"role": "user", "content": f"Say {limit} words"}]
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=messages,
            max_completion_tokens=limit,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-simulate": "tokens=500; hidden-reasoning=0"},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert count_text(text, model) == limit
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == limit


def test_reasoning_counts_against_the_limit_and_may_use_all_of_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-5",
        messages=[{"role": "user", "content": "Think"}],
        max_completion_tokens=40,
        extra_headers={"x-simulate": "hidden-reasoning=60"},
    )
    assert answer.choices[0].message.content == ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 40
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 40


def test_visible_reasoning_is_streamed_and_billed(provider: Simulator) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Think"}]}
    plain = exchange(provider.port, body, x_simulate="reasoning=30; tokens=10")
    assert b'"reasoning_tokens":30' in plain.body
    assert b'"completion_tokens":40' in plain.body
    streamed = exchange(provider.port, body | {"stream": True}, x_simulate="reasoning=30; tokens=10")
    assert streamed.body.count(b'"reasoning_content"') == 30


def test_input_is_counted_with_its_framing_and_its_tools(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "naïve ☃ " * 50}]
    tools: Any = [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Looks",
                "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
            },
        }
    ]
    for model in ("gpt-4o", "gpt-4"):
        answer = client.chat.completions.create(model=model, messages=messages, tools=tools)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == count_chat(messages, tools, model)
    response = client.responses.create(model="gpt-4o", instructions="Be brief.", input="Hello there")
    assert response.usage is not None
    expected = estimate_input({"instructions": "Be brief.", "input": "Hello there"}, "responses", "gpt-4o")
    assert response.usage.input_tokens == expected


def test_a_prompt_seen_before_is_cached_up_to_a_multiple_of_128(client: openai.OpenAI) -> None:
    opening: Any = {"role": "system", "content": "cache me " + LONG}

    def cached(owner: openai.OpenAI, question: str) -> int:
        turns: Any = [opening, {"role": "user", "content": question}]
        answer = owner.chat.completions.create(model="gpt-4o", messages=turns)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        return answer.usage.prompt_tokens_details.cached_tokens or 0

    assert cached(client, "one?") == 0
    second = cached(client, "two?")
    prefix = count_text(opening["content"], "gpt-4o")
    assert prefix - 256 < second <= prefix
    assert second % 128 == 0
    assert second >= 1024
    with client.with_options(api_key="sk-somebody-else-0123") as stranger:
        assert cached(stranger, "two?") == 0


def test_a_growing_conversation_finds_its_past_in_the_cache(client: openai.OpenAI) -> None:
    turns: Any = [{"role": "user", "content": "a growing talk " + LONG}]
    hits = []
    for question in ("and then?", "what else?", "and finally?"):
        answer = client.responses.create(model="gpt-4.1", input=turns)
        assert answer.usage is not None
        hits.append(answer.usage.input_tokens_details.cached_tokens)
        turns += [{"role": "assistant", "content": LONG}, {"role": "user", "content": question}]
    assert hits[0] == 0
    assert 1024 <= hits[1] < hits[2]


def test_a_short_prompt_is_never_cached(client: openai.OpenAI) -> None:
    for _ in range(2):
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "again"}])
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 0


def test_the_service_tier_is_echoed(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Hello"}]
    assert client.chat.completions.create(model="gpt-5", messages=messages).service_tier == "default"
    flex = client.chat.completions.create(model="gpt-5", messages=messages, service_tier="flex")
    assert flex.service_tier == "flex"
    assert client.responses.create(model="gpt-5", input="Hello", service_tier="priority").service_tier == "priority"
