"""Nothing is priced at 0 because it was not understood: every operation, whatever the answer looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import PriceBook, Usage
from proxy import wire
from proxy.operations import _ROWS, DIALECTS_OF, WEBSOCKET, Dialect, Operation, find_operation
from proxy.recorder.verdict import judge
from proxy.records import Exchange, Reading
from tests.recorder.builders import interpreter, make_begin, make_end, make_exchange

WIRE_OF: dict[Dialect, tuple[str, str, str]] = {
    "openai": ("openai", "openai", "gpt-4o-mini"),
    "anthropic": ("anthropic", "anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "google", "gemini-2.5-flash"),
    "ollama": ("ollama", "ollama", "llama3"),
    "bedrock": ("bedrock", "aws", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
"""Wire, provider id and a model by which each dialect is reached."""
COUNTS: list[Any] = [None, -1, 10**30, "many", 1.5, True, [], {}, 7]
NAMES = (
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "seconds"),
    *("promptTokenCount", "candidatesTokenCount", "inputTokens", "outputTokens", "prompt_eval_count", "eval_count"),
)
usages = st.one_of(
    st.sampled_from([None, [], "usage", 3, {}]),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(COUNTS), max_size=4),
)
answers = st.one_of(
    st.sampled_from([b"", b"{}", b"[]", b"null", b"<html>", b"{", b"\xff\xfe", b"data: {\n\n", b"data: [DONE]\n\n"]),
    st.builds(
        lambda usage, more: json.dumps({"usage": usage, "usageMetadata": usage} | more).encode(),
        usages,
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.just("x_1"),
                "model": st.sampled_from(["gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "unheard-of", None]),
                "type": st.sampled_from(["message", "message_batch", "error"]),
                "object": st.sampled_from(["batch", "response", "video", "chat.completion"]),
                "status": st.sampled_from(["completed", "in_progress", "failed"]),
                "service_tier": st.sampled_from(["default", "flex", "unheard-of"]),
                "inference_geo": st.just("moon"),
            },
        ),
    ),
)
requests = st.sampled_from([b"", b"{}", b"nonsense", b'{"messages": 3}', b'{"model": "gpt-4o-mini", "input": "Hello"}'])


def rows() -> Iterator[tuple[Dialect, str, str, Operation]]:
    for dialect, found in _ROWS.items():
        for method, pattern, operation in found:
            yield dialect, method, pattern.pattern, operation


ROWS = [row for row in rows() if row[3].billing != "nothing"]


@cache
def book() -> PriceBook:
    return interpreter()._book


def exchange(dialect: Dialect, method: str, path: str, request: bytes, answer: bytes) -> Exchange:
    wire_name, provider, _ = WIRE_OF[dialect]
    is_socket = method == WEBSOCKET
    begin = make_begin(
        method="GET" if is_socket else method, path=path, wire=wire_name, provider=provider, upstream=provider
    )
    status = 101 if is_socket else 200
    return make_exchange(begin, make_end(answer, request, status=status), request=request, response=answer)


def all_zero(usage: Usage | None) -> bool:
    """Say whether the provider itself reported nothing but zeros, or a cost of its own."""
    if usage is None:
        return False
    counts = msgspec.to_builtins(usage)
    return "reported_cost_nano_usd" in counts or (bool(counts) and all(count == 0 for count in counts.values()))


def check(made: Exchange) -> None:
    begin = made.begin
    method = WEBSOCKET if made.end.status == 101 else begin.method
    operation = find_operation(begin.wire, method, begin.path)
    reading = wire.read(made)
    verdict = judge(made, reading, book())
    if operation is not None and operation.billing == "nothing":
        return
    if verdict.cost.nano_usd == 0:
        assert all_zero(verdict.usage), (begin.path, reading, verdict)
        assert verdict.usage_source == "provider"
    if verdict.cost.nano_usd is None:
        assert verdict.cost.reason
        assert verdict.is_unpriced or verdict.cost.reason == "billed later"


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}-{row[3].endpoint}-{number}" for number, row in enumerate(ROWS)])
def test_an_answer_that_says_nothing_of_its_cost_is_not_free(row: tuple[Dialect, str, str, Operation]) -> None:
    dialect, method, pattern, _ = row
    path = "/" + sample(pattern, WIRE_OF[dialect][2])
    assert find_operation(WIRE_OF[dialect][0], "POST" if method == "*" else method, path) is not None
    for answer in (b"", b"{}", b'{"usage":null}', b'{"usage":{}}', b"garbage", b'{"usage":{"prompt_tokens":-5}}'):
        for request in (b"", b"{}", b'{"model":"x","messages":[],"input":"a"}'):
            check(exchange(dialect, "POST" if method == "*" else method, path, request, answer))


@settings(max_examples=600)
@given(row=st.sampled_from(ROWS), request=requests, answer=answers)
def test_no_answer_to_a_billed_operation_is_free_unless_the_provider_says_zero(
    row: tuple[Dialect, str, str, Operation], request: bytes, answer: bytes
) -> None:
    dialect, method, pattern, _ = row
    path = "/" + sample(pattern, WIRE_OF[dialect][2])
    check(exchange(dialect, "POST" if method == "*" else method, path, request, answer))


@pytest.mark.parametrize(("method", "is_free"), [("GET", True), ("DELETE", True), ("POST", False), ("PUT", False)])
def test_what_nobody_knows_is_free_only_when_it_asks_for_no_work(method: str, is_free: bool) -> None:
    made = exchange("openai", method, "/brand/new/thing", b"{}", b"{}")
    verdict = judge(made, wire.read(made), book())
    assert (verdict.cost.nano_usd == 0) is is_free
    assert verdict.is_unpriced is not is_free


def test_a_websocket_is_not_free_because_its_status_is_101() -> None:
    made = exchange("openai", WEBSOCKET, "/realtime?model=gpt-realtime", b"", b"")
    verdict = judge(made, Reading(reader="none", endpoint="realtime_socket"), book())
    assert (verdict.cost.nano_usd, verdict.is_unpriced) == (None, True)


def test_every_dialect_of_the_table_is_tried() -> None:
    assert set(WIRE_OF) == set(_ROWS) == {dialect for dialects in DIALECTS_OF.values() for dialect in dialects}


def sample(pattern: str, model: str) -> str:
    """Return a path that the pattern of a row matches."""
    text = pattern.removeprefix("(?:^|/)").removesuffix("$")
    return "".join(_expanded(text, model))


def _expanded(text: str, model: str) -> Iterator[str]:
    """Take the first of alternatives and leave out what is optional; enough for the table's own expressions."""
    position = 0
    while position < len(text):
        if text[position] == "(":
            end = _closing(text, position)
            inner = text[position + 1 : end]
            quantifier = text[end + 1 : end + 2]
            if inner.startswith("?P<model>"):
                yield "" if quantifier == "?" else model
            elif not inner.startswith("?<!") and quantifier not in ("?", "*"):
                yield from _expanded(_alternatives(inner.removeprefix("?:"))[0], model)
            position = end + 1 + (quantifier in ("?", "*", "+"))
        elif text[position] == "[":
            end = text.index("]", position)
            yield "x"
            position = end + 1 + (text[end + 1 : end + 2] in ("+", "*"))
        elif text[position] == "\\":
            yield text[position + 1]
            position += 2
        elif text[position] == ".":
            yield "x"
            position += 2
        else:
            yield text[position]
            position += 1


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position
    raise ValueError(text)


def _alternatives(text: str) -> list[str]:
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
