"""A ledger in a process of its own, for tests that kill it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.errors import LedgerUnavailable
from proxy.ledger.client import SyncLedgerClient
from tests.harness.process import ROOT, wait_until


class LedgerProcess:
    """A ledger that can be killed and started again. Its socket has a short path, as UNIX sockets want."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "ledger.db"
        self.socket = directory / "ledger.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.ledger.ledger_process", str(self.database), str(self.socket)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        wait_until(self._answers, "an answer of the ledger", timeout_s=60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the ledger ended at once"
        try:
            with SyncLedgerClient(self.socket) as client:
                client.balance(())
        except LedgerUnavailable:
            return False
        return True

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal the process if it runs; return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
        return self._process.wait(30)


@contextmanager
def running_ledger() -> Iterator[LedgerProcess]:
    with tempfile.TemporaryDirectory(prefix="gl-") as directory:
        process = LedgerProcess(Path(directory))
        process.start()
        yield process
        process.end(signal.SIGKILL)
