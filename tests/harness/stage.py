"""Glasslines and simulated providers, all ended with the stage: behind the fixtures, and for measurements outside pytest."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.harness.glassline import Glassline
from tests.harness.simulator import Simulator


class Stage:
    """Where they work: `directory`, or one of its own that goes with it.

    `is_warm`: its Glasslines come out of the nursery; what is measured starts as its users start it.
    """

    def __init__(self, directory: Path | None = None, *, is_warm: bool = False) -> None:
        self._stack = ExitStack()
        self.directory = directory or Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="glassline-stage-"))
        )
        self._is_warm = is_warm
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def glassline(
        self,
        upstream: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Glassline:
        """Start one more Glassline; without `upstream` the config must name its upstreams itself."""
        directory = self._next("glassline")
        whole = with_upstream(config or {}, upstream)
        made = Glassline(directory, whole, args=args, env=env, is_warm=self._is_warm)
        self._stack.enter_context(closing(made))
        return made.start() if start else made

    def simulator(self, *args: str) -> Simulator:
        """Start one more simulated provider, with these command-line options."""
        return self._stack.enter_context(closing(Simulator(self._next("simulator"), *args)))

    def _next(self, name: str) -> Path:
        self._counts[name] += 1
        return self.directory / f"{name}-{self._counts[name]}"


def with_upstream(config: Mapping[str, Any], base_url: str | None) -> dict[str, Any]:
    """Return `config` with `openai` pointing at `base_url`, priced as OpenAI; what the config says itself wins."""
    if base_url is None:
        return dict(config)
    named = {"base_url": base_url, "wire": "openai", "provider": "openai", "allow_private": True}
    upstreams = dict(config.get("upstreams", {}))
    upstreams["openai"] = named | dict(upstreams.get("openai", {}))
    return {**config, "upstreams": upstreams}
