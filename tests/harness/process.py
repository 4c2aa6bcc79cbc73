"""A process under test, in a session of its own, with its output in files.

Whoever starts one closes it: `close` ends every process of the session, also those whose parent has died, and waits
until they are gone. Output goes to files, never into pipes that nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

T = TypeVar("T")
ROOT: Final = Path(__file__).parents[2]
"""The checkout."""
START_TIMEOUT_S: Final = 60.0
"""For a start on a machine with two busy cores; an idle one takes a second."""
_POLL_S: Final = 0.01
_IS_MEASURED: Final = any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
_PRIVATE: Final = ("_API_KEY", "_PROXY", "_BASE_URL", "GLASSLINE_", "MAKE", "MFLAGS")
"""Parts of the names of environment variables that must not leak from a shell, or from `make test`, into a test."""


class DeadlineError(AssertionError):
    """What was waited for did not happen in time."""


def wait_until(condition: Callable[[], T | None], what: str, *, timeout_s: float = 10.0) -> T:
    """Return the first value of `condition` that is true; DeadlineError names `what` was missing at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise DeadlineError(f"after {timeout_s:g} s still waiting for {what}")
        time.sleep(_POLL_S)
    return value


class Running(Protocol):
    """A process that was started: what a `subprocess.Popen` can be asked."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None: it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Signal it, if it runs."""


class Process:
    """One running command. `stdout` and `stderr` are the files that hold its output."""

    def __init__(
        self, command: Sequence[str], directory: Path, *, name: str, env: Mapping[str, str] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.stdout = directory / f"{name}.stdout"
        self.stderr = directory / f"{name}.stderr"
        self._running = self._launch(command, directory, clean_environment() | dict(env or {}))
        self.pid = self._running.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(self, command: Sequence[str], directory: Path, env: dict[str, str]) -> Running:
        """Start it as the first process of a session, its output appended to the files."""
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            return subprocess.Popen(
                command,
                cwd=directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None: it runs."""
        return self._running.poll()

    def wait_for(self, condition: Callable[[], T | None], what: str, *, timeout_s: float = START_TIMEOUT_S) -> T:
        """Wait for `condition` while the process lives; a failure shows what the process wrote."""

        def checked() -> T | None:
            value = condition()
            if not value and self.exit_code is not None:
                raise DeadlineError(f"{self.name} ended with {self.exit_code} before {what}\n{self.output()}")
            return value

        try:
            return wait_until(checked, what, timeout_s=timeout_s)
        except DeadlineError as error:
            if self.exit_code is None:
                raise DeadlineError(f"{self.name}: {error}\n{self.output()}") from None
            raise

    def wait(self, *, timeout_s: float) -> int:
        """Wait for the end of the first process and return its exit code."""
        try:
            return self._running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(f"{self.name} still runs after {timeout_s:g} s\n{self.output()}") from None

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the first process alone."""
        self._running.send_signal(number)

    def kill_group(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal every process of the session and, after SIGKILL, wait until all are gone."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            self._running.wait()
            wait_until(lambda: not self.pids(), f"the death of {self.name}")

    def pids(self) -> list[int]:
        """List the processes of the session that are alive, oldest pid first."""
        return sorted(pid for pid, session in _sessions() if session == self.pid)

    def output(self) -> str:
        """Return the end of what the processes wrote, for people."""
        tails = [(path.name, path.read_text(errors="replace")[-8000:]) for path in (self.stdout, self.stderr)]
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails if tail)

    def close(self) -> None:
        """End whatever still runs, at once; under coverage politely first, since the figures are written at the end."""
        if self.exit_code is None and _IS_MEASURED:
            self.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running.wait(5)
        self.kill_group(signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """Return this environment without the keys, proxies and addresses of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not any(part in name.upper() for part in _PRIVATE)}
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}


def command_line(pid: int) -> str:
    """Return the command line of a process, its arguments joined by blanks; '' when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _sessions() -> list[tuple[int, int]]:
    """List (pid, session) of every process that is not a zombie."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session, *_ = (entry / "stat").read_text(errors="replace").rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.append((int(entry.name), int(session)))
    return found
