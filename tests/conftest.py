"""Fixtures that every test may use. End-to-end ones start real processes and end them whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.harness import Glassline, Simulator
from tests.harness.process import ROOT

StartSimulator = Callable[..., Simulator]


class StartGlassline(Protocol):
    """Start one more Glassline: `upstream` is the base URL of its `openai` upstream, `config` the rest of its config."""

    def __call__(
        self,
        upstream: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Glassline: ...


@pytest.fixture
def start_simulator(tmp_path: Path) -> Iterator[StartSimulator]:
    """Start simulated providers, each with the command-line options given: `start_simulator("--seed", "7")`."""
    with ExitStack() as stack:
        count = 0

        def start(*args: str) -> Simulator:
            nonlocal count
            count += 1
            return stack.enter_context(closing(Simulator(tmp_path / f"simulator-{count}", *args)))

        yield start


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    """A simulated provider."""
    return start_simulator()


@pytest.fixture
def start_glassline(tmp_path: Path) -> Iterator[StartGlassline]:
    """Start Glasslines; without `upstream` the config must name its upstreams itself."""
    with ExitStack() as stack:
        count = 0

        def make(
            upstream: str | None = None,
            config: Mapping[str, Any] | None = None,
            *,
            args: tuple[str, ...] = (),
            env: Mapping[str, str] | None = None,
            start: bool = True,
        ) -> Glassline:
            nonlocal count
            count += 1
            whole = with_upstream(config or {}, upstream)
            made = Glassline(tmp_path / f"glassline-{count}", whole, args=args, env=env)
            stack.enter_context(closing(made))
            return made.start() if start else made

        yield make


@pytest.fixture
def glassline(start_glassline: StartGlassline, simulator: Simulator) -> Glassline:
    """A Glassline in front of `simulator`, as `make run` would start it: no keys, no budgets."""
    return start_glassline(simulator.url)


def with_upstream(config: Mapping[str, Any], base_url: str | None) -> dict[str, Any]:
    """Return `config` with `openai` pointing at `base_url`, priced as OpenAI; what the config says itself wins."""
    if base_url is None:
        return dict(config)
    named = {"base_url": base_url, "wire": "openai", "provider": "openai", "allow_private": True}
    upstreams = dict(config.get("upstreams", {}))
    upstreams["openai"] = named | dict(upstreams.get("openai", {}))
    return {**config, "upstreams": upstreams}


@pytest.fixture
def system_tool() -> Callable[[str], str]:
    """Find a program that is no Python package, such as promtool; skip when it is missing, but fail under CI."""

    def find(name: str) -> str:
        unpacked = ROOT / ".cache" / "debian" / "usr"
        path = os.pathsep.join([str(unpacked / "bin"), str(unpacked / "sbin"), os.environ.get("PATH", ""), "/usr/sbin"])
        found = shutil.which(name, path=path)
        if found is None and os.environ.get("CI"):
            pytest.fail(f"{name} is missing: run tests/system/install.sh")
        if found is None:
            pytest.skip(f"{name} is missing: run tests/system/install.sh")
        return found

    return find


@pytest.fixture
def node_sdk(system_tool: Callable[[str], str]) -> list[str]:
    """The command that runs tests/node/sdk.mjs; add the base URL to it."""
    node = system_tool("node")
    script = ROOT / "tests" / "node" / "sdk.mjs"
    if not (script.parent / "node_modules" / "openai").is_dir():
        missing = "the openai package for Node is missing: run tests/system/install.sh"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return [node, str(script)]
