"""The signals that a supervisor hears, as data: those that came since it last looked."""

from __future__ import annotations

import selectors
import signal
import socket
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
RELOAD: Final = signal.SIGHUP
RESTART: Final = signal.SIGUSR2
RETIRE: Final = signal.SIGUSR2
"""To a gateway: drain, others have taken over."""
_HEARD: Final = (*ENDING, RELOAD, RESTART, signal.SIGCHLD)


class Signals:
    """What this process hears, from the moment that this is made."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._read, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in _HEARD:
            signal.signal(number, lambda *_: None)
        release_signals()

    def wait(self, timeout_s: float) -> list[int]:
        """Return the numbers of signals that arrived, waiting at most `timeout_s`."""
        if not self._selector.select(timeout_s):
            return []
        try:
            return list(self._read.recv(4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Hear nothing more."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._read.close()
        self._write.close()


def hold_signals() -> None:
    """Let them wait: one that came while the program is replaced would end it, or be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)


def release_signals() -> None:
    """Let those come that wait, also from the program that this one replaced."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)


def leave_signals_to_parent() -> None:
    """Be a child: only SIGTERM ends it, what a terminal sends to the whole group does not."""
    signal.set_wakeup_fd(-1)
    for number in _HEARD:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, RELOAD, RESTART):
        signal.signal(number, signal.SIG_IGN)
