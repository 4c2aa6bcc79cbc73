"""How the installed program takes the place of the one that runs, in the same process: a rehearsal, then `execve`.

A rehearsal is a start that ends before anything is served (`check_rehearsal` is its part). What fails it replaces
nothing, and why stands in `run/restart-refused`, for whoever asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from proxy import handoff
from proxy.config import Config
from proxy.encryption import unlock
from proxy.errors import EnvironmentUnusable
from proxy.handoff import Handoff
from proxy.signals import hold_signals, release_signals

log = logging.getLogger("glassline.supervisor")

VARIABLE: Final = "GLASSLINE_REHEARSAL"
"""Tells a rehearsal which data directory is served."""
_REHEARSAL_S: Final = 60.0


class Succession:
    """The way to the next program. `command` starts it; empty: this one cannot be replaced while it runs."""

    def __init__(self, command: Sequence[str], data_dir: Path) -> None:
        self.is_possible = bool(command)
        self._command = list(command)
        self._data_dir = data_dir
        self._rehearsal: subprocess.Popen[bytes] | None = None
        self._until = 0.0

    @property
    def is_under_way(self) -> bool:
        """Say whether a rehearsal goes on."""
        return self._rehearsal is not None

    def rehearse(self) -> None:
        """Let the installed program show that it can start, before it gets the chance to."""
        log.info("restart: the installed program is tried")
        command = [*self._command, "--dry-run"]
        environment = os.environ | {VARIABLE: str(self._data_dir)}
        self._until = time.monotonic() + _REHEARSAL_S
        try:
            self._rehearsal = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603 - our own
        except OSError as error:
            self.refuse(f"not restarted, the running version stays: {error.strerror}")

    def outcome(self) -> int | None:
        """Return the exit code of a rehearsal that has come to its end, once; None: there is none."""
        if self._rehearsal is None:
            return None
        code = self._rehearsal.poll()
        if code is None and time.monotonic() > self._until:
            self._rehearsal.kill()
            code = self._rehearsal.wait()
        if code is not None:
            self._rehearsal = None
        return code

    def replace(self, left: Handoff) -> None:
        """Become the installed program, which takes over what is `left`; returns only if that cannot be."""
        log.info("restart: the program is replaced")
        logging.shutdown()
        hold_signals()
        try:
            environment = os.environ | {handoff.VARIABLE: handoff.leave(left)}
            os.execve(self._command[0], self._command, environment)  # noqa: S606 - our own command, no shell
        except OSError as error:
            handoff.keep(left)
            release_signals()
            self.refuse(f"not restarted, the running version stays: {error.strerror}")

    def refuse(self, why: str) -> None:
        """Say why this program goes on."""
        log.error("%s", why)
        with contextlib.suppress(OSError):
            refusal_file(self._data_dir).write_text(why + "\n", encoding="utf-8")

    def abandon(self) -> None:
        """End a rehearsal that goes on."""
        if self._rehearsal is not None:
            self._rehearsal.kill()
            self._rehearsal.wait()


def check_rehearsal(config: Config, environment: Mapping[str, str]) -> None:
    """Raise EnvironmentUnusable if this is a rehearsal, and a start could not go on with the directory that is served."""
    served = environment.get(VARIABLE)
    if served is None:
        return
    if config.data_dir.resolve() != Path(served).resolve():
        # It would begin with empty budgets, under the lock of another directory.
        raise EnvironmentUnusable(f"data_dir: {served} is served: another one takes a stop and a start")
    unlock(config.data_dir, config.encryption.key_file)


def refusal_file(data_dir: Path) -> Path:
    """Return where it stands why the last restart was refused."""
    return data_dir / "run" / "restart-refused"
