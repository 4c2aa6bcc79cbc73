"""Who may come in: so many in all, so many from one address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.crowd import Crowd, peer_address


def test_one_more_than_there_is_room_for_is_turned_away_until_somebody_goes() -> None:
    crowd = Crowd(2, None)
    assert [crowd.enter(number, "192.0.2.1") for number in range(3)] == [None, None, "connections"]
    crowd.leave(2)
    assert crowd.enter(3, "192.0.2.1") == "connections", "who never came in leaves no room"
    crowd.leave(0)
    assert crowd.enter(3, "192.0.2.1") is None
    assert len(crowd) == 2


def test_each_address_has_a_limit_of_its_own() -> None:
    crowd = Crowd(100, 2)
    assert [crowd.enter(number, "192.0.2.1") for number in range(3)] == [None, None, "connections_per_ip"]
    assert crowd.enter("other", "192.0.2.2") is None
    crowd.leave(0)
    assert crowd.enter("again", "192.0.2.1") is None


def test_a_network_of_ipv6_is_one_caller_and_so_is_an_address_of_ipv4_in_either_spelling() -> None:
    crowd = Crowd(100, 1)
    assert crowd.enter(1, "2001:db8::1") is None
    assert crowd.enter(2, "2001:db8::ffff:1") == "connections_per_ip"
    assert crowd.enter(3, "2001:db8:0:1::1") is None
    assert crowd.enter(4, "192.0.2.1") is None
    assert crowd.enter(5, "::ffff:192.0.2.1") == "connections_per_ip"
    assert crowd.enter(6, "fe80::1%eth0") is None
    assert crowd.enter(7, "fe80::2%eth0") == "connections_per_ip"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "2001:db8::7", ""]
)
def test_this_machine_and_trusted_proxies_are_not_limited_by_address(address: str) -> None:
    crowd = Crowd(100, 1, ["10.0.0.0/8", "2001:db8::/32"])
    assert [crowd.enter(number, address) for number in range(5)] == [None] * 5


def test_new_limits_hold_for_whoever_comes_from_now_on() -> None:
    crowd = Crowd(100, 1)
    assert crowd.enter(1, "10.1.2.3") is None
    crowd.limit(100, 1, ["10.0.0.0/8"])
    assert crowd.enter(2, "10.1.2.3") is None
    crowd.leave(1)
    crowd.leave(2)
    crowd.limit(1, None)
    assert [crowd.enter(number, "10.1.2.3") for number in range(2)] == [None, "connections"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 3))))
def test_no_order_of_comings_and_goings_breaks_a_limit_or_loses_a_place(steps: list[tuple[bool, int, int]]) -> None:
    crowd, inside = Crowd(6, 2), dict[int, int]()
    for comes, member, address in steps:
        if comes and member not in inside:
            expected = "connections" if len(inside) >= 6 else None
            if expected is None and list(inside.values()).count(address) >= 2:
                expected = "connections_per_ip"
            assert crowd.enter(member, f"192.0.2.{address}") == expected
            if expected is None:
                inside[member] = address
        elif not comes:
            crowd.leave(member)
            inside.pop(member, None)
    assert len(crowd) == len(inside)


def test_the_address_of_a_peer_is_read_from_what_transports_say() -> None:
    assert peer_address(("192.0.2.1", 1234)) == "192.0.2.1"
    assert peer_address(("::1", 1234, 0, 0)) == "::1"
    assert [peer_address(each) for each in ("", None, b"")] == ["", "", ""]
