"""The parent of all processes: owns the listening sockets, starts the others, restarts the dead, ends them in order.

It runs no event loop, no thread and no import that the children do not need, because it forks. A child that dies is
started again at once, later ones after a growing pause. SIGTERM and SIGINT drain: gateways first, then the recorder,
which folds all that the gateways wrote, then ledger and admin. SIGHUP reads the configuration again; a bad file is
reported and the last good one stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import pickle
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from proxy.config import Config
from proxy.errors import ConfigError, EnvironmentUnusable, StoreError
from proxy.logs import LogFormat, set_up
from proxy.stats import StatsBoard

log = logging.getLogger("glassline.supervisor")

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 78
_READY_WITHIN_S: Final = 30.0
_GRACE_S: Final = 3.0
"""Beyond the drain time, before a child that does not stop is killed."""
_RECORDER_GRACE_S: Final = 60.0
_PAUSES_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before the first, second, … restart of a child that keeps dying."""
_SETTLED_S: Final = 60.0
"""A child that lived so long starts again at the first pause."""
_PR_SET_NAME: Final = 15
_PR_SET_PDEATHSIG: Final = 1
BACKLOG: Final = 4096


@dataclass(slots=True)
class Child:
    """A process of ours."""

    role: str
    body: Callable[[Child], None]
    slot: int
    pid: int = 0
    control: socket.socket | None = None
    ready: int = -1
    """Read end of the pipe on which the child says that it is ready; -1: it has."""
    started: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    is_renewed: bool = False
    """It was asked to end so that it starts again with a new configuration."""


