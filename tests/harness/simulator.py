"""The simulated provider as a process, and its truth log: what really reached it and what it really billed."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.nursery import nursery
from tests.harness.process import Process, Running, wait_until


class Simulator(Process):
    """`python -m proxy.simulator` on a free port, out of the nursery; `url` ends in /v1."""

    def __init__(self, directory: Path, *args: str) -> None:
        self._truth = directory / "truth.jsonl"
        arguments = ["--port", "0", "--print-port", "--truth", str(self._truth), *args]
        super().__init__(arguments, directory, name="simulator")
        try:
            self.port = int(self.wait_for(self._printed_line, "the simulator's port"))
        except BaseException:
            self.close()
            raise
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def _launch(self, command: Sequence[str], directory: Path, env: dict[str, str]) -> Running:
        return nursery("simulator").start(command, directory, self.stdout, self.stderr, env)

    def truth(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the truth log, all or those of one `event`; a line still being written is left out."""
        if not self._truth.exists():
            return []
        text = self._truth.read_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if event is None or line.get("event") == event]

    def wait_for_truth(self, count: int, event: str | None = None, *, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """Wait until the truth log holds `count` lines of `event`."""

        def enough() -> list[dict[str, Any]] | None:
            lines = self.truth(event)
            return lines if len(lines) >= count else None

        return wait_until(enough, f"{count} lines of the truth log", timeout_s=timeout_s)

    def done(self, *, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """Return the `done` lines as soon as every request received has one: an answer may arrive before its line."""

        def complete() -> list[dict[str, Any]] | None:
            lines = self.truth("done")
            return lines if {line["n"] for line in self.truth("received")} <= {line["n"] for line in lines} else None

        return wait_until(complete, "every request to be done", timeout_s=timeout_s) if self.truth() else []

    def stop(self) -> None:
        """End it politely; fail when it does not end."""
        self.send_signal(signal.SIGTERM)
        self.wait(timeout_s=10)

    def _printed_line(self) -> str | None:
        line, newline, _ = self.stdout.read_text().partition("\n")
        return line.rpartition(" ")[2] if newline else None
