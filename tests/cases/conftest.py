"""The stage on which the cases are played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.cases.stage import Sink, Stage
from tests.harness import Glassline
from tests.harness.upstream import ScriptedUpstream, answer_chat

WIRES = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        sink = Sink()
        stack.callback(sink.close)
        root = upstream.url.removesuffix("/v1")
        upstreams = {
            name: {"base_url": f"{root}/v1" if wire == "openai" else root, "wire": wire, "allow_private": True}
            for name, wire in WIRES.items()
        }
        upstreams["ollama"]["free"] = True  # what an estimate would fill in for a price stays unknown
        upstreams["strict"] = {"base_url": root, "wire": "openai", "allow_private": True}
        upstreams["sink"] = {"base_url": f"http://127.0.0.1:{sink.port}", "wire": "none", "allow_private": True}
        config = {"upstreams": upstreams, "limits": {"body_mb": 200}}
        glassline = Glassline(tmp_path_factory.mktemp("cases"), config)
        stack.enter_context(closing(glassline))
        yield Stage(glassline.start(), upstream, sink)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    yield running
    running.upstream.script = answer_chat