@dataclass(slots=True)
class Supervisor:
    """One running Glassline."""

    config: Config
    reload: Callable[[], Config]
    """Reads the configuration again. Raises ConfigError."""
    children: list[Child] = field(default_factory=list)
    is_stopping: bool = False

    def run(self) -> int:
        """Serve until a signal ends it; return the exit code."""
        data_dir = self.config.data_dir
        lock = _prepare(data_dir)
        data_sockets = _listen_data(self.config)
        admin_socket = _listen(self.config.admin.host, self.config.admin.port, shared=False)
        board = StatsBoard(len(data_sockets) + 3)
        self._plan(data_dir, data_sockets, admin_socket, board)
        wakeup = _WakeUp()
        try:
            for child in self.children:
                self._start(child)
            code = self._watch(wakeup, data_sockets, admin_socket)
        finally:
            self._stop_all(wakeup)
            (data_dir / "run" / "ports.json").unlink(missing_ok=True)
            for listener in (*data_sockets, admin_socket):
                listener.close()
            wakeup.close()
            os.close(lock)
        return code

    def _plan(
        self, data_dir: Path, data_sockets: list[socket.socket], admin_socket: socket.socket, board: StatsBoard
    ) -> None:
        def ledger(child: Child) -> None:
            from proxy.ledger.process import run

            run(self.config, data_dir, ready=_say_ready(child))

        def recorder(child: Child) -> None:
            from proxy.recorder import run

            run(data_dir, self.config, data_dir / "run" / "ledger.sock", ready=_say_ready(child))

        def admin(child: Child) -> None:
            from proxy.admin import run

            run(self.config, data_dir, [admin_socket], board, ready=_say_ready(child))

        def gateway(child: Child) -> None:
            from proxy.gateway.process import run

            if child.control is None:
                raise EnvironmentUnusable("a gateway needs a control socket")
            run(
                self.config,
                data_dir=data_dir,
                role=child.role,
                listeners=[data_sockets[child.slot]],
                stats=board.writer(child.slot, child.role, os.getpid()),
                control=child.control,
                ready=_say_ready(child),
            )

        self.children = [Child("ledger", ledger, -1)]
        self.children += [Child(f"gateway-{slot}", gateway, slot) for slot in range(len(data_sockets))]
        self.children += [Child("recorder", recorder, -1), Child("admin", admin, -1)]

    def _start(self, child: Child) -> None:
        ours, theirs = socket.socketpair()
        ready_read, ready_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.close(ready_read)
            child.control, child.ready = theirs, ready_write
            self._be(child, parent)
        theirs.close()
        os.close(ready_write)
        child.pid, child.control, child.ready = pid, ours, ready_read
        child.started = time.monotonic()
        child.restart_at = None
        child.is_renewed = False

    def _be(self, child: Child, parent: int) -> NoReturn:
        """Run the child's body in the forked process; never returns."""
        code = EXIT_FAILED
        try:
            _name_process(f"gl-{child.role}")
            if not child.role.startswith("gateway"):  # A gateway hears it from its control socket, and drains.
                _end_with(parent)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for other in self.children:
                if other is not child and other.control is not None:
                    other.control.close()
            child.body(child)
            code = EXIT_OK
        except (EnvironmentUnusable, StoreError) as error:
            log.error("%s: %s", child.role, error)
            code = EXIT_UNUSABLE
        except BaseException:
            log.exception("%s failed", child.role)
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _watch(self, wakeup: _WakeUp, data_sockets: list[socket.socket], admin_socket: socket.socket) -> int:
        deadline: float | None = time.monotonic() + _READY_WITHIN_S
        while True:
            for number in wakeup.wait(self._pause(deadline)):
                if number in (signal.SIGTERM, signal.SIGINT):
                    return EXIT_OK
                if number == signal.SIGHUP:
                    self._reload()
            code = self._reap(deadline is not None)
            if code is not None:
                return code
            now = time.monotonic()
            for child in self.children:
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child)
                self._hear_ready(child)
            if deadline is not None:
                if all(child.ready < 0 for child in self.children):
                    deadline = None
                    self._announce(data_sockets, admin_socket)
                elif now > deadline:
                    late = ", ".join(child.role for child in self.children if child.ready >= 0)
                    log.error("not ready after %d s: %s", _READY_WITHIN_S, late)
                    return EXIT_FAILED

    def _pause(self, deadline: float | None) -> float:
        if deadline is not None or any(child.ready >= 0 for child in self.children):
            return 0.01
        due = [child.restart_at for child in self.children if child.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else 1.0

    def _hear_ready(self, child: Child) -> None:
        if child.ready >= 0 and _is_readable(child.ready) and os.read(child.ready, 1):
            os.close(child.ready)
            child.ready = -1

    def _reap(self, is_starting: bool) -> int | None:
        """Take note of dead children; return an exit code if Glassline cannot go on."""
        for child in self.children:
            if not child.pid or child.restart_at is not None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            code = os.waitstatus_to_exitcode(status)
            self._forget(child)
            if is_starting and code != EXIT_OK:
                return code if code == EXIT_UNUSABLE else EXIT_FAILED
            self._plan_restart(child, pid, code)
        return None

    def _plan_restart(self, child: Child, pid: int, code: int) -> None:
        now = time.monotonic()
        if child.is_renewed and code == EXIT_OK:
            child.restart_at = now
            return
        log.error("%s (pid %d) died: %s", child.role, pid, f"signal {-code}" if code < 0 else f"exit {code}")
        if now - child.started > _SETTLED_S:
            child.deaths = 0
        child.restart_at = now + _PAUSES_S[min(child.deaths, len(_PAUSES_S) - 1)]
        child.deaths += 1

    def _forget(self, child: Child) -> None:
        child.pid = 0
        if child.control is not None:
            child.control.close()
            child.control = None
        if child.ready >= 0:
            os.close(child.ready)
            child.ready = -1

    def _announce(self, data_sockets: list[socket.socket], admin_socket: socket.socket) -> None:
        data_port, admin_port = data_sockets[0].getsockname()[1], admin_socket.getsockname()[1]
        path = self.config.data_dir / "run" / "ports.json"
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({"data": data_port, "admin": admin_port, "pid": os.getpid()}))
        temporary.replace(path)
        scheme = "https" if self.config.listen.tls else "http"
        log.info(
            "ready: proxy %s://%s:%d  dashboard http://%s:%d  data %s",
            scheme,
            _shown_host(self.config.listen.host),
            data_port,
            _shown_host(self.config.admin.host),
            admin_port,
            self.config.data_dir,
        )

    def _reload(self) -> None:
        try:
            config = self.reload()
        except ConfigError as error:
            for line in error.lines:
                log.error("configuration not loaded, the last good one stays: %s", line)
            return
        before, self.config = self.config, config
        message = pickle.dumps(config)
        for child in self.children:
            if child.role.startswith("gateway") and child.control is not None:
                with contextlib.suppress(OSError):
                    child.control.sendall(len(message).to_bytes(4, "little") + message)
            elif child.pid and _must_restart(child.role, before, config):
                child.is_renewed = True
                os.kill(child.pid, signal.SIGTERM)
        log.info("configuration loaded")

    def _stop_all(self, wakeup: _WakeUp) -> None:
        self.is_stopping = True
        gateways = [child for child in self.children if child.role.startswith("gateway")]
        self._stop(gateways, wakeup, self.config.timeouts.drain + _GRACE_S, passes_second_signal=True)
        self._stop([child for child in self.children if child.role == "recorder"], wakeup, _RECORDER_GRACE_S)
        self._stop([child for child in self.children if child.pid], wakeup, _GRACE_S)

    def _stop(
        self, children: list[Child], wakeup: _WakeUp, grace_s: float, *, passes_second_signal: bool = False
    ) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while any(child.pid for child in children):
            for number in wakeup.wait(0.05):
                if passes_second_signal and number in (signal.SIGTERM, signal.SIGINT):
                    for child in children:
                        if child.pid:
                            os.kill(child.pid, signal.SIGTERM)
            for child in children:
                if child.pid and os.waitpid(child.pid, os.WNOHANG)[0]:
                    self._forget(child)
                elif child.pid and time.monotonic() > deadline:
                    log.error("%s did not stop in time and is killed", child.role)
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
                    self._forget(child)


