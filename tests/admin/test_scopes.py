from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.scopes import Scope, Sums
from proxy.store.spending import Leaf

LEAVES = st.builds(
    lambda value, part, nano: Leaf((value, part), 1, 1, nano),
    st.sampled_from(["", "app", "bot"]),
    st.sampled_from(["", "gpt", "claude"]),
    st.integers(0, 9),
)


def test_what_a_key_spent_is_told_without_a_look_at_other_keys() -> None:
    looked: list[str] = []

    def matches(value: str, _: str) -> bool:
        looked.append(value)
        return True

    others = [Leaf((f"key-{number}", "gpt"), 1, 1, 7) for number in range(1000)]
    sums = Sums([Leaf(("app", "gpt"), 1, 1, 5), *others, Leaf(("app", "claude"), 1, 1, 6)])
    assert sums.spent(Scope("key_model", matches, "app")) == 11
    assert looked == ["app", "app"]


@given(st.lists(LEAVES), st.sampled_from([None, "", "app", "nobody"]), st.sampled_from(["gpt", ""]))
def test_a_scope_sums_up_what_it_matches(found: list[Leaf], value: str | None, model: str) -> None:
    def matches(one: str, part: str) -> bool:
        return value in (None, one) and part == model

    wanted = sum(leaf.cost_nano_usd for leaf in found if matches(*leaf.names))
    assert Sums(found).spent(Scope("key_model", matches, value)) == wanted
