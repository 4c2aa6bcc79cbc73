"""Servers that nobody here wrote: their bytes pass unchanged, and what they say of their usage is what is recorded."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.harness import Glassline
from tests.harness.process import ROOT, Process
from tests.harness.tee import Tee, bodies

HOME = ROOT / ".cache" / "real"
LITELLM_KEY = "sk-litellm-0123456789"
MESSAGES = [{"role": "user", "content": "Say anything at all."}]


@dataclass(frozen=True)
class Server:
    """A running server, with Glassline and a listener on the wire in front of it."""

    name: str
    model: str
    key: str
    direct: str
    """Base URL without Glassline."""
    through: str
    tee: Tee
    glassline: Glassline

    def ask(self, path: str, body: dict[str, Any], session: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", "x-glassline-session": session}
        return httpx.post(f"{self.through}{path}", json={"model": self.model, **body}, headers=headers, timeout=120)

    def row(self, session: str) -> dict[str, Any]:
        [row] = self.glassline.wait_for_rows(1, f"session = '{session}'")
        return row


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def serve(stack: ExitStack, name: str, command: list[str], port: int, probe: str, directory: Path) -> None:
    env = {"HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1"}
    process = Process([str(HOME / name / "bin" / command[0]), *command[1:]], directory, name=name, env=env)
    stack.enter_context(process)

    def is_up() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{probe}", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    process.wait_for(is_up, f"{name} to listen", timeout_s=180)


def start_llamacpp(stack: ExitStack, directory: Path) -> tuple[int, str, str]:
    port = free_port()
    command = ["python", "-m", "llama_cpp.server", "--model", str(HOME / "tiny.gguf"), "--port", str(port)]
    serve(stack, "llamacpp", [*command, "--n_ctx", "512"], port, "/v1/models", directory)
    return port, "tiny", "none"


def start_transformers(stack: ExitStack, directory: Path) -> tuple[int, str, str]:
    port, model = free_port(), str(HOME / "tiny-llama")
    serve(
        stack,
        "transformers",
        ["transformers", "serve", model, "--port", str(port), "--host", "127.0.0.1"],
        port,
        "/health",
        directory,
    )
    return port, model, "none"


def start_litellm(stack: ExitStack, directory: Path) -> tuple[int, str, str]:
    llama, _, _ = start_llamacpp(stack, directory)
    parameters = {"model": "openai/tiny", "api_base": f"http://127.0.0.1:{llama}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": "tiny", "litellm_params": parameters}],
        "general_settings": {"master_key": LITELLM_KEY},
    }
    (directory / "litellm.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["litellm", "--config", str(directory / "litellm.yaml"), "--port", str(port), "--host", "127.0.0.1"]
    serve(stack, "litellm", command, port, "/health/liveliness", directory)
    return port, "tiny", LITELLM_KEY


STARTS = {"llamacpp": start_llamacpp, "transformers": start_transformers, "litellm": start_litellm}


@pytest.fixture(scope="module", params=sorted(STARTS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name: str = request.param
    if not (HOME / name).is_dir():
        pytest.fail("the servers are missing: run `make real`")
    directory = tmp_path_factory.mktemp(name)
    with ExitStack() as stack:
        port, model, key = STARTS[name](stack, directory)
        tee = stack.enter_context(Tee(port))
        upstream = {
            "base_url": f"http://127.0.0.1:{tee.port}/v1",
            "wire": "openai",
            "allow_private": True,
            "free": True,
        }
        glassline = Glassline(directory / "glassline", {"upstreams": {"real": upstream}})
        stack.enter_context(closing(glassline))
        glassline.start()
        direct = f"http://127.0.0.1:{port}/v1"
        yield Server(name, model, key, direct, f"{glassline.url}/real", tee, glassline)


def test_a_plain_answer_passes_unchanged_and_its_usage_is_read(server: Server) -> None:
    response = server.ask("/chat/completions", {"messages": MESSAGES, "max_tokens": 8}, "plain")
    row = server.row("plain")
    assert response.status_code == 200
    usage = response.json()["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (row["usage_source"], row["cost_usd"], row["outcome"]) == ("provider", 0, "completed")
    assert response.content in passed_bodies(server)
    assert digest_in_store(server, row) == hashlib.sha256(response.content).hexdigest()


def test_a_stream_passes_unchanged_but_for_the_event_nobody_asked_for(server: Server) -> None:
    body = {"messages": MESSAGES, "max_tokens": 8, "stream": True}
    response = server.ask("/chat/completions", body, "streamed")
    row = server.row("streamed")
    assert (response.status_code, row["streaming"], row["outcome"]) == (200, 1, "completed")
    sent = passed_bodies(server)[-1]
    assert sent.replace(response.content, b"") == b"" or without_usage_event(sent) == response.content
    assert row["ttft_ms"] is not None
    # llama-cpp-python says nothing of its usage in a stream, whatever it is asked.
    assert row["usage_source"] == ("estimated" if server.name == "llamacpp" else "provider")
    assert row["output_tokens"] is not None


def test_a_stream_that_asked_for_its_usage_passes_byte_for_byte(server: Server) -> None:
    body = {"messages": MESSAGES, "max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
    response = server.ask("/chat/completions", body, "asked")
    row = server.row("asked")
    assert passed_bodies(server)[-1] == response.content
    assert digest_in_store(server, row) == hashlib.sha256(response.content).hexdigest()
    said = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    usages = [chunk["usage"] for chunk in said if chunk.get("usage")]
    if usages:
        last = usages[-1]
        assert (row["input_tokens"], row["output_tokens"]) == (last["prompt_tokens"], last["completion_tokens"])
        assert row["usage_source"] == "provider"


def test_the_sdk_sees_the_same_text_directly_and_through(server: Server) -> None:
    texts = []
    for base_url in (server.direct, server.through):
        client = openai.OpenAI(base_url=base_url, api_key=server.key, max_retries=0, timeout=120)
        chunks = client.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": "Say anything at all."}],
            max_tokens=8,
            temperature=0,
            stream=True,
        )
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    assert texts[0] == texts[1] != ""


def test_an_error_of_the_server_passes_unchanged(server: Server) -> None:
    response = server.ask("/chat/completions", {"messages": "not a list"}, "wrong")
    row = server.row("wrong")
    assert (response.status_code, row["status"]) == (response.status_code, response.status_code)
    assert response.status_code >= 400
    assert response.content in passed_bodies(server)
    assert (row["cost_usd"], row["output_tokens"]) == (0, None)


def test_the_list_of_models_passes_unchanged(server: Server) -> None:
    headers = {"authorization": f"Bearer {server.key}", "x-glassline-session": "models"}
    response = httpx.get(f"{server.through}/models", headers=headers, timeout=60)
    assert response.content in passed_bodies(server)
    assert server.row("models")["endpoint"] == "models"


def passed_bodies(server: Server) -> list[bytes]:
    """Return every body that the server sent over the wire so far."""
    return [body for passed in server.tee.passed for body in bodies(bytes(passed.to_client))]


def digest_in_store(server: Server, row: dict[str, Any]) -> str:
    query = "SELECT hex(sha256) AS sha FROM bodies JOIN exchanges ON exchange = seq WHERE id = ? AND side = 1"
    [found] = server.glassline.rows(query, row["id"])
    return str(found["sha"]).lower()


def without_usage_event(stream: bytes) -> bytes:
    separator = b"\r\n\r\n" if b"\r\n\r\n" in stream else b"\n\n"
    events = stream.split(separator)
    return separator.join(event for event in events if not (b'"choices":[]' in event and b'"usage":{' in event))
