"""Answers are honest: what is billed is what a tokenizer counts, and a limit is kept to the token.

No deadlines: the first example loads a tokenizer, and a busy machine is no fault of the code.
"""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.tokens import count_text
from proxy.simulator.answer import Answer, Usage, compose, fit, joined
from proxy.simulator.directives import Directives
from proxy.simulator.openai.ask import read_ask
from proxy.simulator.prose import write_prose
from proxy.simulator.structured import write_json

MODELS = st.sampled_from(["gpt-4o-mini", "gpt-5", "o3", "gpt-3.5-turbo-instruct", "gpt-4", "somebody/else"])
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": "string"}},
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]


def answer_to(request: dict[str, Any], wishes: Directives, seed: int = 0) -> Answer:
    ask = read_ask("chat", {"messages": [{"role": "user", "content": "Hello"}], **request})
    count = partial(count_text, model=ask.model)
    return compose(ask, wishes, Usage(9), "0" * 64, random.Random(seed), count)


@given(MODELS, st.integers(0, 600), st.integers())
def test_prose_of_n_pieces_is_n_tokens(model: str, length: int, seed: int) -> None:
    pieces = write_prose(random.Random(seed), length)
    assert len(pieces) == length
    assert count_text("".join(pieces), model) == length


@given(
    model=MODELS,
    tokens=st.none() | st.integers(0, 200),
    limit=st.none() | st.integers(1, 200),
    shown=st.none() | st.integers(0, 80),
    hidden=st.none() | st.integers(0, 80),
    n=st.integers(1, 3),
    seed=st.integers(),
)
def test_every_choice_bills_its_text_and_keeps_its_limit_exactly(
    model: str, tokens: int | None, limit: int | None, shown: int | None, hidden: int | None, n: int, seed: int
) -> None:
    wishes = Directives(tokens=tokens, reasoning=shown, hidden_reasoning=hidden)
    answer = answer_to({"model": model, "max_completion_tokens": limit, "n": n}, wishes, seed)
    assert len(answer.choices) == n
    for choice in answer.choices:
        text = count_text(joined(choice.content), model)
        assert choice.output_tokens == text + choice.hidden_reasoning + count_text(joined(choice.reasoning), model)
        if choice.finish_reason == "length":
            assert choice.output_tokens == limit
        else:
            assert limit is None or choice.output_tokens <= limit
            assert tokens is None or text == tokens
    assert answer.usage.output_tokens == sum(choice.output_tokens for choice in answer.choices)
    assert answer.usage.reasoning_tokens == sum(choice.reasoning_tokens for choice in answer.choices)


@given(MODELS, st.integers(1, 60), st.integers(1, 3), st.integers())
def test_tool_calls_bill_names_and_arguments_and_never_pass_the_limit(
    model: str, limit: int, calls: int, seed: int
) -> None:
    answer = answer_to(
        {"model": model, "max_tokens": limit, "tools": TOOLS}, Directives(tools=calls, reasoning=0), seed
    )
    (choice,) = answer.choices
    counted = sum(count_text(call.name, model) + count_text(call.arguments, model) for call in choice.tool_calls)
    assert choice.output_tokens == counted <= limit
    if choice.finish_reason == "tool_calls":
        assert all(json.loads(call.arguments).keys() == SCHEMA["properties"].keys() for call in choice.tool_calls)


@given(st.text(), st.integers(0, 40), MODELS)
def test_fitting_keeps_a_prefix_and_counts_it(text: str, room: int, model: str) -> None:
    count = partial(count_text, model=model)
    pieces, complete = fit(text, room, count)
    kept = joined(pieces)
    assert text.startswith(kept)
    assert complete == (count(text) <= room) == (kept == text or count(text) <= room)
    assert sum(piece.tokens for piece in pieces) == count(kept) <= room
    assert all(piece.tokens >= 0 for piece in pieces)


@given(st.integers(1, 30), st.integers())
def test_fitting_json_wastes_no_token(room: int, seed: int) -> None:
    text = write_json(SCHEMA, random.Random(seed))
    count = partial(count_text, model="gpt-4o")
    pieces, complete = fit(text, room, count)
    assert complete or count(joined(pieces)) == room


@pytest.mark.parametrize(
    ("choice", "follows_tool", "called"),
    [("auto", False, True), ("auto", True, False), ("required", True, True), ("none", False, False)],
)
def test_tools_are_called_as_the_application_wishes(choice: str, follows_tool: bool, called: bool) -> None:
    turns = [{"role": "user", "content": "Hi"}] + [{"role": "tool", "content": "sunny"}] * follows_tool
    request = {"model": "gpt-4o", "tools": TOOLS, "tool_choice": choice, "messages": turns}
    assert bool(answer_to(request, Directives()).choices[0].tool_calls) == called


def test_directives_make_several_calls_or_none() -> None:
    request = {"model": "gpt-4o", "tools": TOOLS}
    calls = answer_to(request, Directives(tools=3)).choices[0].tool_calls
    assert len({call.id for call in calls}) == 3
    assert not answer_to(request, Directives(tools=0)).choices[0].tool_calls


def test_written_json_follows_references_choices_and_nullable_types_and_ends() -> None:
    schema = {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "kind": {"const": "leaf"}}},
        },
        "type": "object",
        "properties": {
            "tree": {"$ref": "#/$defs/node"},
            "unit": {"enum": ["c", "f"]},
            "maybe": {"type": ["null", "integer"]},
            "either": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "many": {"type": "array", "items": {"type": "number"}},
        },
    }
    value = json.loads(write_json(schema, random.Random(1)))
    assert value["tree"]["kind"] == "leaf"
    assert value["unit"] in ("c", "f")
    assert isinstance(value["maybe"], int)
    assert isinstance(value["either"], bool)
    assert all(isinstance(item, float) for item in value["many"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["type", "properties", "items", "enum", "$ref", "anyOf", "const"]), inner)
        ),
    )
)
def test_any_schema_at_all_gives_json(schema: Any) -> None:
    json.loads(write_json(schema if isinstance(schema, dict) else {"properties": {"it": schema}}, random.Random(0)))
