from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.gauges import State
from proxy.admin.steadiness import RECOVER_AFTER, WORSEN_AFTER, Steady

LOOKS = st.lists(st.sampled_from(["ok", "warning", "critical", "unjudged", "silent"]), min_size=1, max_size=60)
RANK = {"ok": 0, "warning": 1, "critical": 2}


def shown(looks: list[State]) -> list[State]:
    steady, found = Steady(), list[State]()
    for number, look in enumerate(looks):
        steady.see(look, number)
        found.append(steady.state or look)
    return found


@given(LOOKS)
def test_no_state_changes_without_enough_looks_that_agree(looks: list[State]) -> None:
    found = shown(looks)
    for number in range(1, len(looks)):
        before, after = found[number - 1], found[number]
        if before == after or after not in RANK or before not in RANK:
            continue
        is_worse = RANK[after] > RANK[before]
        last = looks[number + 1 - (WORSEN_AFTER if is_worse else RECOVER_AFTER) : number + 1]
        assert len(last) == (WORSEN_AFTER if is_worse else RECOVER_AFTER)
        assert all(
            (RANK.get(look, -1) >= RANK[after]) if is_worse else (RANK.get(look, 9) <= RANK[after]) for look in last
        )


@given(LOOKS)
def test_facts_are_believed_at_once(looks: list[State]) -> None:
    for look, state in zip(looks, shown(looks), strict=True):
        assert (look not in RANK) <= (state == look)


def test_it_worsens_after_three_looks_and_recovers_after_eight() -> None:
    looks: list[State] = ["ok"]
    looks += ["critical"] * 6
    looks += ["ok"] * 8
    assert shown(looks) == ["ok"] * 3 + ["critical"] * 11 + ["ok"]


def test_one_good_look_between_bad_ones_starts_the_count_anew() -> None:
    looks: list[State] = ["ok", "warning", "warning", "ok", "warning", "warning"]
    assert shown(looks) == ["ok"] * 6


def test_looks_that_are_bad_in_different_degrees_agree_on_the_lesser() -> None:
    assert shown(["ok", "critical", "warning", "critical"])[-1] == "warning"


def test_after_a_start_the_first_look_is_believed_and_nobody_knows_since_when() -> None:
    steady = Steady()
    steady.see("critical", 5)
    assert [steady.state, steady.since_ms] == ["critical", None]
    for number in range(RECOVER_AFTER):
        steady.see("ok", 10 + number)
    assert [steady.state, steady.since_ms] == ["ok", 10 + RECOVER_AFTER - 1]