class _WakeUp:
    """Signals as data: those that came since the last wait."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._read, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def wait(self, timeout_s: float) -> list[int]:
        """Return the numbers of signals that arrived, waiting at most `timeout_s`."""
        if not self._selector.select(timeout_s):
            return []
        try:
            return list(self._read.recv(4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._read.close()
        self._write.close()


def serve(config: Config, *, log_format: LogFormat = "text", reload: Callable[[], Config] | None = None) -> int:
    """Run Glassline until a signal ends it; return the exit code. Raises EnvironmentUnusable.

    `reload` is called on SIGHUP; None: the configuration never changes.
    """
    set_up(log_format)
    return Supervisor(config, reload or (lambda: config)).run()


def _prepare(data_dir: Path) -> int:
    """Make the data directory and take its lock; return the lock's descriptor."""
    try:
        for path in (data_dir, data_dir / "run", data_dir / "journal"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentUnusable(f"data directory {data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise EnvironmentUnusable(f"data directory {data_dir}: another Glassline uses it") from error
    return lock


def _listen_data(config: Config) -> list[socket.socket]:
    """Bind one listening socket a gateway; the kernel spreads connections over them."""
    first = _listen(config.listen.host, config.listen.port, shared=config.workers > 1)
    port = first.getsockname()[1]
    return [first, *(_listen(config.listen.host, port, shared=True) for _ in range(config.workers - 1))]


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EnvironmentUnusable(f"cannot listen on {host}:{port}: {reason}") from error
    listener.setblocking(False)
    return listener


def _say_ready(child: Child) -> Callable[[], None]:
    def say() -> None:
        with contextlib.suppress(OSError):
            os.write(child.ready, b"r")

    return say


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


def _must_restart(role: str, before: Config, after: Config) -> bool:
    """Say whether a process other than a gateway must start anew to use the new configuration."""
    if role == "ledger":
        return before.pricing != after.pricing
    return before != after


def _shown_host(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host  # noqa: S104 - only shown
