"""What a provider refuses, and what only its own server can do."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from proxy.simulator import Settings, create_app
from tests.conftest import StartSimulator
from tests.harness import Simulator
from tests.simulator.raw import CHAT, connect, exchange


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": []}, None),
        ("/v1/chat/completions", {"model": "gpt-4o"}, "messages"),
        ("/v1/responses", {"model": "gpt-4o"}, "input"),
        ("/v1/responses", {"model": "gpt-4o", "input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ("/v1/embeddings", {"model": "text-embedding-3-small"}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [{"no": "text"}]}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["x"] * 2049}, "input"),
        (
            "/v1/embeddings",
            {"model": "text-embedding-3-small", "input": "x", "encoding_format": "hex"},
            "encoding_format",
        ),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x", "dimensions": 9999}, "dimensions"),
    ],
)
def test_an_incomplete_or_impossible_request_names_the_parameter(
    provider: Simulator, path: str, body: dict[str, Any], param: str | None
) -> None:
    refused = exchange(provider.port, body, path)
    assert refused.status == 400
    error = json.loads(refused.body)["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff", b'{"model": "\xed\xa0\x80"}'])
def test_a_body_that_is_no_json_object_is_refused(provider: Simulator, content: bytes) -> None:
    response = httpx.post(f"{provider.url}/chat/completions", content=content)
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]


def test_an_upload_needs_a_boundary_a_file_and_a_purpose(provider: Simulator) -> None:
    url = f"{provider.url}/files"
    without_boundary = httpx.post(url, content=b"x", headers={"content-type": "multipart/form-data"})
    without_file = httpx.post(url, data={"purpose": "batch"}, files={"other": b"x"})
    without_purpose = httpx.post(url, files={"file": b"x"})
    assert [r.status_code for r in (without_boundary, without_file, without_purpose)] == [400, 400, 400]
    assert without_file.json()["error"]["param"] == "file"
    assert without_purpose.json()["error"]["param"] == "purpose"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/embeddings"),
        ("DELETE", "/v1/models/gpt-4o"),
        ("DELETE", "/v1/files"),
        ("POST", "/v2/chat/completions"),
    ],
)
def test_anything_else_is_404_in_the_error_envelope(provider: Simulator, method: str, path: str) -> None:
    response = httpx.request(method, provider.url.removesuffix("/v1") + path)
    assert response.status_code == 404
    assert response.json()["error"]["message"] == f"Invalid URL ({method} {path})"


def test_token_arrays_are_embedded_and_counted_by_their_length(provider: Simulator) -> None:
    body = {"model": "text-embedding-3-small", "input": [[1, 2, 3], [4, 5]], "dimensions": 8}
    answer = json.loads(exchange(provider.port, body, "/v1/embeddings").body)
    assert len(answer["data"]) == 2
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    one = json.loads(exchange(provider.port, body | {"input": [1, 2, 3]}, "/v1/embeddings").body)
    assert one["data"][0]["embedding"] == answer["data"][0]["embedding"]


def test_a_prompt_that_cannot_be_counted_is_estimated_by_its_size(provider: Simulator) -> None:
    body = {"model": "gpt-4o", "input": "Hello", "previous_response_id": "resp_elsewhere"}
    usage = json.loads(exchange(provider.port, body, "/v1/responses").body)["usage"]
    assert 10 < usage["input_tokens"] < 40


def test_an_upload_that_stops_half_way_is_no_request(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    with connect(simulator.port) as opened:
        opened.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    exchange(simulator.port, CHAT)
    assert [line["n"] for line in simulator.wait_for_truth(1, "done")] == [1]
    assert simulator.stderr.read_text() == ""


async def test_the_application_runs_under_any_asgi_server_but_breaks_connections_only_under_its_own() -> None:
    transport = httpx.ASGITransport(create_app(Settings(seed=3)))
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator/v1") as client:
        answer = await client.post("/chat/completions", json=CHAT)
        assert answer.json()["usage"]["total_tokens"] > 0
        with pytest.raises(RuntimeError, match="own server"):
            await client.post("/chat/completions", json=CHAT, headers={"x-simulate": "cut=0"})
