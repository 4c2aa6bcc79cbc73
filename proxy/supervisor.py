"""The parent of all processes: owns the listening sockets, starts the others, restarts the dead, ends them in order.

It runs no event loop, no thread and no import that the children do not need, because it forks. A child that dies is
started again at once, later ones after a growing pause.

· SIGTERM, SIGINT: no longer ready, the port closes, gateways drain; then the recorder folds all that they wrote; then
  ledger and admin. A second signal skips the drain, not the folding.
· SIGHUP: the configuration is read again; a bad file is reported and the last good one stays.
· SIGUSR2: the program replaces itself (`execve`) by what is installed now, keeping sockets, lock and children; new
  gateways begin to accept before the old ones stop, so no request is lost. A rehearsal goes first: what cannot start
  replaces nothing.
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
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from proxy import handoff
from proxy.config import Config
from proxy.config.hidden import secrets_of
from proxy.data_dir import make_data_dir
from proxy.descriptors import allow_descriptors, descriptors_for
from proxy.disk import Headroom, check_file_system
from proxy.encryption import unlock
from proxy.errors import ConfigError, EnvironmentUnusable, OurError, StoreError
from proxy.handoff import Handoff, Heirloom
from proxy.listeners import (
    Listeners,
    adopt_listeners,
    given_by_service_manager,
    listen,
    listen_data,
    open_listeners,
)
from proxy.logs import LogFormat, hide, set_up
from proxy.notify import ServiceManager
from proxy.stats import DEFAULT_SLOTS, ReloadStats, StatsBoard
from proxy.upgrade import back_up_before_upgrade

log = logging.getLogger("glassline.supervisor")

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 78
_READY_WITHIN_S: Final = 30.0
_GRACE_S: Final = 3.0
"""Beyond the drain time, in which all that was cut is recorded and settled; the journal keeps what is not."""
_LAST_WRITES_S: Final = 0.7
"""Of the grace: for ledger and admin, after the recorder."""
_REHEARSAL_S: Final = 60.0
_SUCCESSION_S: Final = 10.0
_CONTROL_S: Final = 2.0
"""A gateway that does not take its configuration for so long is started anew."""
_PAUSES_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before the first, second, … restart of a child that keeps dying."""
_SETTLED_S: Final = 60.0
"""A child that lived so long starts again at the first pause."""
_PR_SET_NAME: Final = 15
_PR_SET_PDEATHSIG: Final = 1
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_HEARD: Final = (*_ENDING, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
RETIRE: Final = signal.SIGUSR2
"""To a gateway: drain, others have taken over."""


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
    """Read end of the pipe on which the child says that it is ready; -1: it has."""
    slot: int = -1
    """Where a gateway writes its live numbers."""
    started: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    is_renewed: bool = False
    """It was asked to end so that it starts again with a new configuration, or with new code."""
    predecessor: int = 0
    """Pid of the process that this one ends itself, when it is about to take its place; 0: there is none."""

    @property
    def is_gateway(self) -> bool:
        """Say whether it relays."""
        return self.number >= 0


@dataclass(slots=True)
class Supervisor:
    """One running Glassline."""

    config: Config
    reload: Callable[[], Config]
    """Reads the configuration again. Raises ConfigError."""
    again: Sequence[str] = ()
    """The command that starts this program anew; empty: it cannot be replaced while it runs."""
    children: list[Child] = field(default_factory=list)
    retiring: list[Child] = field(default_factory=list)
    """Gateways that others have taken over from, or will."""
    generation: int = 1
    is_ready: bool = False
    _told: set[int] = field(default_factory=set)
    """Pids of those among `retiring` that were told so."""
    _rehearsal: subprocess.Popen[bytes] | None = None
    _rehearsal_until: float = 0.0

    def run(self) -> int:
        """Serve until a signal ends it; return the exit code."""
        left = handoff.take(os.environ)
        data_dir = self.config.data_dir
        given = given_by_service_manager(os.environ, os.getpid())
        if left is None:
            lock = _prepare(data_dir)
            unlock(data_dir, self.config.encryption.key_file)
            back_up_before_upgrade(data_dir)
            listeners = open_listeners(self.config, given)
            board = StatsBoard()
        else:
            lock, board = left.lock, StatsBoard(descriptor=left.stats)
            unlock(data_dir, self.config.encryption.key_file)
            back_up_before_upgrade(data_dir)
            listeners = _kept_listeners(self.config, left)
            self.generation = left.generation + 1
        _allow_files(self.config)
        board.note_reload(ReloadStats(self.generation))
        manager = ServiceManager(os.environ, os.getpid())
        self._plan(data_dir, listeners, board)
        wakeup = _WakeUp()
        stage = _Stage(lock, listeners, board, manager, wakeup)
        try:
            if left is not None:
                self._take_over(left)
            for child in self.children:
                if not child.pid:
                    self._start(child, stage)
            code = self._watch(stage, is_first_start=left is None)
        finally:
            manager.stopping()
            self._stop_all(stage)
            (data_dir / "run" / "ports.json").unlink(missing_ok=True)
            wakeup.close()
            os.close(lock)
        return code

    def _plan(self, data_dir: Path, listeners: Listeners, board: StatsBoard) -> None:
        def ledger(child: Child) -> None:
            from proxy.ledger.process import run

            listeners.close_except([])
            run(self.config, data_dir, ready=_say_ready(child), succeed=lambda: _succeed(child.predecessor))

        def recorder(child: Child) -> None:
            from proxy.recorder import run

            listeners.close_except([])
            run(data_dir, self.config, data_dir / "run" / "ledger.sock", ready=_say_ready(child))

        def admin(child: Child) -> None:
            from proxy.admin import run

            listeners.close_except([listeners.admin])
            run(self.config, data_dir, [listeners.admin], board, ready=_say_ready(child))

        def gateway(child: Child) -> None:
            from proxy.gateway.process import run

            if child.control is None:
                raise EnvironmentUnusable("a gateway needs a control socket")
            mine = listeners.share(child.number, self.config.workers)
            listeners.close_except(mine)
            stats = board.writer(child.slot, child.role, os.getpid())
            stats.generation = self.generation
            run(
                self.config,
                data_dir=data_dir,
                role=child.role,
                listeners=mine,
                stats=stats,
                control=child.control,
                ready=_say_ready(child),
            )

        self.children = [Child("ledger", ledger)]
        self.children += [Child(f"gateway-{number}", gateway, number) for number in range(self.config.workers)]
        self.children += [Child("recorder", recorder), Child("admin", admin)]

    def _take_over(self, left: Handoff) -> None:
        """Go on with the children of the program that this one replaced: each is to end, gateways last."""
        by_role = {child.role: child for child in self.children if not child.is_gateway}
        for heirloom in left.children:
            if heirloom.role == "ledger":
                # Requests wait for the ledger: its successor is loaded before it goes.
                by_role["ledger"].predecessor = heirloom.pid
                self.retiring.append(Child("ledger", _never, pid=heirloom.pid))
                self._told.add(heirloom.pid)
                continue
            control = socket.socket(fileno=heirloom.control) if heirloom.control >= 0 else None
            if (child := by_role.get(heirloom.role)) is not None:
                child.pid = heirloom.pid
                self._renew(child)
                continue
            self.retiring.append(Child(heirloom.role, _never, 0, heirloom.pid, control, slot=heirloom.slot))
            if heirloom.is_retiring:
                self._told.add(heirloom.pid)

    def _start(self, child: Child, stage: _Stage) -> None:
        if child.is_gateway:
            slot = stage.board.free_slot(child.role, [other.slot for other in self._gateways if other.pid])
            child.slot = 0 if slot is None else slot
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
        ours.settimeout(_CONTROL_S)
        child.pid, child.control, child.ready = pid, ours, ready_read
        child.started = time.monotonic()
        child.restart_at = None
        child.is_renewed = False

    def _be(self, child: Child, parent: int) -> NoReturn:
        """Run the child's body in the forked process; never returns."""
        code = EXIT_FAILED
        try:
            _name_process(f"gl-{child.role}")
            if not child.is_gateway:  # A gateway hears it from its control socket, and drains.
                _end_with(parent)
            signal.set_wakeup_fd(-1)
            for number in _HEARD:
                signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            for other in (*self.children, *self.retiring):
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

    # --- while it runs -----------------------------------------------------------------------------------------

    def _watch(self, stage: _Stage, *, is_first_start: bool) -> int:
        deadline = time.monotonic() + _READY_WITHIN_S if is_first_start else None
        while True:
            for number in stage.wakeup.wait(self._pause()):
                if number in _ENDING:
                    return EXIT_OK
                if number == signal.SIGHUP:
                    self._reload(stage)
                if number == signal.SIGUSR2:
                    self._rehearse()
            code = self._reap(stage, is_first_start=deadline is not None)
            if code is not None:
                return code
            now = time.monotonic()
            for child in self.children:
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child, stage)
                self._hear_ready(child)
            self._hear_rehearsal(stage)
            stage.manager.alive()
            if not self.is_ready and all(child.pid and child.ready < 0 for child in self.children):
                deadline = None
                self._become_ready(stage)
            elif deadline is not None and now > deadline:
                late = ", ".join(child.role for child in self.children if child.ready >= 0)
                log.error("not ready after %d s: %s", _READY_WITHIN_S, late)
                return EXIT_FAILED

    def _pause(self) -> float:
        if not self.is_ready or any(child.ready >= 0 for child in self.children):
            return 0.01
        if self._rehearsal is not None:
            return 0.05
        due = [child.restart_at for child in self.children if child.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else 1.0

    def _become_ready(self, stage: _Stage) -> None:
        self.is_ready = True
        for child in self.retiring:
            if child.pid not in self._told:
                self._told.add(child.pid)
                _signal(child, RETIRE)
        self._announce(stage.listeners)
        stage.manager.ready()

    def _hear_ready(self, child: Child) -> None:
        if child.ready >= 0 and _is_readable(child.ready) and os.read(child.ready, 1):
            os.close(child.ready)
            child.ready = -1

    @property
    def _gateways(self) -> list[Child]:
        return [child for child in (*self.children, *self.retiring) if child.is_gateway]

    def _reap(self, stage: _Stage, *, is_first_start: bool) -> int | None:
        """Take note of dead children; return an exit code if Glassline cannot go on."""
        for child in (*self.children, *self.retiring):
            if not child.pid or child.restart_at is not None:
                continue
            code = _exit_code(child.pid)
            if code is None:
                continue
            pid = child.pid
            self._forget(child)
            if child in self.retiring:
                self.retiring.remove(child)
                if child.is_gateway:
                    stage.board.retire(child.slot)
                for successor in self.children:
                    successor.predecessor = 0 if successor.predecessor == pid else successor.predecessor
                if code != EXIT_OK:
                    log.error("%s (pid %d) died while it drained: %s", child.role, pid, _told_code(code))
                continue
            if is_first_start and code != EXIT_OK and not child.is_renewed:
                if code == EXIT_UNUSABLE:
                    return code  # it has said why
                log.error("%s (pid %d) died while it started: %s", child.role, pid, _told_code(code))
                return EXIT_FAILED
            self._plan_restart(child, pid, code)
        return None

    def _plan_restart(self, child: Child, pid: int, code: int) -> None:
        now = time.monotonic()
        if child.is_renewed and code in (EXIT_OK, -signal.SIGTERM):
            child.restart_at = now
            return
        log.error("%s (pid %d) died: %s", child.role, pid, _told_code(code))
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

    def _announce(self, listeners: Listeners) -> None:
        data_port, admin_port = listeners.data[0].getsockname()[1], listeners.admin.getsockname()[1]
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

    # --- another configuration ---------------------------------------------------------------------------------

    def _reload(self, stage: _Stage) -> None:
        stage.manager.reloading()
        config = self._load()
        if config is None:
            stage.board.note_reload(ReloadStats(self.generation, is_good=False))
        else:
            self._use(config)
            stage.board.note_reload(ReloadStats(self.generation))
            log.info("configuration loaded: generation %d", self.generation)
        if self.is_ready:
            stage.manager.ready()

    def _load(self) -> Config | None:
        try:
            return self.reload()
        except ConfigError as error:
            for line in error.lines:
                log.error("configuration not loaded, the last good one stays: %s", line)
        except OurError as error:
            log.error("configuration not loaded, the last good one stays: %s", error)
        except Exception as error:  # noqa: BLE001
            # The border at which a mistake of ours in reading a file must not end what runs. Its text may hold a secret.
            log.error("configuration not loaded, the last good one stays: %s", type(error).__name__)
        return None

    def _use(self, config: Config) -> None:
        # How many gateways there are is settled when they start: a restart changes it, a reload cannot.
        # Nor can it change what the data directory is encrypted with.
        before, kept = self.config, {"workers": self.config.workers, "encryption": self.config.encryption}
        self.config = config.model_copy(update=kept)
        hide((*secrets_of(before), *secrets_of(config)))
        self.generation += 1
        message = pickle.dumps((self.generation, self.config))
        for child in self.children:
            if child.is_gateway and child.control is not None:
                self._send(child, len(message).to_bytes(4, "little") + message)
            elif child.pid and _must_restart(child.role, before, self.config):
                self._renew(child)

    def _send(self, child: Child, message: bytes) -> None:
        try:
            if child.control is not None:
                child.control.sendall(message)
        except OSError:
            log.error("%s does not take its configuration and is started anew", child.role)
            self._renew(child)

    def _renew(self, child: Child) -> None:
        child.is_renewed = True
        _signal(child, signal.SIGTERM)

    # --- another program ---------------------------------------------------------------------------------------

    def _rehearse(self) -> None:
        """Let the installed program show that it can start, before it gets the chance to."""
        if not self.again:
            self._refuse_restart("not restarted: this program cannot be replaced while it runs")
        elif not self.is_ready or self._rehearsal is not None:
            self._refuse_restart("not restarted: a start or restart is under way")
        elif len(self._gateways) + self.config.workers > DEFAULT_SLOTS:
            self._refuse_restart("not restarted: gateways of earlier restarts still drain")
        else:
            log.info("restart: the installed program is tried")
            command = [*self.again, "--dry-run"]
            self._rehearsal_until = time.monotonic() + _REHEARSAL_S
            try:
                self._rehearsal = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command
            except OSError as error:
                self._refuse_restart(f"not restarted, the running version stays: {error.strerror}")

    def _hear_rehearsal(self, stage: _Stage) -> None:
        if self._rehearsal is None:
            return
        code = self._rehearsal.poll()
        if code is None and time.monotonic() > self._rehearsal_until:
            self._rehearsal.kill()
            code = self._rehearsal.wait()
        if code is None:
            return
        self._rehearsal = None
        if code != EXIT_OK:
            self._refuse_restart(
                f"not restarted, the running version stays: the installed one ends with {_told_code(code)}"
            )
        elif any(child.ready >= 0 or not child.pid for child in self.children):
            self._refuse_restart("not restarted: a process is being started; try again")
        else:
            self._replace(stage)

    def _replace(self, stage: _Stage) -> None:
        left = Handoff(
            pid=os.getpid(),
            lock=stage.lock,
            stats=stage.board.descriptor,
            data=tuple(listener.fileno() for listener in stage.listeners.data),
            admin=stage.listeners.admin.fileno(),
            data_address=stage.listeners.data_address,
            admin_address=stage.listeners.admin_address,
            generation=self.generation,
            children=tuple(_heirloom(child, is_retiring=child.pid in self._told) for child in self._everyone),
        )
        log.info("restart: the program is replaced")
        stage.manager.reloading()
        logging.shutdown()
        # Held back until the new program listens: a signal meanwhile would end it, or be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            environment = os.environ | {handoff.VARIABLE: handoff.leave(left)}
            os.execve(self.again[0], list(self.again), environment)  # noqa: S606 - our own command, no shell
        except OSError as error:
            handoff.keep(left)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            self._refuse_restart(f"not restarted, the running version stays: {error.strerror}")
            stage.manager.ready()

    def _refuse_restart(self, why: str) -> None:
        log.error("%s", why)
        with contextlib.suppress(OSError):
            (self.config.data_dir / "run" / "restart-refused").write_text(why + "\n", encoding="utf-8")

    @property
    def _everyone(self) -> list[Child]:
        return [child for child in (*self.children, *self.retiring) if child.pid]

    # --- the end -----------------------------------------------------------------------------------------------

    def _stop_all(self, stage: _Stage) -> None:
        """End everything, in the order in which work passes through it, within the drain time and the grace.

        A process that is killed at the end loses nothing: the journal keeps what is not stored, for the next start.
        """
        if self._rehearsal is not None:
            self._rehearsal.kill()
            self._rehearsal.wait()
        timeouts = self.config.timeouts
        # The gateways' own copies keep the ports open for as long as these want.
        for listener in stage.listeners.all:
            listener.close()
        end = time.monotonic() + timeouts.pre_stop + timeouts.drain + _GRACE_S
        gateways = self._gateways
        others = [child for child in (*self.children, *self.retiring) if not child.is_gateway]
        end = self._stop(gateways, stage.wakeup, end - _GRACE_S + 1.0, end)
        end = self._stop(_with_role(others, "recorder"), stage.wakeup, end - _LAST_WRITES_S, end)
        self._stop(others, stage.wakeup, end, end)

    def _stop(self, children: Sequence[Child], wakeup: _WakeUp, until: float, end: float) -> float:
        """End these by `until`; return by when all must end, which a second signal brings near."""
        for child in children:
            _signal(child, signal.SIGTERM)
        while any(child.pid for child in children):
            for number in wakeup.wait(0.02):
                if number in _ENDING:
                    for child in children:
                        _signal(child, signal.SIGTERM)
                    soon = time.monotonic() + _GRACE_S
                    until, end = min(until, soon - _LAST_WRITES_S), min(end, soon)
            for child in children:
                if child.pid and _exit_code(child.pid) is not None:
                    self._forget(child)
                elif child.pid and time.monotonic() > until:
                    log.error("%s did not stop in time and is killed; the journal keeps what is not stored", child.role)
                    _signal(child, signal.SIGKILL)
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(child.pid, 0)
                    self._forget(child)
        return end


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the supervisor works with from start to end."""

    lock: int
    listeners: Listeners
    board: StatsBoard
    manager: ServiceManager
    wakeup: _WakeUp


class _WakeUp:
    """Signals as data: those that came since the last wait."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._read, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in _HEARD:
            signal.signal(number, lambda *_: None)
        # Held back by the program that this one replaced.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

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


def serve(
    config: Config,
    *,
    log_format: LogFormat = "text",
    reload: Callable[[], Config] | None = None,
    again: Sequence[str] = (),
) -> int:
    """Run Glassline until a signal ends it; return the exit code. Raises EnvironmentUnusable.

    `reload` is called on SIGHUP; None: the configuration never changes. `again` is the command that starts this
    program anew, for SIGUSR2; empty: it cannot be replaced.
    """
    set_up(log_format)
    hide(secrets_of(config))
    return Supervisor(config, reload or (lambda: config), again).run()


def _kept_listeners(config: Config, left: Handoff) -> Listeners:
    """Return the sockets that were left; those of a changed address are bound anew, if that can be done."""
    kept = adopt_listeners(left.data, left.admin, left.data_address, left.admin_address)
    data, admin = (config.listen.host, config.listen.port), (config.admin.host, config.admin.port)
    try:
        if data != kept.data_address:
            old, kept.data, kept.data_address = kept.data, listen_data(config), data
            _close(old)
        if admin != kept.admin_address:
            before, kept.admin, kept.admin_address = kept.admin, listen(*admin), admin
            before.close()
    except EnvironmentUnusable as error:
        log.error("the ports stay as they are: %s", error)
    return kept


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _heirloom(child: Child, *, is_retiring: bool) -> Heirloom:
    has_control = child.is_gateway and child.control is not None
    control = child.control.fileno() if has_control and child.control is not None else -1
    return Heirloom(child.role, child.pid, control, child.slot, is_retiring)


def _never(child: Child) -> None:
    raise AssertionError(f"{child.role} belongs to an earlier program and is never started by this one")


def _succeed(pid: int) -> None:
    """End the process whose place this one takes, and wait until it has let go of everything."""
    deadline = time.monotonic() + _SUCCESSION_S
    with contextlib.suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGTERM)
        while pid and time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.002)


def _with_role(children: Iterable[Child], role: str) -> list[Child]:
    return [child for child in children if child.role == role]


def _signal(child: Child, number: signal.Signals) -> None:
    if child.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _exit_code(pid: int) -> int | None:
    """Return how a child ended; None: it lives."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return EXIT_FAILED
    return os.waitstatus_to_exitcode(status) if found else None


def _told_code(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _allow_files(config: Config) -> None:
    needed = descriptors_for(config.limits.connections)
    if (allowed := allow_descriptors(needed)) < needed:
        message = "%d open files are allowed and %d would carry limits.connections: raise ulimit -n, or lower the limit"
        log.warning(message, allowed, needed)


def _prepare(data_dir: Path) -> int:
    """Make the data directory and take its lock; return the lock's descriptor."""
    try:
        make_data_dir(data_dir)
        check_file_system(data_dir)
        lock = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentUnusable(f"data directory {data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise EnvironmentUnusable(f"data directory {data_dir}: another Glassline uses it") from error
    # One that was killed leaves it, and it says "ready".
    (data_dir / "run" / "ports.json").unlink(missing_ok=True)
    Headroom(data_dir / "run" / "headroom").take()
    return lock


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
