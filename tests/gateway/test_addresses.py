from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.gateway.addresses import is_global, require_allowed
from proxy.gateway.routing import Origin
from proxy.gateway.upstream import Pool

PRIVATE = (
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%lo",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
)
METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::254%eth0",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
)
GLOBAL = ("1.1.1.1", "8.8.8.8", "104.18.7.192", "99.255.255.255", "100.128.0.1", "2606:4700::6812:7c0", "2a00:1450::1")


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_internet_is_refused_unless_the_upstream_may_have_it(address: str) -> None:
    with pytest.raises(UpstreamError, match="allow_private"):
        require_allowed([address], "provider.example", allow_private=False)
    require_allowed([address], "provider.example", allow_private=True)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_are_refused_even_to_private_upstreams(address: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(UpstreamError, match="credentials"):
            require_allowed([address], "provider.example", allow_private=allow_private)


def test_a_metadata_address_that_the_base_url_names_itself_is_meant() -> None:
    require_allowed(["169.254.169.254"], "169.254.169.254", allow_private=True)
    for disguise in ("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254%lo"):
        with pytest.raises(UpstreamError, match="credentials"):
            require_allowed([disguise], disguise, allow_private=True)
    for spelling in ("2852039166", "0xa9fea9fe", "169.254.43518", "169.254.169.254."):
        with pytest.raises(UpstreamError, match="credentials"):
            require_allowed(["169.254.169.254"], spelling, allow_private=True)
    with pytest.raises(UpstreamError, match="allow_private"):
        require_allowed(["169.254.169.254"], "169.254.169.254", allow_private=False)


@pytest.mark.parametrize("address", GLOBAL)
def test_an_address_of_the_internet_is_allowed(address: str) -> None:
    require_allowed([address], "provider.example", allow_private=False)


def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    for addresses in (["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "2606:4700::1", "fe80::1"]):
        with pytest.raises(UpstreamError):
            require_allowed(addresses, "provider.example", allow_private=False)


@given(st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_nothing_that_python_calls_private_is_global_here(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not is_global(address)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_ipv4_address_gets_in_by_a_disguise(address: IPv4Address) -> None:
    for disguise in (
        f"::ffff:{address}",
        f"::{address}",
        f"64:ff9b::{address}",
        f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::",
    ):
        assert not is_global(ip_address(disguise))


class _Names(asyncio.SelectorEventLoop):
    """An event loop whose resolver gives what a hostile name server would, one answer for each look-up."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.reached: list[str] = []

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:  # noqa: ARG002 (the resolver asks for no name)
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        ]

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **rest: Any) -> Any:  # type: ignore[override]
        self.reached.append(str(host))
        if ip_address(str(host)).is_global:
            raise ConnectionRefusedError("no test leaves this machine")
        return await super().create_connection(factory, host, port, **rest)


class _Waiting:
    """What a relay is to a pool."""

    is_over = False

    def __init__(self) -> None:
        self.heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connect_failed(self, why: str) -> None:
        self.heard.set_result(why)

    def connected(self, connection: Any) -> None:
        connection.detach()
        self.heard.set_result("connected")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def ask(loop: _Names, port: int, times: int, *, allow_private: bool = False) -> list[str]:
    """Connect to `provider.example` so often; return what became of it."""

    async def connect() -> list[str]:
        origin = Origin("http", "provider.example", port, allow_private)
        pool = Pool(origin, loop, connect_timeout=5, keep_alive=5, max_connections=9)
        heard = []
        for _ in range(times):
            relay = _Waiting()
            pool.connect(cast("Any", relay))
            heard.append(await relay.heard)
        return heard

    with contextlib.closing(loop):
        return loop.run_until_complete(connect())


def test_a_name_that_leads_elsewhere_at_its_second_look_up_reaches_nobody(listener: socket.socket) -> None:
    loop = _Names(("8.8.8.8",), ("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"))
    first, *rest = ask(loop, listener.getsockname()[1], 4)
    assert first == "it refuses connections"
    assert all("private address" in each for each in rest)
    assert loop.reached == ["8.8.8.8"], "what was judged is what is connected to"
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_private_upstream_is_connected_to_at_the_address_that_was_judged(listener: socket.socket) -> None:
    loop = _Names(("127.0.0.1",))
    assert ask(loop, listener.getsockname()[1], 1, allow_private=True) == ["connected"]
    assert loop.reached == ["127.0.0.1"]
    listener.accept()[0].close()
