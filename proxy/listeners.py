"""The listening sockets: bound here, given by a service manager, or left by the program that this one replaced.

Whoever holds a listening socket keeps its queue: connections that arrive while no process accepts wait in the kernel,
for as long as one process has the socket open. That is why the supervisor owns them and not the gateways.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.config import Config
from proxy.errors import EnvironmentUnusable
from proxy.handoff import Handoff

log = logging.getLogger("glassline.supervisor")

BACKLOG: Final = 4096
_FIRST_GIVEN: Final = 3
"""The first descriptor that a service manager passes on, see sd_listen_fds(3)."""
Address = tuple[str, int]


@dataclass(slots=True)
class Listeners:
    """The sockets of both ports, with the addresses that were asked for."""

    data: list[socket.socket]
    admin: socket.socket
    data_address: Address
    admin_address: Address

    def share(self, gateway: int, gateways: int) -> list[socket.socket]:
        """Return the sockets that one of several gateways accepts from, so that no socket is left without a gateway."""
        if gateways > len(self.data):
            return [self.data[gateway % len(self.data)]]
        return self.data[gateway::gateways]

    @property
    def all(self) -> list[socket.socket]:
        """Every socket."""
        return [*self.data, self.admin]

    def close_except(self, kept: Sequence[socket.socket]) -> None:
        """Close the copies that a forked process does not need: an open copy keeps the port open."""
        for listener in self.all:
            if listener not in kept:
                listener.close()


def open_listeners(config: Config, given: Mapping[str, Sequence[int]]) -> Listeners:
    """Bind what was not given. Raises EnvironmentUnusable."""
    data = [_adopt(number) for number in given.get("data", ())] or _listen_data(config)
    admin = [_adopt(number) for number in given.get("admin", ())]
    return Listeners(
        data,
        admin[0] if admin else _listen(config.admin.host, config.admin.port),
        (config.listen.host, config.listen.port),
        (config.admin.host, config.admin.port),
    )


def given_by_service_manager(environment: MutableMapping[str, str], pid: int) -> dict[str, list[int]]:
    """Return the descriptors that systemd passed on, by name; without a known name they are of the data port.

    Takes the variables out of `environment`, since they are for this process alone.
    """
    count, names = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_FDNAMES", "").split(":")
    if environment.pop("LISTEN_PID", "") != str(pid) or not count.isdecimal():
        return {}
    found: dict[str, list[int]] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) else ""
        found.setdefault("admin" if name == "admin" else "data", []).append(_FIRST_GIVEN + index)
    return found


def adopt_listeners(config: Config, left: Handoff) -> Listeners:
    """Take over the sockets that were left; those of a changed address are bound anew, if that can be done."""
    given = [_adopt(number) for number in left.data]
    kept = Listeners(given, _adopt(left.admin), left.data_address, left.admin_address)
    data, admin = (config.listen.host, config.listen.port), (config.admin.host, config.admin.port)
    try:
        if data != kept.data_address:
            before, kept.data, kept.data_address = kept.data, _listen_data(config), data
            _close(before)
        if admin != kept.admin_address:
            old, kept.admin, kept.admin_address = kept.admin, _listen(*admin), admin
            _close([old])
    except EnvironmentUnusable as error:
        log.error("the ports stay as they are: %s", error)
    return kept


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise EnvironmentUnusable(f"descriptor {descriptor} is no socket: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _listen_data(config: Config) -> list[socket.socket]:
    """Bind one socket a gateway; the kernel spreads connections over them. Raises EnvironmentUnusable."""
    first = _listen(config.listen.host, config.listen.port, shared=config.workers > 1)
    port = first.getsockname()[1]
    return [first, *(_listen(config.listen.host, port, shared=True) for _ in range(config.workers - 1))]


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind one socket; `shared`: others may bind the same port. Raises EnvironmentUnusable."""
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
