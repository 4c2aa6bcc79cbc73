"""Who is connected: how many in all and from each address. Whoever comes on top is turned away.

Addresses of IPv6 count by their /64: whoever has one has all of it. The machine's own and those of trusted proxies
count in all only, since everybody behind them has the same. Decisions alone; the sockets are others' business.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Literal

_MAX_REMEMBERED: Final = 4096
"""Addresses whose group is not worked out anew each time."""
_SPARED: Final = ""
"""The group of those who are not counted by address."""

TooMany = Literal["connections", "connections_per_ip"]
"""The limit that was reached."""


class Crowd:
    """The open connections of one port."""

    def __init__(self, most: int, most_per_address: int | None, trusted: Iterable[str] = ()) -> None:
        self._members: dict[Hashable, str] = {}
        self._sizes: dict[str, int] = {}
        self._groups: dict[str, str] = {}
        self.limit(most, most_per_address, trusted)

    def __len__(self) -> int:
        return len(self._members)

    def limit(self, most: int, most_per_address: int | None, trusted: Iterable[str] = ()) -> None:
        """Set the limits for whoever comes from now on; `most_per_address` None: any number."""
        self._most = most
        self._most_per_address = most_per_address
        self._trusted = tuple(ip_network(each) for each in trusted)
        self._groups.clear()

    def enter(self, member: Hashable, address: str) -> TooMany | None:
        """Let `member` in, or return the limit that forbids it. `address` '': it has none, as on a UNIX socket.

        Who is inside already stays so.
        """
        if member in self._members:
            return None
        if len(self._members) >= self._most:
            return "connections"
        group = self._group_of(address)
        if group is not _SPARED:
            size = self._sizes.get(group, 0)
            if self._most_per_address is not None and size >= self._most_per_address:
                return "connections_per_ip"
            self._sizes[group] = size + 1
        self._members[member] = group
        return None

    def leave(self, member: Hashable) -> None:
        """Let `member` go; no matter if it never came in."""
        group = self._members.pop(member, _SPARED)
        if group is not _SPARED:
            left = self._sizes[group] - 1
            if left:
                self._sizes[group] = left
            else:
                del self._sizes[group]

    def _group_of(self, address: str) -> str:
        group = self._groups.get(address)
        if group is None:
            if len(self._groups) >= _MAX_REMEMBERED:
                self._groups.clear()
            group = self._groups[address] = self._find_group(address)
        return group

    def _find_group(self, address: str) -> str:
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return _SPARED
        if isinstance(ip, IPv6Address):
            ip = ip.ipv4_mapped or ip
        if ip.is_loopback or any(ip.version == network.version and ip in network for network in self._trusted):
            return _SPARED
        return str(ip) if ip.version == 4 else str(ip_network((int(ip), 64), strict=False))


def peer_address(peername: object) -> str:
    """Return the address in what a transport says of its peer; '': there is none."""
    return str(peername[0]) if isinstance(peername, tuple) and peername else ""
