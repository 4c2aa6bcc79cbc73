"""Wrong credentials, counted by address, so that guessing becomes slow.

A right credential is never refused for the wrong ones that came from the same address: who is asked for a key of 256
random bits is known by its digest, however many others were wrong. Memory is bounded: the address that was quiet
longest is forgotten first.

Pure: the time is handed in.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 4096


class Failures:
    """How often each address was wrong within the last minute."""

    def __init__(self, per_minute: int, *, max_addresses: int = MAX_ADDRESSES) -> None:
        self._per_minute = per_minute
        self._max_addresses = max_addresses
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """By network: when its window began, and how many since."""

    def limit(self, per_minute: int) -> None:
        """Use another limit from now on."""
        self._per_minute = per_minute

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, address: str, now_s: float) -> float | None:
        """Count a failure; return after how many seconds another is welcome, None: at once."""
        network = network_of(address)
        began, count = self._counts.pop(network, (now_s, 0))
        if now_s - began >= WINDOW_S:
            began, count = now_s, 0
        self._counts[network] = (began, count + 1)
        if len(self._counts) > self._max_addresses:
            self._counts.popitem(last=False)
        return began + WINDOW_S - now_s if count >= self._per_minute else None

    def take_back(self, address: str) -> None:
        """Uncount one: it was no failure after all."""
        network = network_of(address)
        if network in self._counts:
            began, count = self._counts[network]
            self._counts[network] = (began, max(0, count - 1))


def network_of(address: str) -> str:
    """Return what one subscriber has: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
