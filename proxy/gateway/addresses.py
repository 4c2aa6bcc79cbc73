"""Which addresses an upstream may have: what a name leads to is judged when a connection is made, and then used as it is.

A provider is on the internet. A name that leads elsewhere, to this machine, its network or a cloud's metadata, was
mistyped, taken over, or set by somebody who wants to be where this machine can go and they cannot. So every address
that the name has now must be global, unless the upstream says `allow_private: true`. Metadata services hand out
credentials: they are refused even then, unless the base URL names the address itself, in its usual spelling.

Whether the name's next look-up gives something else does not matter: what was judged is what is connected to.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from proxy.errors import UpstreamError

Address = IPv4Address | IPv6Address

_NOT_GLOBAL_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast; Python calls some of it global
            "240.0.0.0/4",
        ),
    )
)
"""The registry of special addresses at iana.org, seen 2026-11-21. Our own, because Python's differs by its version."""
_GLOBAL_6: Final = IPv6Network("2000::/3")
"""The only part of IPv6 that is given to networks. Outside lie loopback, ULA, link- and site-local, multicast, IPv4 in
disguise (mapped, compatible) and NAT64."""
_NOT_GLOBAL_6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, ORCHID and the like
            "2001:db8::/32",
            "2002::/16",  # 6to4: any IPv4 address in disguise
            "3fff::/20",
        ),
    )
)
_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Google, Azure, DigitalOcean, Oracle and others
            "169.254.169.253",  # AWS's resolver
            "169.254.170.2",  # AWS: tasks
            "169.254.170.23",  # AWS: pods
            "fd00:ec2::254",
            "fd00:ec2::253",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "168.63.129.16",  # Azure's host, in a range that is global
        ),
    )
)
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_LOW_32: Final = 0xFFFF_FFFF


def require_allowed(addresses: Iterable[str], host: str, *, allow_private: bool) -> None:
    """Raise UpstreamError unless every address may be connected to. `host`: the name or address in the base URL."""
    for text in addresses:
        address = ip_address(text)
        if _is_metadata(address) and not (address in _METADATA and host == str(address)):
            raise UpstreamError(f"{address} hands out credentials of this machine; no upstream may lead there")
        if not allow_private and not is_global(address):
            raise UpstreamError(f"{address} is a private address; set `allow_private: true` for this upstream")


def is_global(address: Address) -> bool:
    """Say whether an address is one of the internet's."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_GLOBAL_4) and address not in _METADATA
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_GLOBAL_6) and not address.scope_id


def _is_metadata(address: Address) -> bool:
    return address in _METADATA or (isinstance(address, IPv6Address) and _embedded(address) in _METADATA)


def _embedded(address: IPv6Address) -> Address | None:
    """Return the IPv4 address to which an IPv6 address may be translated on its way; None: to none."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if int(address) >> 32 == 0 or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & _LOW_32)
    return IPv6Address(int(address)) if address.scope_id else None
