"""A program under tests/sdks/python or tests/node: it gets calls as lines of JSON and answers each with one."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from tests.harness.process import DeadlineError, clean_environment

_START_TIMEOUT_S = 120.0
"""Some frameworks take ten seconds to import on a quiet machine."""
_CALL_TIMEOUT_S = 90.0


class Program:
    """A running program. `greeting` is its first line: package, version, scenarios."""

    def __init__(self, command: Sequence[str], directory: Path, env: Mapping[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._errors = directory / "program.stderr"
        with self._errors.open("ab") as errors:
            self._popen = subprocess.Popen(
                command,
                cwd=directory,
                env=clean_environment() | dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )
        self._buffer = b""
        try:
            self.greeting: dict[str, Any] = self._read_line(_START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, **call: str) -> dict[str, Any]:
        """Make one call; return its `result` or its `error`."""
        _pipe(self._popen.stdin).write(json.dumps(call).encode() + b"\n")
        return self._read_line(_CALL_TIMEOUT_S)

    def close(self) -> None:
        """End it: politely by the end of its input, then by force."""
        with contextlib.suppress(OSError):
            _pipe(self._popen.stdin).close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        _pipe(self._popen.stdout).close()

    def _read_line(self, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        pipe = _pipe(self._popen.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise DeadlineError(f"no answer after {timeout_s:g} s\n{self._last_words()}")
                data = os.read(pipe.fileno(), 1 << 20)
                if not data:
                    raise DeadlineError(f"the program ended\n{self._last_words()}")
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        return self._errors.read_text(errors="replace")[-8000:]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
