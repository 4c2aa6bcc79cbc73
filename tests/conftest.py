"""Fixtures that every test may use. End-to-end ones start real processes and end them whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest

from tests.harness import Glassline, Simulator
from tests.harness.process import ROOT
from tests.harness.stage import Stage

# Machines are shared and noisy: how long one example takes says nothing about the code.
hypothesis.settings.register_profile("glassline", deadline=None)
hypothesis.settings.load_profile("glassline")

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
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Where a test's processes are."""
    with Stage(tmp_path, is_warm=request.node.get_closest_marker("cold") is None) as made:
        yield made


@pytest.fixture
def start_simulator(processes: Stage) -> StartSimulator:
    """Start simulated providers, each with the command-line options given: `start_simulator("--seed", "7")`."""
    return processes.simulator


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    """A simulated provider."""
    return start_simulator()


@pytest.fixture
def start_glassline(processes: Stage) -> StartGlassline:
    """Start Glasslines; without `upstream` the config must name its upstreams itself."""
    return processes.glassline


@pytest.fixture
def glassline(start_glassline: StartGlassline, simulator: Simulator) -> Glassline:
    """A Glassline in front of `simulator`, as `make run` would start it: no keys, no budgets."""
    return start_glassline(simulator.url)


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
