"""The simulated Google: what its answers say is what it billed, however they come."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.harness import Simulator
from tests.simulator.told import Told, ask

MODEL = "/v1beta/models/gemini-2.5-flash"
VERTEX = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro"
HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Why is the sky blue?"}]}]}
TOOLS = {
    "tools": [
        {
            "functionDeclarations": [
                {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
            ]
        }
    ]
}


def google(provider: Simulator, path: str, body: dict[str, Any] | None = None, **headers: str) -> Told:
    dialect = "vertex" if path.startswith("/v1/projects") else "gemini"
    return ask(provider, path, HI if body is None else body, dialect=dialect, price_id="google", **headers)


@pytest.mark.parametrize("model", [MODEL, VERTEX, MODEL.replace("v1beta", "v1")])
@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"])
def test_an_answer_says_what_was_billed(provider: Simulator, model: str, action: str) -> None:
    told = google(provider, f"{model}:{action}", x_simulate="tokens=50; hidden-reasoning=30")
    told.assert_usage_is_true()
    assert told.reading.finish_reasons == ("STOP",)
    assert told.truth["usage"]["reasoning_tokens"] == 30
    assert told.reading.is_streaming == action.startswith("stream")
    assert told.reading.has_ended == (True if action.startswith("stream") else None)


def test_the_three_ways_of_an_answer_say_the_same(provider: Simulator) -> None:
    ways = ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"]
    texts = [google(provider, f"{MODEL}:{way}", x_simulate="tokens=40").reading.output_text for way in ways]
    assert all(texts)
    whole = google(provider, f"{MODEL}:streamGenerateContent", x_simulate="tokens=40").body
    assert isinstance(json.loads(whole), list)


def test_events_have_nothing_that_googles_sdk_cannot_read(provider: Simulator) -> None:
    body = google(provider, f"{MODEL}:streamGenerateContent?alt=sse").body
    lines = body.split(b"\r\n")
    assert all(line.startswith(b"data: {") for line in lines if line)
    assert b"[DONE]" not in body


def test_thoughts_are_shown_to_who_asks_for_them(provider: Simulator) -> None:
    shown = google(provider, f"{MODEL}:streamGenerateContent?alt=sse", x_simulate="reasoning=20")
    shown.assert_usage_is_true()
    assert shown.reading.reasoning_text
    assert shown.reading.usage is not None
    assert shown.reading.usage.reasoning_tokens == 20
    hidden = google(provider, f"{MODEL}:generateContent", x_simulate="hidden-reasoning=20")
    assert (hidden.reading.reasoning_text, hidden.reading.usage and hidden.reading.usage.reasoning_tokens) == (None, 20)


@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent"])
def test_tools_are_called_with_arguments_that_fit(provider: Simulator, action: str) -> None:
    told = google(provider, f"{MODEL}:{action}", HI | TOOLS)
    told.assert_usage_is_true()
    [call] = told.reading.tool_calls
    assert call.name == "weather"
    assert list(json.loads(call.arguments)) == ["city"]


def test_an_answer_stops_at_its_limit(provider: Simulator) -> None:
    told = google(
        provider, f"{MODEL}:generateContent", HI | {"generationConfig": {"maxOutputTokens": 7}}, x_simulate="tokens=50"
    )
    told.assert_usage_is_true()
    assert told.reading.finish_reasons == ("MAX_TOKENS",)
    assert told.truth["usage"]["output_tokens"] == 7


def test_several_candidates_are_billed_together(provider: Simulator) -> None:
    told = google(provider, f"{MODEL}:generateContent", HI | {"generationConfig": {"candidateCount": 3}})
    told.assert_usage_is_true()
    assert told.reading.finish_reasons == ("STOP",) * 3


def test_structured_output_fits_its_schema(provider: Simulator) -> None:
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "n": {"type": "INTEGER"}}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    told = google(provider, f"{MODEL}:generateContent", HI | {"generationConfig": config})
    assert json.loads(told.reading.output_text or "").keys() == {"city", "n"}


def test_cached_contents_are_read_from_the_cache(provider: Simulator) -> None:
    long = {"model": "models/gemini-2.5-flash", "contents": [{"role": "user", "parts": [{"text": "word " * 400}]}]}
    kept = json.loads(google(provider, "/v1beta/cachedContents", long).body)
    told = google(provider, f"{MODEL}:generateContent", HI | {"cachedContent": kept["name"]})
    told.assert_usage_is_true()
    assert told.truth["usage"]["cached_tokens"] == kept["usageMetadata"]["totalTokenCount"] > 400
    missing = google(provider, f"{MODEL}:generateContent", HI | {"cachedContent": "cachedContents/none"})
    assert (missing.status, missing.reading.error_type) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("batchEmbedContents", {"requests": [{"content": {"parts": [{"text": "a b c"}]}}] * 2}),
        ("embedContent", {"content": {"parts": [{"text": "a b c"}]}}),
    ],
)
def test_embeddings_are_billed_by_their_input(provider: Simulator, action: str, body: dict[str, Any]) -> None:
    told = google(provider, f"/v1beta/models/gemini-embedding-001:{action}", body)
    told.assert_usage_is_true()
    assert told.reading.usage is not None
    assert told.reading.usage.output_tokens is None


def test_counting_counts_and_costs_nothing(provider: Simulator) -> None:
    counted = google(provider, f"{MODEL}:countTokens")
    asked = google(provider, f"{MODEL}:generateContent")
    assert json.loads(counted.body)["totalTokens"] == asked.truth["usage"]["input_tokens"]
    assert (counted.reading.usage, counted.truth["usage"]) == (None, None)


@pytest.mark.parametrize(
    ("status", "name"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")]
)
def test_refusals_have_googles_envelope(provider: Simulator, status: int, name: str) -> None:
    told = google(provider, f"{MODEL}:generateContent", x_simulate=f"status={status}")
    assert (told.status, told.reading.error_type) == (status, name)
    assert json.loads(told.body)["error"]["code"] == status


def test_a_request_without_contents_is_refused(provider: Simulator) -> None:
    told = google(provider, f"{MODEL}:generateContent", {})
    assert (told.status, told.reading.error_type) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("way", ["streamGenerateContent?alt=sse", "streamGenerateContent"])
@pytest.mark.parametrize("events", [0, 2])
def test_a_stream_can_fail_in_the_middle(provider: Simulator, way: str, events: int) -> None:
    told = google(provider, f"{MODEL}:{way}", x_simulate=f"tokens=60; error={events}")
    assert (told.reading.error_type, told.reading.has_ended) == ("UNAVAILABLE", True)
    if "alt" not in way:
        assert json.loads(told.body)[-1]["error"]["code"] == 503


def test_a_compressed_stream_is_read(provider: Simulator) -> None:
    told = google(provider, f"{MODEL}:streamGenerateContent", x_simulate="gzip; chunk=7")
    assert b"content-encoding: gzip" in told.head
    told.assert_usage_is_true()


@pytest.mark.parametrize("is_streaming", [False, True])
def test_an_interaction_says_what_was_billed_and_can_be_looked_at(provider: Simulator, is_streaming: bool) -> None:
    body = {"model": "gemini-2.5-flash", "input": "Why is the sky blue?", "stream": is_streaming}
    told = google(provider, "/v1/interactions", body, x_simulate="tokens=20; reasoning=10")
    told.assert_usage_is_true()
    assert told.reading.usage is not None
    assert (told.reading.usage.output_tokens, told.reading.usage.reasoning_tokens) == (30, 10)
    assert (told.reading.finish_reasons, told.reading.has_ended) == (("completed",), True if is_streaming else None)
    assert told.reading.output_text
    assert told.reading.reasoning_text
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    connection.request("GET", f"/v1/interactions/{told.reading.response_id}")
    kept = json.loads(connection.getresponse().read())
    connection.close()
    assert kept["usage"]["total_tokens"] == sum(told.truth["usage"][name] for name in ("input_tokens", "output_tokens"))


def test_a_streamed_interaction_can_fail(provider: Simulator) -> None:
    body = {"model": "gemini-2.5-flash", "input": [{"type": "text", "text": "hi"}], "stream": True}
    told = google(provider, "/v1/interactions", body, x_simulate="error=4")
    assert (told.reading.error_type, told.reading.has_ended) == ("internal", True)


def test_a_file_is_uploaded_in_two_steps(provider: Simulator) -> None:
    """The second request has no key: its URL is all that it needs."""
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    about = {
        "x-goog-upload-header-content-type": "text/plain",
        "x-goog-api-key": "k",
        "content-type": "application/json",
    }
    connection.request("POST", "/upload/v1beta/files", b'{"file":{"displayName":"a"}}', start | about)
    begun = connection.getresponse()
    begun.read()
    url = begun.getheader("x-goog-upload-url") or ""
    path = url.removeprefix(f"http://127.0.0.1:{provider.port}")
    assert path.startswith("/upload/v1beta/files?upload_id=")
    finish = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    connection.request("POST", path, b"\x00abc", finish)
    finished = connection.getresponse()
    assert finished.getheader("x-goog-upload-status") == "final"
    file = json.loads(finished.read())["file"]
    assert (file["sizeBytes"], file["mimeType"], file["displayName"]) == ("4", "text/plain", "a")
    connection.request("GET", f"/v1beta/{file['name']}?key=k")
    assert json.loads(connection.getresponse().read()) == file
    connection.close()


def test_a_key_in_the_query_is_not_written_down(provider: Simulator) -> None:
    told = google(provider, f"{MODEL}:generateContent?key=AIza-secret-0123456789")
    assert told.status == 200
    assert "secret" not in json.dumps(told.truth)


def test_what_belongs_to_openai_stays_openais(provider: Simulator) -> None:
    chat = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}
    body = ask(provider, "/v1/chat/completions", chat, dialect="gemini", x_goog_api_key="k").body
    assert json.loads(body)["object"] == "chat.completion"
