"""The simulated Anthropic: what it bills is what it says, and what our readers read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Simulator
from tests.simulator.provider import Told, tell

HELLO: list[Any] = [{"role": "user", "content": "What do you see through the window?"}]
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
LONG = "The pane was clear and the light fell through it. " * 300
VERSION = {"anthropic-version": "2023-06-01"}


def ask(provider: Simulator, *, simulate: str = "", **content: Any) -> Told:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 400, "messages": HELLO, **content}
    return tell(provider, "anthropic", "/v1/messages", body, simulate=simulate, headers=VERSION)


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, WEATHER | {"name": "get_time"}], "tool_choice": {"type": "tool", "name": "get_time"}},
        {"tools": [SEARCH]},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"max_tokens": 3},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}},
    ],
)  # fmt: skip
def test_what_it_bills_is_what_it_says(provider: Simulator, content: dict[str, Any], is_streaming: bool) -> None:
    told = ask(provider, stream=is_streaming, **content)
    told.assert_usage_is_true()
    reading = told.reading
    assert (reading.problems, reading.model) == ((), "claude-sonnet-4-5-20250929")
    assert reading.finish_reasons == (expected_reason(content),)
    assert reading.is_streaming == is_streaming
    assert reading.has_ended is (True if is_streaming else None)
    assert bool(reading.reasoning_text) == ("thinking" in content)


def expected_reason(content: dict[str, Any]) -> str:
    if content.get("tools", [SEARCH]) != [SEARCH]:
        return "tool_use"
    return "max_tokens" if content.get("max_tokens") == 3 else "end_turn"


@pytest.mark.parametrize("content", [{}, {"tools": [WEATHER]}, {"stream": True}])
def test_the_same_request_gets_the_same_bytes(provider: Simulator, content: dict[str, Any]) -> None:
    first, again = (ask(provider, **content).response.content for _ in range(2))
    assert first == again != b""


@pytest.mark.parametrize("content", [{}, {"tools": [WEATHER]}, {"tools": [SEARCH]}])
def test_it_says_the_same_streamed_and_not(provider: Simulator, content: dict[str, Any]) -> None:
    # The answer follows from the bytes of the request, so both ask for as many tokens.
    whole, streamed = (ask(provider, stream=each, simulate="tokens=20", **content).reading for each in (False, True))
    for reading in (whole, streamed):
        assert [call.name for call in reading.tool_calls] == [call.name for call in whole.tool_calls]
        assert bool(reading.output_text) == bool(whole.output_text)
    assert streamed.first_token_offset is not None


def cached_prompt(tail: str, first: str = "1h", second: str = "5m") -> dict[str, Any]:
    return {
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": first}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": second}},
                    {"type": "text", "text": tail},
                ],
            }
        ],
    }


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_prompt_is_written_once_and_read_afterwards(provider: Simulator, is_streaming: bool) -> None:
    mark = f"{is_streaming} {provider.port}"
    prompt = cached_prompt("Go.")
    prompt["system"][0]["text"] = mark + LONG
    first = ask(provider, stream=is_streaming, **prompt)
    again = ask(provider, stream=is_streaming, **prompt)
    for told in (first, again):
        told.assert_usage_is_true()
    assert first.truth["usage"]["cached_tokens"] == 0
    five, hour = (first.truth["usage"][f"cache_write_{life}_tokens"] for life in ("5m", "1h"))
    assert min(five, hour) > 1024
    assert again.truth["usage"]["cached_tokens"] == five + hour
    assert "cache_write_5m_tokens" not in again.truth["usage"]


def test_a_growing_conversation_finds_its_past(provider: Simulator) -> None:
    turns: list[Any] = [{"role": "user", "content": "Growing. " + LONG}]
    first = ask(provider, messages=turns, cache_control={"type": "ephemeral"})
    turns += [{"role": "assistant", "content": "Yes. " + LONG}, {"role": "user", "content": "And?"}]
    second = ask(provider, messages=turns, cache_control={"type": "ephemeral"})
    second.assert_usage_is_true()
    assert second.truth["usage"]["cached_tokens"] == first.truth["usage"]["cache_write_5m_tokens"] > 1024
    assert second.truth["usage"]["cache_write_5m_tokens"] > 1024


def test_a_short_prompt_is_not_kept(provider: Simulator) -> None:
    marked = [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}]
    assert ask(provider, messages=marked).truth["usage"]["cached_tokens"] == 0
    assert ask(provider, messages=marked).truth["usage"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"model": ""}, "model: Field required"),
        (
            cached_prompt("x", "5m", "1h"),
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.",
        ),
    ],
)
def test_it_refuses_what_anthropic_refuses(provider: Simulator, content: dict[str, Any], message: str) -> None:
    told = ask(provider, **content)
    assert told.response.status_code == 400
    assert (told.reading.error_type, told.reading.error_message) == ("invalid_request_error", message)
    assert told.truth["usage"] is None


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("status=401", "authentication_error"),
        ("status=402", "billing_error"),
        ("status=429", "rate_limit_error"),
        ("status=429; code=enforced_spend_limit_reached", "enforced_spend_limit_reached"),
        ("status=500", "api_error"),
        ("status=503", "api_error"),
        ("status=529", "overloaded_error"),
    ],
)
def test_its_errors_are_in_anthropics_envelope(provider: Simulator, wish: str, kind: str) -> None:
    told = ask(provider, simulate=wish)
    assert (told.json["type"], told.reading.error_type) == ("error", kind)
    assert told.response.headers["request-id"].startswith("req_")


def test_a_failure_in_the_middle_bills_the_input(provider: Simulator) -> None:
    told = ask(provider, stream=True, simulate="error=5")
    assert (told.reading.error_type, told.reading.has_ended) == ("overloaded_error", True)
    assert told.reading.usage is not None
    assert told.reading.usage.input_tokens == told.truth["usage"]["input_tokens"] > 0


def test_a_stream_that_ends_too_early_has_no_end(provider: Simulator) -> None:
    assert ask(provider, stream=True, simulate="eof=5").reading.has_ended is False


def test_counting_is_free_and_agrees_with_the_bill(provider: Simulator) -> None:
    body = {"model": "claude-sonnet-4-5", "messages": HELLO}
    counted = tell(provider, "anthropic", "/v1/messages/count_tokens", body)
    assert counted.json == {"input_tokens": ask(provider).truth["usage"]["input_tokens"]}
    assert counted.truth["usage"] is None


def test_a_batch_is_worked_off_and_shown_as_often_as_wanted(provider: Simulator) -> None:
    params = {"model": "claude-sonnet-4-5", "max_tokens": 20, "messages": HELLO}
    requests = [{"custom_id": "a", "params": params}, {"custom_id": "b", "params": params | {"messages": []}}]
    requests.append({"custom_id": "c", "params": params | {"max_tokens": 5}})
    created = tell(provider, "anthropic", "/v1/messages/batches", {"requests": requests})
    assert (created.json["processing_status"], created.reading.is_pending) == ("in_progress", True)
    path = f"/v1/messages/batches/{created.json['id']}"
    looked = tell(provider, "anthropic", path, method="GET")
    assert (looked.json["processing_status"], looked.json["request_counts"]["errored"]) == ("ended", 1)
    assert looked.json["results_url"] == f"http://127.0.0.1:{provider.port}{path}/results"
    results = tell(provider, "anthropic", f"{path}/results", method="GET")
    again = tell(provider, "anthropic", f"{path}/results", method="GET")
    assert results.response.content == again.response.content
    assert [charge.id for charge in results.reading.charges] == [f"{created.json['id']}/{name}" for name in "ac"]
    assert results.reading.usage is not None
    billed = created.truth["usage"]
    assert (results.reading.usage.input_tokens, results.reading.usage.output_tokens) == (
        billed["input_tokens"],
        billed["output_tokens"],
    )
    assert billed["batch_requests"] == 2
    listed = tell(provider, "anthropic", "/v1/messages/batches", method="GET").json
    assert created.json["id"] in [each["id"] for each in listed["data"]]
    assert tell(provider, "anthropic", path, method="DELETE").json["type"] == "message_batch_deleted"
    assert tell(provider, "anthropic", path, method="GET").response.status_code == 404


def test_files_come_back_as_they_went(provider: Simulator) -> None:
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nabc\r\n--b--\r\n'
    headers = {**VERSION, "content-type": "multipart/form-data; boundary=b"}
    made = tell(provider, "anthropic", "/v1/files", form, headers=headers).json
    assert (made["filename"], made["size_bytes"]) == ("a.txt", 3)
    content = tell(provider, "anthropic", f"/v1/files/{made['id']}/content", method="GET", headers=VERSION)
    assert content.response.content == b"abc"
    deleted = tell(provider, "anthropic", f"/v1/files/{made['id']}", method="DELETE", headers=VERSION)
    assert deleted.json["type"] == "file_deleted"


def test_models_are_listed_as_anthropic_lists_them(provider: Simulator) -> None:
    listed = tell(provider, "anthropic", "/v1/models", method="GET", headers=VERSION).json
    assert "claude-sonnet-4-5-20250929" in [each["id"] for each in listed["data"]]
    assert tell(provider, "anthropic", "/v1/models/no-such", method="GET", headers=VERSION).response.status_code == 404


@pytest.mark.parametrize("action", ["rawPredict", "streamRawPredict"])
def test_vertex_serves_the_same_messages(provider: Simulator, action: str) -> None:
    path = f"/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:{action}"
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 50, "messages": HELLO, "stream": "stream" in action}
    told = tell(provider, "vertex", path, body)
    told.assert_usage_is_true()
    assert told.reading.model == "claude-sonnet-4-5-20250929"


def test_vertex_counts_below_a_path_of_its_own(provider: Simulator) -> None:
    path = "/v1/projects/p/locations/global/publishers/anthropic/models/count-tokens:rawPredict"
    told = tell(provider, "vertex", path, {"model": "claude-sonnet-4-5@20250929", "messages": HELLO})
    assert (told.reading.endpoint, told.truth["usage"]) == ("count_tokens", None)
    assert told.json["input_tokens"] > 0


@pytest.mark.parametrize("wish", ["gzip", "chunk=1", "gzip; chunk=7"])
def test_however_it_is_delivered_it_reads_the_same(provider: Simulator, wish: str) -> None:
    told = ask(provider, stream=True, tools=[WEATHER], simulate=f"{wish}; reasoning=5")
    told.assert_usage_is_true()
    assert told.reading.tool_calls[0].name == "get_weather"
