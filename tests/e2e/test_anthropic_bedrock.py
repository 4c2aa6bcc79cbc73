"""Anthropic and Bedrock through Glassline: rows right to the token, a batch billed once, frames byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest

from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until

KEY = "sk-caller-0123456789abcdef"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
LONG = "The pane was clear and the light fell through it. " * 300
SONNET = {"uncached": "3", "read": "0.30", "5m": "3.75", "1h": "6", "output": "15"}
"""US dollars for a million tokens of Claude Sonnet 4.5, in the table since 2025-09-29."""
_numbers = count(1)


class Stage:
    """A Glassline in front of a simulated provider."""

    def __init__(self, glassline: Glassline, simulator: Simulator) -> None:
        self.glassline = glassline
        self.simulator = simulator

    def ask(
        self, path: str, content: Any = None, *, method: str = "POST"
    ) -> tuple[httpx.Response, dict[str, Any], dict[str, Any]]:
        """Return the answer, its row, and what the provider says of it."""
        mark = f"ask-{next(_numbers)}"
        headers = {"authorization": f"Bearer {KEY}", "x-mark": mark, "x-glassline-session": mark}
        response = httpx.request(method, f"{self.glassline.url}{path}", json=content, headers=headers, timeout=20)
        [row] = self.glassline.wait_for_rows(1, f"session = '{mark}'")
        done = wait_until(
            lambda: [line for line in self.simulator.truth("done") if line["x_request"].get("x-mark") == mark],
            f"the provider's account of {mark}",
        )
        return response, row, done[-1]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("stage")
    (directory / "provider").mkdir()
    with ExitStack() as stack:
        simulator = stack.enter_context(closing(Simulator(directory / "provider")))
        upstream: dict[str, Any] = {"base_url": simulator.url.removesuffix("/v1"), "allow_private": True}
        config = {
            "keys": [{"name": "app", "key": KEY}],
            "upstreams": {
                "anthropic": {**upstream, "api_key": "sk-ant-upstream-0123456789"},
                "bedrock": {**upstream, "api_key": "bedrock-api-key-0123456789"},
            },
        }
        glassline = stack.enter_context(closing(Glassline(directory / "glassline", config)))
        yield Stage(glassline.start(), simulator)


def cost(row: dict[str, Any]) -> int:
    """Return what a row says it cost, in nano-dollars."""
    usd: float = row["cost_usd"]
    return round(usd * 10**9)


def nano_usd(usage: dict[str, int], prices: dict[str, str]) -> int:
    """Price what the provider says it billed."""
    five, hour = usage.get("cache_write_5m_tokens", 0), usage.get("cache_write_1h_tokens", 0)
    uncached = usage["input_tokens"] - usage["cached_tokens"] - five - hour
    parts = {
        "uncached": uncached,
        "read": usage["cached_tokens"],
        "5m": five,
        "1h": hour,
        "output": usage["output_tokens"],
    }
    total = sum(Decimal(prices[name]) * tokens for name, tokens in parts.items())
    return int(total * 1000) + 10_000_000 * usage.get("web_searches", 0)


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_message_costs_what_the_provider_billed_in_every_bucket(stage: Stage, is_streaming: bool) -> None:
    content = [
        {"type": "text", "text": f"{is_streaming} {LONG}", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "What is it?"},
    ]
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 500,
        "stream": is_streaming,
        "messages": [{"role": "user", "content": content}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    for is_again in (False, True):
        response, row, truth = stage.ask("/anthropic/v1/messages", body)
        usage = truth["usage"]
        assert (usage["cached_tokens"] > 2048) == is_again
        assert (row["status"], row["outcome"], row["model"]) == (200, "completed", "claude-sonnet-4-5-20250929")
        assert (row["input_tokens"], row["cached_input_tokens"], row["output_tokens"]) == (
            usage["input_tokens"],
            usage["cached_tokens"],
            usage["output_tokens"],
        )
        assert cost(row) == nano_usd(usage, SONNET)
        assert hashlib.sha256(response.content).hexdigest() == truth["response_sha256"]


def test_a_batch_is_billed_once_however_often_its_results_are_fetched(stage: Stage) -> None:
    params = {"model": "claude-sonnet-4-5", "max_tokens": 20, "messages": HELLO}
    requests = [{"custom_id": name, "params": params} for name in ("a", "b")]
    response, _, truth = stage.ask("/anthropic/v1/messages/batches", {"requests": requests})
    path = f"/anthropic/v1/messages/batches/{response.json()['id']}"
    assert stage.ask(path, method="GET")[1]["cost_usd"] == 0
    first = stage.ask(f"{path}/results", method="GET")[1]
    again = stage.ask(f"{path}/results", method="GET")[1]
    half = {name: str(Decimal(price) / 2) for name, price in SONNET.items()}
    assert (cost(first), cost(again)) == (nano_usd(truth["usage"], half), 0)
    assert (first["input_tokens"], first["output_tokens"]) == (truth["usage"]["input_tokens"], 40)


HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
REGIONAL = {"uncached": "1.1", "read": "0.11", "5m": "1.375", "1h": "2.2", "output": "5.5"}
"""The same of Claude Haiku 4.5 at Bedrock in the United States: a tenth above the worldwide price."""
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 30, "messages": HELLO}
TURN = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("converse", TURN),
        ("converse-stream", TURN),
        ("invoke", CLAUDE),
        ("invoke-with-response-stream", CLAUDE),
    ],
)
def test_bedrock_is_relayed_byte_for_byte_and_priced_by_the_name_in_the_path(
    stage: Stage, action: str, body: dict[str, Any]
) -> None:
    response, row, truth = stage.ask(f"/bedrock/model/{HAIKU}/{action}", body)
    assert hashlib.sha256(response.content).hexdigest() == truth["response_sha256"]
    assert (row["status"], row["outcome"], row["wire"], row["model"]) == (200, "completed", "bedrock", HAIKU)
    assert row["streaming"] == action.endswith("stream")
    assert (row["input_tokens"], row["output_tokens"]) == (
        truth["usage"]["input_tokens"],
        truth["usage"]["output_tokens"],
    )
    assert cost(row) == nano_usd(truth["usage"], REGIONAL)
