"""The real openai SDK through Glassline: every row right to the token and the nano-dollar, every body byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.prices import nano_usd
from tests.harness import Glassline, Simulator
from tests.harness.process import wait_until
from tests.harness.stage import with_upstream

MESSAGES: list[Any] = [{"role": "user", "content": "Schöne Grüße 👋, what do you see through the window?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


class Stage:
    """A Glassline in front of a simulated provider, and an SDK client."""

    def __init__(self, glassline: Glassline, simulator: Simulator) -> None:
        self.glassline = glassline
        self.simulator = simulator
        self.client = openai.OpenAI(base_url=f"{glassline.url}/v1", api_key="sk-app-0123456789abcdef", max_retries=0)
        self._count = 0

    def call(self, run: Callable[[openai.OpenAI], Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Return the SDK's answer, the row of the request and what the provider says about it."""
        self._count += 1
        mark = f"call-{self._count}"
        answer = run(self.client.with_options(default_headers={"x-mark": mark, "x-glassline-session": mark}))
        [row] = self.glassline.wait_for_rows(1, f"session = '{mark}'")
        done = wait_until(
            lambda: [line for line in self.simulator.truth("done") if line["x_request"].get("x-mark") == mark],
            f"the provider's account of {mark}",
        )
        return answer, row, done[-1]

    def body(self, row: dict[str, Any], side: str) -> bytes:
        """Return a recorded body through the API."""
        response = httpx.get(f"{self.glassline.admin_url}/api/requests/{row['id']}/{side}_body")
        assert response.status_code == 200, response.text
        return response.content


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("sdk")
        simulator = stack.enter_context(closing(Simulator(directory / "simulator")))
        glassline = Glassline(directory / "glassline", with_upstream({}, simulator.url))
        stack.enter_context(closing(glassline))
        made = Stage(glassline.start(), simulator)
        with made.client:
            yield made


def assert_priced(row: dict[str, Any], truth: dict[str, Any]) -> None:
    """The row holds the tokens that the provider billed, and their price to the nano-dollar."""
    usage = truth["usage"]
    assert row["input_tokens"] == usage["input_tokens"]
    assert row["output_tokens"] == usage["output_tokens"]
    assert row["usage_source"] == "provider"
    assert row["cost_source"] == "table"
    assert round(row["cost_usd"] * 1e9) == nano_usd(truth["model"], usage)


def assert_faithful(stage: Stage, row: dict[str, Any], truth: dict[str, Any], received: bytes) -> None:
    """Provider, record and client hold the same bytes, both ways."""
    assert hashlib.sha256(received).hexdigest() == truth["response_sha256"]
    assert hashlib.sha256(stage.body(row, "response")).hexdigest() == truth["response_sha256"]
    assert hashlib.sha256(stage.body(row, "request")).hexdigest() == truth["request_sha256"]
    assert row["response_bytes"] == len(received)


