"""Processes at once: one that has loaded a program forks itself for each that is wanted.

Loading takes more than a second of CPU, for a Glassline as for a simulated provider with its tokenizer; a fork takes
none. Each is a fresh one, with a session, a directory, an environment and output files of its own: it runs `main` as
the interpreter would. What it has not done is to load its modules, so tests of the start itself are marked `cold`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from proxy.cli.serve import PROCESSES

Program = Literal["simulator", "glassline"]
_POLL_S: Final = 0.01


class Nursery:
    """The process that forks, seen from the tests: one order and one answer at a time, each a line of JSON."""

    def __init__(self, program: Program, environment: dict[str, str]) -> None:
        # Not with `-m`: the package imports this module, which would then be there twice.
        command = [sys.executable, "-c", f"from {__name__} import main; main({program!r})"]
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        self._lock = threading.Lock()
        atexit.register(self.close)

    def start(
        self, arguments: Sequence[str], directory: Path, stdout: Path, stderr: Path, environment: dict[str, str]
    ) -> Nursling:
        """Start the program with these command-line arguments, its output appended to these files."""
        for file in (stdout, stderr):
            file.touch()
        about = [list(arguments), str(directory), str(stdout), str(stderr), environment]
        return Nursling(self, self._ask("start", about))

    def poll(self, pid: int) -> int | None:
        """Return the exit code of one that it started; None: it runs."""
        code: int | None = self._ask("poll", pid)
        return code

    def close(self) -> None:
        """End it; those that it started go on."""
        self._popen.communicate()

    def _ask(self, order: str, about: object) -> Any:
        with self._lock:
            assert self._popen.stdin is not None
            assert self._popen.stdout is not None
            self._popen.stdin.write(json.dumps([order, about]) + "\n")
            self._popen.stdin.flush()
            answer = self._popen.stdout.readline()
        assert answer, "the nursery has died: its stderr tells why"
        return json.loads(answer)


class Nursling:
    """One process out of the nursery; what is asked of a `subprocess.Popen` can be asked of it."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None: it runs."""
        if self._code is None:
            self._code = self._nursery.poll(self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (60.0 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 60.0)
            time.sleep(_POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@cache
def nursery(program: Program) -> Nursery:
    """Return the one of this process, which lives as long as it does."""
    from tests.harness.process import clean_environment

    return Nursery(program, clean_environment())


def main(program: Program) -> None:
    """Load the program, then fork one for each order to start one, until nobody gives orders."""
    # A Ctrl-C is for the tests to hear: they end what they started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if program == "simulator":
        _load_simulator()
    else:
        _load_glassline()
    gc.freeze()
    codes: dict[int, int] = {}
    for line in sys.stdin:
        order, about = json.loads(line)
        answer = _fork(program, *about) if order == "start" else _exit_code(about, codes)
        print(json.dumps(answer), flush=True)


def _load_simulator() -> None:
    from proxy.simulator import Settings
    from proxy.simulator.app import Simulator

    simulator = Simulator(Settings())
    simulator.warm_up()
    simulator.close()


def _load_glassline() -> None:
    from proxy.inheritance import load_inheritance

    for module in ("proxy.supervisor", *PROCESSES):
        import_module(module)
    load_inheritance()


def _fork(program: Program, arguments: list[str], *rest: Any) -> int:
    alone_read, alone_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(alone_read)
        # A session of its own, before anybody knows its pid: it is by its session that a process is ended.
        os.setsid()
        os.close(alone_write)
        _be(program, arguments, *rest)
    os.close(alone_write)
    os.read(alone_read, 1)
    os.close(alone_read)
    return pid


def _be(
    program: Program, arguments: list[str], directory: str, stdout: str, stderr: str, environment: dict[str, str]
) -> None:
    """Be the program, started with these arguments; never returns."""
    code: object = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(directory)
        for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, stdout, _APPEND), (2, stderr, _APPEND)):
            descriptor = os.open(path, flags, 0o644)
            os.dup2(descriptor, number)
            os.close(descriptor)
        module = "proxy.simulator" if program == "simulator" else "proxy"
        sys.argv = [module, *arguments]
        # A Glassline that replaces itself starts this command.
        sys.orig_argv = [sys.executable, "-m", module, *arguments]
        code = import_module(f"{module}.__main__").main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - told and ended as the interpreter would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def _exit_code(pid: int, codes: dict[int, int]) -> int | None:
    if pid not in codes:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        codes[pid] = os.waitstatus_to_exitcode(status)
    return codes[pid]
