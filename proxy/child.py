"""One process of ours: forked by the supervisor, heard by it, signalled, collected."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from proxy.errors import EnvironmentUnusable, StoreError
from proxy.handoff import Heirloom
from proxy.signals import leave_signals_to_parent

log = logging.getLogger("glassline.supervisor")

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 78
_CONTROL_S: Final = 2.0
"""A gateway that does not take its configuration for so long is started anew."""
_PAUSES_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before the first, second, … restart of a child that keeps dying."""
_SETTLED_S: Final = 60.0
"""A child that lived so long starts again at the first pause."""
_SUCCESSION_S: Final = 10.0
_PR_SET_NAME: Final = 15
_PR_SET_PDEATHSIG: Final = 1


@dataclass(slots=True)
class Child:
    """A process of ours."""

    role: str
    body: Callable[[Child], None]
    number: int = -1
    """Of a gateway among the gateways; -1: it is none."""
    pid: int = 0
    control: socket.socket | None = None
    ready: int = -1
    """Read end of the pipe on which the child says that it is ready; -1: it has. In the child: the write end."""
    slot: int = -1
    """Where a gateway writes its live numbers."""
    started: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    is_renewed: bool = False
    """It was asked to end so that it starts again with a new configuration, or with new code."""
    is_told: bool = False
    """It knows that another takes its place, or hears it from that one."""
    predecessor: int = 0
    """Pid of the process that this one ends itself, when it is about to take its place; 0: there is none."""

    @property
    def is_gateway(self) -> bool:
        """Say whether it relays."""
        return self.number >= 0

    def start(self, others: Iterable[Child]) -> None:
        """Fork it. It keeps no way to the `others`."""
        ours, theirs = socket.socketpair()
        ready_read, ready_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.close(ready_read)
            self.control, self.ready = theirs, ready_write
            self._be(parent, others)
        theirs.close()
        os.close(ready_write)
        ours.settimeout(_CONTROL_S)
        self.pid, self.control, self.ready = pid, ours, ready_read
        self.started = time.monotonic()
        self.restart_at = None
        self.is_renewed = False

    def _be(self, parent: int, others: Iterable[Child]) -> NoReturn:
        """Run the body in the forked process; never returns."""
        code = EXIT_FAILED
        try:
            _name_process(f"gl-{self.role}")
            if not self.is_gateway:  # A gateway hears it from its control socket, and drains.
                _end_with(parent)
            leave_signals_to_parent()
            for other in others:
                if other is not self and other.control is not None:
                    other.control.close()
            self.body(self)
            code = EXIT_OK
        except (EnvironmentUnusable, StoreError) as error:
            log.error("%s: %s", self.role, error)
            code = EXIT_UNUSABLE
        except BaseException:
            log.exception("%s failed", self.role)
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    # --- in the child ------------------------------------------------------------------------------------------

    def say_ready(self) -> None:
        """Let the supervisor know."""
        with contextlib.suppress(OSError):
            os.write(self.ready, b"r")

    def succeed(self) -> None:
        """End the process whose place this one takes, if there is one; return when it has let go of everything."""
        deadline = time.monotonic() + _SUCCESSION_S
        with contextlib.suppress(ProcessLookupError):
            if self.predecessor:
                os.kill(self.predecessor, signal.SIGTERM)
            while self.predecessor and time.monotonic() < deadline:
                os.kill(self.predecessor, 0)
                time.sleep(0.002)

    # --- in the supervisor -------------------------------------------------------------------------------------

    def hear_ready(self) -> None:
        """Take note if it says that it is ready."""
        if self.ready >= 0 and _is_readable(self.ready) and os.read(self.ready, 1):
            os.close(self.ready)
            self.ready = -1

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def renew(self) -> None:
        """Let it end and start again."""
        self.is_renewed = True
        self.signal(signal.SIGTERM)

    def exit_code(self) -> int | None:
        """Return how it ended; None: it lives."""
        try:
            found, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return EXIT_FAILED
        return os.waitstatus_to_exitcode(status) if found else None

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.forget()

    def forget(self) -> None:
        """Close what led to a process that ended."""
        self.pid = 0
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1

    def plan_restart(self, pid: int, code: int) -> None:
        """Decide when it starts again, after its process `pid` ended with `code`."""
        now = time.monotonic()
        if self.is_renewed and code in (EXIT_OK, -signal.SIGTERM):
            self.restart_at = now
            return
        if now - self.started > _SETTLED_S:
            self.deaths = 0
        pause_s = _PAUSES_S[min(self.deaths, len(_PAUSES_S) - 1)]
        log.error("%s (pid %d) died: %s; it is started again in %.1f s", self.role, pid, told_code(code), pause_s)
        self.restart_at = now + pause_s
        self.deaths += 1

    def bequeath(self) -> Heirloom:
        """Return what the next program must know to go on with it."""
        control = self.control.fileno() if self.is_gateway and self.control is not None else -1
        return Heirloom(self.role, self.pid, control, self.slot, self.is_told)


def inherit(heirloom: Heirloom) -> Child:
    """Return a child of the program that this one replaced, which is never started again."""
    control = socket.socket(fileno=heirloom.control) if heirloom.control >= 0 else None
    number = 0 if heirloom.role.startswith("gateway") else -1
    return Child(heirloom.role, _never, number, heirloom.pid, control, slot=heirloom.slot, is_told=heirloom.is_retiring)


def told_code(code: int) -> str:
    """Return how a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _never(child: Child) -> None:
    raise AssertionError(f"{child.role} belongs to an earlier program and is never started by this one")


def _is_readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def _name_process(name: str) -> None:
    """Show `name` in process lists, where the system can."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _end_with(parent: int) -> None:
    """Get SIGTERM when the parent dies, where the system can."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(EXIT_FAILED)
