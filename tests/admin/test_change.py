from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.change import EFFECTS, explain_change
from proxy.store.spending import Leaf

AMOUNTS = st.integers(0, 10**15)


def leaf(name: str, requests: int, tokens: int, nano_usd: int, part: str = "") -> Leaf:
    return Leaf((name, part), requests, tokens, nano_usd)


LEAVES = st.lists(
    st.builds(
        leaf,
        st.sampled_from(["a", "b", "c", ""]),
        st.integers(0, 10**6),
        AMOUNTS,
        AMOUNTS,
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=8,
)


@given(LEAVES, LEAVES, st.sampled_from([0, 1]))
def test_effects_add_up_to_the_difference_to_the_last_nano_usd(
    before: list[Leaf], after: list[Leaf], place: int
) -> None:
    change = explain_change(before, after, place=place)
    difference = sum(each.cost_nano_usd for each in after) - sum(each.cost_nano_usd for each in before)
    assert change.after_nano_usd - change.before_nano_usd == difference
    assert change.effects.total == difference
    assert sum(each.total for each in change.groups.values()) == difference
    for effect in EFFECTS:
        assert getattr(change.effects, effect) == sum(getattr(each, effect) for each in change.groups.values())
    assert sum(each.nano_usd for each in change.contributors) + change.others_nano_usd == difference
    for name, effects in change.groups.items():
        was, now = (sum(each.cost_nano_usd for each in some if each.names[place] == name) for some in (before, after))
        assert effects.total == now - was


@given(LEAVES)
def test_nothing_changed_has_no_effect(leaves: list[Leaf]) -> None:
    change = explain_change(leaves, leaves)
    assert change.effects.total == 0
    assert change.contributors == []


def effects_of(before: list[Leaf], after: list[Leaf]) -> dict[str, int]:
    change = explain_change(before, after)
    return {effect: getattr(change.effects, effect) for effect in EFFECTS if getattr(change.effects, effect)}


def test_twice_as_many_requests_of_the_same_kind_are_volume() -> None:
    assert effects_of([leaf("a", 10, 100, 50)], [leaf("a", 20, 200, 100)]) == {"volume": 50}


def test_longer_requests_are_size_and_dearer_tokens_price() -> None:
    assert effects_of([leaf("a", 10, 100, 50)], [leaf("a", 10, 200, 100)]) == {"size": 50}
    assert effects_of([leaf("a", 10, 100, 50)], [leaf("a", 10, 100, 80)]) == {"price": 30}


def test_a_move_to_a_dearer_model_is_mix() -> None:
    before = [leaf("cheap", 10, 100, 100), leaf("dear", 10, 100, 1000)]
    after = [leaf("cheap", 5, 50, 50), leaf("dear", 15, 150, 1500)]
    assert effects_of(before, after) == {"mix": 450}


def test_what_was_not_there_before_is_mix_and_all_of_a_first_period_volume() -> None:
    assert effects_of([leaf("a", 10, 1, 100)], [leaf("a", 10, 1, 100), leaf("new", 0, 0, 7)]) == {"mix": 7}
    assert effects_of([], [leaf("a", 3, 1, 9)]) == {"volume": 9}


def test_the_three_that_moved_it_most_are_named_in_their_direction() -> None:
    before = [leaf(name, 100, 1000, 1000) for name in "abcd"]
    after = [
        leaf("a", 100, 3000, 3000),
        leaf("b", 100, 2000, 2000),
        leaf("c", 100, 1500, 1500),
        leaf("d", 100, 500, 500),
    ]
    change = explain_change(before, after)
    assert [(each.effect, each.name, each.nano_usd) for each in change.contributors] == [
        ("size", "a", 2000),
        ("size", "b", 1000),
        ("size", "c", 500),
    ]
    assert change.others_nano_usd == -500
    assert (change.contributors[0].before, change.contributors[0].after) == (10, 30)