def test_a_plain_chat_is_recorded_and_priced(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=MESSAGES)

    raw, row, truth = stage.call(run)
    assert_priced(row, truth)
    assert_faithful(stage, row, truth, raw.content)
    assert raw.headers["x-glassline-request-id"] == row["id"]
    assert (row["status"], row["outcome"], row["streaming"], row["mutated"]) == (200, "completed", 0, "")
    assert (row["model_requested"], row["model"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert row["finish_reason"] == "stop"
    assert row["ttft_ms"] is None
    assert row["duration_ms"] > 0


def test_a_streamed_chat_that_asks_for_usage_passes_untouched(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> bytes:
        with client.chat.completions.with_streaming_response.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        ) as response:
            return b"".join(response.iter_bytes())

    received, row, truth = stage.call(run)
    assert_priced(row, truth)
    assert_faithful(stage, row, truth, received)
    assert (row["streaming"], row["mutated"], row["outcome"]) == (1, "", "completed")
    assert 0 < row["ttft_ms"] <= row["duration_ms"]


def test_a_streamed_chat_that_does_not_ask_gets_no_usage_but_is_priced(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> bytes:
        with client.chat.completions.with_streaming_response.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True
        ) as response:
            return b"".join(response.iter_bytes())

    received, row, truth = stage.call(run)
    assert_priced(row, truth)
    assert row["mutated"] == "include_usage"
    sent = stage.body(row, "response")
    assert hashlib.sha256(sent).hexdigest() == truth["response_sha256"]
    events = sent.split(b"\n\n")
    usage_events = [event for event in events if b'"choices":[]' in event]
    assert len(usage_events) == 1
    assert received == sent.replace(usage_events[0] + b"\n\n", b"")
    assert b"stream_options" not in stage.body(row, "request")


def test_streamed_chunks_reach_the_sdk_as_it_expects_them(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return list(client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True))

    chunks, row, truth = stage.call(run)
    assert all(chunk.choices for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert_priced(row, truth)


def test_streamed_tool_calls_are_recorded_and_priced(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return list(
            client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, tools=TOOLS, tool_choice="required", stream=True
            )
        )

    chunks, row, truth = stage.call(run)
    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    assert_priced(row, truth)
    assert row["finish_reason"] == "tool_calls"
    assert 0 < row["ttft_ms"] <= row["duration_ms"]


def test_three_choices_are_billed_once(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, n=3, max_tokens=20)

    answer, row, truth = stage.call(run)
    assert len(answer.choices) == 3
    assert_priced(row, truth)
    assert row["finish_reason"] == "length,length,length"


def test_an_aborted_stream_is_recorded_with_an_estimate(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> int:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=MESSAGES,
            stream=True,
            max_tokens=400,
            extra_headers={"x-simulate": "pace=100;tokens=400"},
        )
        seen = 0
        for _ in stream:
            seen += 1
            if seen == 10:
                break
        stream.close()
        return seen

    _, row, truth = stage.call(run)
    assert row["outcome"] == "client_closed"
    assert row["usage_source"] == "estimated"
    assert row["input_tokens"] == truth["usage"]["input_tokens"]
    assert 0 < row["output_tokens"] <= truth["usage"]["output_tokens"] < 400
    assert row["cost_usd"] > 0


def test_responses_are_streamed_and_priced_with_their_reasoning(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return list(client.responses.create(model="gpt-5", input="Name three rivers.", stream=True))

    events, row, truth = stage.call(run)
    assert events[-1].type == "response.completed"
    assert_priced(row, truth)
    assert row["reasoning_tokens"] == truth["usage"]["reasoning_tokens"] > 0
    assert 0 < row["ttft_ms"] <= row["duration_ms"]


def test_cached_tokens_are_priced_as_such(stage: Stage) -> None:
    long: list[Any] = [{"role": "system", "content": "All work and no play. " * 400}, *MESSAGES]

    def run(client: openai.OpenAI) -> Any:
        return client.chat.completions.create(model="gpt-4o-mini", messages=long, max_tokens=5)

    stage.call(run)
    _, row, truth = stage.call(run)
    assert row["cached_input_tokens"] == truth["usage"]["cached_tokens"] >= 1024
    assert_priced(row, truth)


def test_embeddings_are_priced(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=["one", "two"])

    raw, row, truth = stage.call(run)
    assert_priced_input(row, truth)
    assert_faithful(stage, row, truth, raw.content)


def assert_priced_input(row: dict[str, Any], truth: dict[str, Any]) -> None:
    assert row["input_tokens"] == truth["usage"]["input_tokens"]
    assert row["output_tokens"] is None
    assert round(row["cost_usd"] * 1e9) == nano_usd(truth["model"], truth["usage"])


def test_a_file_upload_and_the_model_list_are_relayed_unparsed(stage: Stage) -> None:
    content = bytes(range(256)) * 4096

    def upload(client: openai.OpenAI) -> Any:
        return client.files.with_raw_response.create(file=("data.bin", content), purpose="batch")

    raw, row, truth = stage.call(upload)
    assert raw.parse().bytes == len(content)
    assert_faithful(stage, row, truth, raw.content)
    assert (row["endpoint"], row["cost_usd"]) == ("files", 0)

    raw, row, truth = stage.call(lambda client: client.models.with_raw_response.list())
    assert_faithful(stage, row, truth, raw.content)


def test_a_gzip_answer_passes_encoded_and_is_read(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        return client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, extra_headers={"x-simulate": "gzip"}
        )

    answer, row, truth = stage.call(run)
    assert answer.choices[0].message.content
    assert_priced(row, truth)


def test_errors_of_the_provider_pass_and_cost_nothing(stage: Stage) -> None:
    def run(client: openai.OpenAI) -> Any:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, extra_headers={"x-simulate": "status=429;retry-after=7"}
            )
        return caught.value

    error, row, _ = stage.call(run)
    assert error.response.headers["retry-after"] == "7"
    assert (row["status"], row["outcome"], row["cost_usd"]) == (429, "completed", 0)


def test_retries_of_the_sdk_are_counted(stage: Stage) -> None:
    with pytest.raises(openai.InternalServerError):
        stage.client.with_options(max_retries=2).chat.completions.create(
            model="gpt-4o-mini",
            messages=MESSAGES,
            extra_headers={"x-simulate": "status=500;retry-after=0", "x-glassline-session": "retries"},
        )
    rows = stage.glassline.wait_for_rows(3, "session = 'retries'")
    assert [row["attempt"] for row in rows] == [1, 2, 3]
