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

import logging
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy import handoff
from proxy.boot import process_age_s
from proxy.child import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, Child, inherit, told_code
from proxy.clock import SYSTEM
from proxy.config import Config
from proxy.config.hidden import secrets_of
from proxy.data_dir import take_data_dir
from proxy.descriptors import allow_descriptors, descriptors_for
from proxy.encryption import unlock
from proxy.errors import ConfigError, EnvironmentUnusable, OurError
from proxy.handoff import Handoff
from proxy.inheritance import load_inheritance
from proxy.listeners import Listeners, adopt_listeners, given_by_service_manager, open_listeners
from proxy.logs import LogFormat, hide, set_up
from proxy.notify import ServiceManager
from proxy.ports import Ports, withdraw_ports
from proxy.signals import ENDING, RELOAD, RESTART, RETIRE, Signals
from proxy.stats import DEFAULT_SLOTS, ReloadStats, StatsBoard
from proxy.succession import Succession
from proxy.upgrade import back_up_before_upgrade

log = logging.getLogger("glassline.supervisor")

_READY_WITHIN_S: Final = 30.0
_GRACE_S: Final = 3.0
"""Beyond the drain time, in which all that was cut is recorded and settled; the journal keeps what is not."""
_LAST_WRITES_S: Final = 0.7
"""Of the grace: for ledger and admin, after the recorder."""


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
    start_s: float | None = None
    """How long it took to become ready for the first time; None: it took over from another."""

    def run(self) -> int:
        """Serve until a signal ends it; return the exit code."""
        left = handoff.take(os.environ)
        data_dir = self.config.data_dir
        given = given_by_service_manager(os.environ, os.getpid())
        if left is None:
            lock, board = take_data_dir(data_dir), StatsBoard()
            withdraw_ports(data_dir)  # One that was killed leaves them.
        else:
            lock, board = left.lock, StatsBoard(descriptor=left.stats)
            self.generation = left.generation + 1
        unlock(data_dir, self.config.encryption.key_file)
        back_up_before_upgrade(data_dir)
        listeners = open_listeners(self.config, given) if left is None else adopt_listeners(self.config, left)
        _allow_files(self.config)
        load_inheritance()
        board.note_reload(ReloadStats(self.generation, at_ms=SYSTEM.wall_ms()))
        manager = ServiceManager(os.environ, os.getpid())
        self._plan(data_dir, listeners, board)
        signals = Signals()
        stage = _Stage(lock, listeners, board, manager, signals, Succession(self.again, data_dir))
        try:
            if left is not None:
                self._take_over(left)
            for child in self.children:
                if not child.pid:
                    self._start(child, stage.board)
            code = self._watch(stage, is_first_start=left is None)
        finally:
            manager.stopping()
            self._stop_all(stage)
            withdraw_ports(data_dir)
            signals.close()
            os.close(lock)
        return code

    def _plan(self, data_dir: Path, listeners: Listeners, board: StatsBoard) -> None:
        def ledger(child: Child) -> None:
            from proxy.ledger.process import run

            listeners.close_except([])
            run(self.config, data_dir, ready=child.say_ready, succeed=child.succeed)

        def recorder(child: Child) -> None:
            from proxy.recorder import run

            listeners.close_except([])
            run(data_dir, self.config, data_dir / "run" / "ledger.sock", ready=child.say_ready)

        def admin(child: Child) -> None:
            from proxy.admin import run

            listeners.close_except([listeners.admin])
            run(self.config, data_dir, [listeners.admin], board, ready=child.say_ready)

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
                ready=child.say_ready,
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
                self.retiring.append(inherit(heirloom))
                self.retiring[-1].is_told = True
            elif (child := by_role.get(heirloom.role)) is not None:
                child.pid = heirloom.pid
                child.renew()
            else:
                self.retiring.append(inherit(heirloom))

    def _start(self, child: Child, board: StatsBoard) -> None:
        if child.is_gateway:
            slot = board.free_slot(child.role, [other.slot for other in self._gateways if other.pid])
            child.slot = 0 if slot is None else slot
        child.start(others=(*self.children, *self.retiring))

    # --- while it runs -----------------------------------------------------------------------------------------

    def _watch(self, stage: _Stage, *, is_first_start: bool) -> int:
        deadline = time.monotonic() + _READY_WITHIN_S if is_first_start else None
        while True:
            for number in stage.signals.wait(self._pause(stage.succession)):
                if number in ENDING:
                    timeouts = self.config.timeouts
                    log.info("stopping: what runs has %g s; once more ends it now", timeouts.pre_stop + timeouts.drain)
                    return EXIT_OK
                if number == RELOAD:
                    self._reload(stage)
                if number == RESTART:
                    self._rehearse(stage.succession)
            code = self._reap(stage, is_first_start=deadline is not None)
            if code is not None:
                return code
            now = time.monotonic()
            for child in self.children:
                if child.restart_at is not None and child.restart_at <= now:
                    self._start(child, stage.board)
                child.hear_ready()
            self._hear_rehearsal(stage)
            stage.manager.alive()
            if not self.is_ready and all(child.pid and child.ready < 0 for child in self.children):
                deadline = None
                self._become_ready(stage)
            elif deadline is not None and now > deadline:
                late = ", ".join(child.role for child in self.children if child.ready >= 0)
                log.error("not ready after %d s: %s", _READY_WITHIN_S, late)
                return EXIT_FAILED

    def _pause(self, succession: Succession) -> float:
        if not self.is_ready or any(child.ready >= 0 for child in self.children):
            return 0.01
        if succession.is_under_way:
            return 0.05
        due = [child.restart_at for child in self.children if child.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else 1.0

    def _become_ready(self, stage: _Stage) -> None:
        if self.generation == 1 and not self.is_ready:
            self.start_s = process_age_s()
        self.is_ready = True
        for child in self.retiring:
            if not child.is_told:
                child.is_told = True
                child.signal(RETIRE)
        self._announce(stage.listeners)
        stage.manager.ready()

    @property
    def _gateways(self) -> list[Child]:
        return [child for child in (*self.children, *self.retiring) if child.is_gateway]

    def _reap(self, stage: _Stage, *, is_first_start: bool) -> int | None:
        """Take note of dead children; return an exit code if Glassline cannot go on."""
        for child in (*self.children, *self.retiring):
            if not child.pid or child.restart_at is not None:
                continue
            code = child.exit_code()
            if code is None:
                continue
            pid = child.pid
            child.forget()
            if child in self.retiring:
                self.retiring.remove(child)
                if child.is_gateway:
                    stage.board.retire(child.slot)
                for successor in self.children:
                    successor.predecessor = 0 if successor.predecessor == pid else successor.predecessor
                if code != EXIT_OK:
                    log.error("%s (pid %d) died while it drained: %s", child.role, pid, told_code(code))
                continue
            if is_first_start and code != EXIT_OK and not child.is_renewed:
                if code == EXIT_UNUSABLE:
                    return code  # it has said why
                log.error("%s (pid %d) died while it started: %s", child.role, pid, told_code(code))
                return EXIT_FAILED
            child.plan_restart(pid, code)
        return None

    def _announce(self, listeners: Listeners) -> None:
        data_port, admin_port = listeners.data[0].getsockname()[1], listeners.admin.getsockname()[1]
        Ports(data_port, admin_port, os.getpid(), self.start_s).announce(self.config.data_dir)
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
            stage.board.note_reload(ReloadStats(self.generation, is_good=False, at_ms=SYSTEM.wall_ms()))
        else:
            self._use(config)
            stage.board.note_reload(ReloadStats(self.generation, at_ms=SYSTEM.wall_ms()))
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
        # Nor can it change which data directory is served, and what that is encrypted with.
        before = self.config
        kept = {"workers": before.workers, "data_dir": before.data_dir, "encryption": before.encryption}
        self.config = config.model_copy(update=kept)
        hide((*secrets_of(before), *secrets_of(config)))
        self.generation += 1
        message = pickle.dumps((self.generation, self.config))
        for child in self.children:
            if child.is_gateway and child.control is not None:
                self._send(child, len(message).to_bytes(4, "little") + message)
            elif child.pid and _must_restart(child.role, before, self.config):
                child.renew()

    def _send(self, child: Child, message: bytes) -> None:
        try:
            if child.control is not None:
                child.control.sendall(message)
        except OSError:
            log.error("%s does not take its configuration and is started anew", child.role)
            child.renew()

    # --- another program ---------------------------------------------------------------------------------------

    def _rehearse(self, succession: Succession) -> None:
        if not succession.is_possible:
            succession.refuse("not restarted: this program cannot be replaced while it runs")
        elif not self.is_ready or succession.is_under_way:
            succession.refuse("not restarted: a start or restart is under way")
        elif len(self._gateways) + self.config.workers > DEFAULT_SLOTS:
            succession.refuse("not restarted: gateways of earlier restarts still drain")
        else:
            succession.rehearse()

    def _hear_rehearsal(self, stage: _Stage) -> None:
        code = stage.succession.outcome()
        if code is None:
            return
        if code != EXIT_OK:
            stage.succession.refuse(
                f"not restarted, the running version stays: the installed one ends with {told_code(code)}"
            )
        elif any(child.ready >= 0 or not child.pid for child in self.children):
            stage.succession.refuse("not restarted: a process is being started; try again")
        else:
            stage.manager.reloading()
            stage.succession.replace(self._legacy(stage))
            stage.manager.ready()

    def _legacy(self, stage: _Stage) -> Handoff:
        listeners = stage.listeners
        return Handoff(
            pid=os.getpid(),
            lock=stage.lock,
            stats=stage.board.descriptor,
            data=tuple(listener.fileno() for listener in listeners.data),
            admin=listeners.admin.fileno(),
            data_address=listeners.data_address,
            admin_address=listeners.admin_address,
            generation=self.generation,
            children=tuple(child.bequeath() for child in (*self.children, *self.retiring) if child.pid),
        )

    # --- the end -----------------------------------------------------------------------------------------------

    def _stop_all(self, stage: _Stage) -> None:
        """End everything, in the order in which work passes through it, within the drain time and the grace.

        A process that is killed at the end loses nothing: the journal keeps what is not stored, for the next start.
        """
        stage.succession.abandon()
        timeouts = self.config.timeouts
        # The gateways' own copies keep the ports open for as long as these want.
        for listener in stage.listeners.all:
            listener.close()
        end = time.monotonic() + timeouts.pre_stop + timeouts.drain + _GRACE_S
        gateways = self._gateways
        others = [child for child in (*self.children, *self.retiring) if not child.is_gateway]
        recorders = [child for child in others if child.role == "recorder"]
        end = self._stop(gateways, stage.signals, end - _GRACE_S + 1.0, end)
        end = self._stop(recorders, stage.signals, end - _LAST_WRITES_S, end)
        self._stop(others, stage.signals, end, end)

    def _stop(self, children: Sequence[Child], signals: Signals, until: float, end: float) -> float:
        """End these by `until`; return by when all must end, which a second signal brings near."""
        for child in children:
            child.signal(signal.SIGTERM)
        while any(child.pid for child in children):
            for number in signals.wait(0.02):
                if number in ENDING:
                    for child in children:
                        child.signal(signal.SIGTERM)
                    soon = time.monotonic() + _GRACE_S
                    until, end = min(until, soon - _LAST_WRITES_S), min(end, soon)
            for child in children:
                if child.pid and child.exit_code() is not None:
                    child.forget()
                elif child.pid and time.monotonic() > until:
                    log.error("%s did not stop in time and is killed; the journal keeps what is not stored", child.role)
                    child.kill()
        return end


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the supervisor works with from start to end."""

    lock: int
    listeners: Listeners
    board: StatsBoard
    manager: ServiceManager
    signals: Signals
    succession: Succession


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


def _allow_files(config: Config) -> None:
    needed = descriptors_for(config.limits.connections)
    if (allowed := allow_descriptors(needed)) < needed:
        message = "%d open files are allowed and %d would carry limits.connections: raise ulimit -n, or lower the limit"
        log.warning(message, allowed, needed)


def _must_restart(role: str, before: Config, after: Config) -> bool:
    """Say whether a process other than a gateway must start anew to use the new configuration."""
    if role == "ledger":
        return before.pricing != after.pricing
    return before != after


def _shown_host(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host  # noqa: S104 - only shown
