"""Named points at which a test can make this process die, fail, sleep or lose its disk.

`failpoint("name")` does nothing unless the environment variable `GLASSLINE_FAILPOINTS` armed that name when the process
started: one dictionary look-up on an empty dictionary. Text that cannot be understood is an error at start, and so are
failpoints on a server that others can reach (`check_unexposed`).

    GLASSLINE_FAILPOINTS="ledger.before_commit:kill,journal.write:enospc:3+,recorder.after_commit:sleep=0.2:2"

A rule is `name:action`, and then when: `:3` only the third time, `:3+` from the third time on, nothing: each time.
Actions: `kill` (SIGKILL to this process), `exit` (at once, code 1), `raise` (FailpointError), `eio`, `enospc`
(OSError), `sleep=SECONDS`. The number of passes is counted in each process by itself. Where the environment variable
`GLASSLINE_FAILPOINTS_ONCE` names a directory, each rule acts only once, in whichever process comes first, and leaves a
file of its name there: so a process that was killed and started again gets past the point.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.errors import EnvironmentUnusable

VARIABLE: Final = "GLASSLINE_FAILPOINTS"
ONCE: Final = "GLASSLINE_FAILPOINTS_ONCE"


class FailpointError(RuntimeError):
    """What the action `raise` raises: no error that anybody expects."""


@dataclass(slots=True)
class _Rule:
    action: Callable[[], None]
    first: int = 1
    is_open_ended: bool = True
    passes: int = 0
    trace: Path | None = None
    """The file that says that it has acted, and must not again; None: nothing limits it."""

    def hit(self) -> None:
        self.passes += 1
        is_due = self.passes == self.first or (self.is_open_ended and self.passes > self.first)
        if is_due and (self.trace is None or _is_first(self.trace)):
            self.action()


_ARMED: Final[dict[str, _Rule]] = {}


def failpoint(name: str) -> None:
    """Do what was armed for `name`; nothing, in every run but a test's."""
    if _ARMED and (rule := _ARMED.get(name)) is not None:
        rule.hit()


def arm(environment: Mapping[str, str]) -> bool:
    """Arm what the environment asks for, in this process and those that it forks; say whether anything is armed.

    Raises EnvironmentUnusable for text that cannot be understood.
    """
    _ARMED.clear()
    for rule in filter(None, environment.get(VARIABLE, "").split(",")):
        name, separator, how = rule.partition(":")
        if not name or not separator:
            raise EnvironmentUnusable(f"{VARIABLE}: {rule!r} is not name:action")
        _ARMED[name.strip()] = _read_rule(how)
    if directory := environment.get(ONCE):
        for name, armed in _ARMED.items():
            armed.trace = Path(directory) / name
    return bool(_ARMED)


def check_unexposed(hosts: Mapping[str, bool]) -> None:
    """Raise EnvironmentUnusable when a failpoint is armed and one of `hosts` (name → is loopback) is open to others."""
    exposed = [host for host, is_loopback in hosts.items() if not is_loopback]
    if _ARMED and exposed:
        raise EnvironmentUnusable(f"{VARIABLE} is for tests, on loopback addresses only; others can reach {exposed[0]}")


def _is_first(trace: Path) -> bool:
    try:
        os.close(os.open(trace, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def _read_rule(how: str) -> _Rule:
    action, _, when = how.partition(":")
    rule = _Rule(_read_action(action))
    if when:
        digits = when.removesuffix("+")
        if not digits.isdecimal() or int(digits) < 1:
            raise EnvironmentUnusable(f"{VARIABLE}: {when!r} is not a pass, such as 3 or 3+")
        rule.first, rule.is_open_ended = int(digits), when.endswith("+")
    return rule


def _read_action(text: str) -> Callable[[], None]:
    name, _, value = text.partition("=")
    if name == "sleep":
        try:
            seconds = float(value)
        except ValueError:
            raise EnvironmentUnusable(f"{VARIABLE}: {value!r} is not a number of seconds") from None
        return lambda: time.sleep(seconds)
    if value or name not in _ACTIONS:
        raise EnvironmentUnusable(f"{VARIABLE}: {text!r} is none of {', '.join(_ACTIONS)}, sleep=SECONDS")
    return _ACTIONS[name]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit() -> None:
    os._exit(1)


def _raise() -> None:
    raise FailpointError("failpoint")


def _refuse(number: int) -> Callable[[], None]:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    return refuse


_ACTIONS: Final[dict[str, Callable[[], None]]] = {
    "kill": _kill,
    "exit": _exit,
    "raise": _raise,
    "eio": _refuse(errno.EIO),
    "enospc": _refuse(errno.ENOSPC),
}
