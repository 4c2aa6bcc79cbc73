from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.gates.failures import WINDOW_S, Failures, network_of


def test_the_first_failures_of_a_minute_are_let_pass_and_the_others_wait_for_its_end() -> None:
    failures = Failures(3)
    assert [failures.add("10.0.0.1", 100.0 + number) for number in range(3)] == [None, None, None]
    assert failures.add("10.0.0.1", 110.0) == WINDOW_S - 10
    assert failures.add("10.0.0.2", 110.0) is None, "somebody else"
    again = 100.0 + WINDOW_S
    assert [failures.add("10.0.0.1", again) for _ in range(4)] == [None, None, None, WINDOW_S], "a new minute"
    failures.limit(5)
    assert [failures.add("10.0.0.1", again) for _ in range(2)] == [None, WINDOW_S], "another limit, the same minute"


def test_what_was_no_failure_after_all_does_not_count() -> None:
    failures = Failures(1)
    for now in range(50):
        assert failures.add("10.0.0.1", float(now)) is None
        failures.take_back("10.0.0.1")
    failures.take_back("10.0.0.9")
    assert [failures.add("10.0.0.2", 0.0) for _ in range(4)] == [None, WINDOW_S, WINDOW_S, WINDOW_S]
    for _ in range(3):
        failures.take_back("10.0.0.2")
    assert failures.add("10.0.0.2", 0.0) == WINDOW_S, "only what was taken back does not count"


def test_whoever_has_one_address_of_a_network_has_all_of_it() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("10.0.0.1%eth0") == "10.0.0.1"
    assert network_of("") == ""


def test_memory_is_bounded_and_the_quietest_is_forgotten_first() -> None:
    failures = Failures(1, max_addresses=3)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        failures.add(address, 0.0)
    assert failures.add("10.0.0.1", 1.0) is not None
    failures.add("10.0.0.4", 2.0)
    assert len(failures) == 3
    assert failures.add("10.0.0.1", 3.0) is not None, "it was heard of after the second"
    assert failures.add("10.0.0.2", 3.0) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 30)), max_size=60), st.integers(1, 5))
def test_no_address_fails_more_often_in_a_window_than_it_may(steps: list[tuple[int, float]], limit: int) -> None:
    failures, now = Failures(limit), 0.0
    passed: dict[int, list[float]] = {}
    for who, pause in steps:
        now += pause
        if failures.add(f"10.0.0.{who}", now) is None:
            passed.setdefault(who, []).append(now)
    for times in passed.values():
        for begin in times:
            assert sum(begin <= each < begin + WINDOW_S for each in times) <= 2 * limit, "two windows may touch"
