"""The same bytes and the same seed give the same answer, in another process and at another time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import StartSimulator
from tests.simulator.raw import CHAT, STREAM, exchange

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", STREAM | {"n": 2, "stream_options": {"include_usage": True}}),
    ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", "stream": True}),
    ("/v1/responses", {"model": "gpt-5", "input": "Hello", "stream": True, "store": False}),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}),
]


def answers(port: int) -> list[bytes]:
    return [exchange(port, body, path).body for path, body in REQUESTS]


def test_answers_depend_on_the_request_and_the_seed_alone(start_simulator: StartSimulator) -> None:
    first, second, other = start_simulator(), start_simulator(), start_simulator("--seed", "7")
    assert answers(first.port) == answers(second.port)
    # In another order, after other requests.
    backwards = [exchange(first.port, body, path).body for path, body in reversed(REQUESTS)]
    assert backwards[::-1] == answers(second.port)
    assert all(ours != theirs for ours, theirs in zip(answers(first.port), answers(other.port), strict=True))


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"messages": [{"role": "user", "content": "Hello!"}]}])
def test_another_request_gets_another_answer(start_simulator: StartSimulator, change: dict[str, Any]) -> None:
    port = start_simulator().port
    assert exchange(port, CHAT).body != exchange(port, CHAT | change).body
