"""Glasslines and providers for measurements outside pytest, all ended with the stage."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.conftest import with_upstream
from tests.harness import Glassline, Simulator


class Stage:
    """A directory of its own, with the calls of the fixtures in tests/conftest.py."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.directory = Path()
        self._count = 0

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="glassline-stage-")))
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
        """Start one more Glassline."""
        directory = self._next("glassline")
        made = Glassline(directory, with_upstream(config or {}, upstream), args=args, env=env)
        self._stack.enter_context(closing(made))
        return made.start() if start else made

    def simulator(self, *args: str) -> Simulator:
        """Start one more simulated provider."""
        return self._stack.enter_context(closing(Simulator(self._next("simulator"), *args)))

    def _next(self, name: str) -> Path:
        self._count += 1
        return self.directory / f"{name}-{self._count}"
