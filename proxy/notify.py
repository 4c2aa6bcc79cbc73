"""What a service manager is told: ready, reloading, stopping, alive. Nothing at all when there is none.

The protocol of sd_notify(3): datagrams on the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping


class ServiceManager:
    """The service manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watched = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        every_us = environment.get("WATCHDOG_USEC", "")
        self._alive_every_s = int(every_us) / 2e6 if watched and every_us.isdecimal() else None
        """None: nobody watches."""
        self._alive_next = 0.0

    def ready(self) -> None:
        """Say that everything works, after a start or a reload."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read anew, or the program replaced; `ready` must follow."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Say so as often as the watchdog wants to hear it; call it at least every second."""
        if self._alive_every_s is not None and (now := time.monotonic()) >= self._alive_next:
            self._alive_next = now + min(self._alive_every_s, 10.0)
            self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
            messenger.settimeout(1)
            messenger.sendto(state.encode(), address)
