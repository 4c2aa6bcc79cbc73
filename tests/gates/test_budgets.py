from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Budget
from proxy.gates.budgets import NOBODY, Budgets, BudgetTemplate, key_templates, shared_templates

NOON = 1_795_262_400_000
"""21 November 2026, 12:00 UTC."""
DAY = 86_400_000


@dataclass(frozen=True)
class Owner:
    name: str
    budgets: tuple[BudgetTemplate, ...]


def budget(**fields: Any) -> Budget:
    return Budget.model_validate({"limit_usd": 1, "window": "day"} | fields)


def owner(*budgets: Budget, name: str = "search") -> Owner:
    return Owner(name, key_templates(name, budgets))


def test_a_request_falls_under_its_keys_budgets_and_those_across_keys() -> None:
    budgets = Budgets(shared_templates([budget(name="everything", window="month", limit_usd="5000")]))
    own, across = budgets.lines(owner(budget(limit_usd="0.25")), None, "gpt-5", NOON)
    assert (own.budget, own.scope, own.limit_nano_usd, own.is_hard) == ("search/day", "", 250_000_000, True)
    assert (own.window_start_ms, own.window_end_ms, own.rolling_ms) == (NOON - DAY // 2, NOON + DAY // 2, None)
    assert (across.budget, across.limit_nano_usd) == ("everything", 5000 * 10**9)
    assert [line.budget for line in budgets.lines(None, None, "gpt-5", NOON)] == ["everything"]


def test_a_key_without_budgets_has_no_lines() -> None:
    assert Budgets().lines(owner(), "ann", "gpt-5", NOON) == ()
    assert Budgets().lines(None, None, None, NOON) == ()


def test_scopes_are_the_user_or_the_key_and_who_has_none_shares_one() -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user"), budget(name="per-key", per="key")]))
    assert [line.scope for line in budgets.lines(owner(), "ann", None, NOON)] == ["ann", "search"]
    assert [line.scope for line in budgets.lines(owner(), None, None, NOON)] == [NOBODY, "search"]
    assert [line.scope for line in budgets.lines(owner(), "", None, NOON)] == [NOBODY, "search"]
    assert [line.scope for line in budgets.lines(None, None, None, NOON)] == [NOBODY, NOBODY]


@given(first=st.text(max_size=300), second=st.text(max_size=300))
def test_users_have_scopes_of_their_own_that_any_program_can_store(first: str, second: str) -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user")]))
    scopes = [budgets.lines(None, user, None, NOON)[0].scope for user in (first, second)]
    assert all(len(scope.encode()) <= 160 for scope in scopes)
    assert (scopes[0] == scopes[1]) == (first == second) or {first, second} <= {"", NOBODY}


def test_users_that_share_a_long_beginning_are_told_apart() -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user")]))
    scopes = {budgets.lines(None, "x" * 200 + end, None, NOON)[0].scope for end in "ab"}
    assert len(scopes) == 2


@pytest.mark.parametrize(
    ("user", "beginning"),
    [("x" * 128, None), ("\u00e9" * 64, None), ("x" * 129, "x" * 64), ("x" + "\u00e9" * 64, "x" + "\u00e9" * 31)],
)
def test_a_long_user_keeps_a_beginning_that_people_recognise(user: str, beginning: str | None) -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user")]))
    scope = budgets.lines(None, user, None, NOON)[0].scope
    assert scope == (user if beginning is None else f"{beginning}#{hashlib.sha256(user.encode()).hexdigest()}")


def test_half_a_character_in_a_user_is_no_error() -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user")]))
    assert budgets.lines(None, "ann\ud800", None, NOON)[0].scope == "ann\\ud800"


@pytest.mark.parametrize(
    ("model", "applies"), [("gpt-5-pro", True), ("GPT-5-PRO", True), ("gpt-5", False), ("", False), (None, True)]
)
def test_a_budget_for_some_models_applies_to_them_and_to_unknown_ones(model: str | None, applies: bool) -> None:
    lines = Budgets().lines(owner(budget(models=["*-Pro"])), None, model, NOON)
    assert bool(lines) is applies


def test_identities_say_what_a_budget_is() -> None:
    templates = key_templates(
        "search",
        [
            budget(),
            budget(models=["*-pro", "o1*"]),
            budget(window=None, rolling="24h"),
            budget(window=None, rolling="90s"),
            budget(window=None, rolling="1.5s"),
            budget(per="user"),
            budget(name="mine"),
            budget(limit_usd=2),
        ],
    )
    assert [template.identity for template in templates] == [
        "search/day",
        "search/day:*-pro,o1*",
        "search/rolling-1d",
        "search/rolling-90s",
        "search/rolling-1.5s",
        "search/day-per-user",
        "search/mine",
        "search/day#2",
    ]


def test_identities_do_not_depend_on_other_budgets_or_on_the_limit() -> None:
    before = key_templates("search", [budget(), budget(window="month")])
    after = key_templates("search", [budget(window="hour"), budget(window="month", limit_usd=9), budget()])
    assert {template.identity for template in before} < {template.identity for template in after}


def test_a_budget_has_its_own_window_in_its_own_zone() -> None:
    key = owner(
        budget(window="hour"),
        budget(window="week"),
        budget(window="month"),
        budget(window="total"),
        budget(timezone="Asia/Tokyo"),
    )
    lines = Budgets().lines(key, None, None, NOON)
    assert [(line.window_start_ms, line.window_end_ms) for line in lines] == [
        (NOON, NOON + 3_600_000),
        (NOON - DAY * 11 // 2, NOON + DAY * 3 // 2),
        (NOON - DAY * 41 // 2, NOON + DAY * 19 // 2),
        (0, None),
        (NOON + 3 * 3_600_000 - DAY, NOON + 3 * 3_600_000),
    ]


def test_a_rolling_budget_has_no_calendar_window() -> None:
    (line,) = Budgets().lines(owner(budget(window=None, rolling="24h")), None, None, NOON)
    assert (line.window_start_ms, line.window_end_ms, line.rolling_ms) == (0, None, DAY)


def test_a_limit_is_never_rounded_up() -> None:
    (template,) = key_templates("search", [budget(limit_usd=Decimal("0.0000000019"))])
    assert template.limit_nano_usd == 1


def test_what_is_remembered_ends_with_its_window_in_both_directions() -> None:
    budgets, key = Budgets(), owner(budget(), budget(window="hour"))
    seen = {}
    for now in (NOON, NOON + 1, NOON + 3_599_999, NOON + 3_600_000, NOON - 1, NOON + DAY, NOON):
        seen[now] = budgets.lines(key, None, None, now)
        assert seen[now] == Budgets().lines(key, None, None, now), now
    assert seen[NOON] is not seen[NOON + 3_600_000]


def test_memory_stays_bounded_with_any_number_of_users() -> None:
    budgets = Budgets(shared_templates([budget(name="per-user", per="user")]))
    for number in range(10_000):
        budgets.lines(None, f"user-{number}", "gpt-5", NOON)
        assert len(budgets._remembered) <= 4096


def test_what_is_remembered_is_not_resolved_again() -> None:
    budgets = Budgets(shared_templates([budget(name="everything", window="month", timezone="Europe/Paris")]))
    key = owner(budget(), budget(window="hour"))
    lines = budgets.lines(key, "ann", "gpt-5", NOON)
    assert budgets.lines(key, "ann", "gpt-5", NOON + 1) is lines
    assert budgets.lines(key, "bob", "gpt-5", NOON + 1) is not lines


@pytest.mark.parametrize(
    ("model", "has_limit", "slices"),
    [("gpt-5", False, True), ("gpt-5", True, False), ("o3", False, True), ("o3", True, True), ("llama", False, False)],
)
def test_a_stream_is_sliced_where_every_hard_budget_lets_it(model: str, has_limit: bool, slices: bool) -> None:
    key = owner(
        budget(models=["gpt-*", "o3"], streams="sliced"),
        budget(models=["gpt-*"], streams="auto"),
        budget(models=["whole"], streams="whole"),
        budget(hard=False, streams="whole"),
    )
    assert Budgets().slices_streams(key, model, has_limit=has_limit) is slices
    assert Budgets(shared_templates([budget(name="all", streams="sliced")])).slices_streams(None, model, has_limit=True)
    assert not Budgets(shared_templates([budget(name="all", streams="whole")])).slices_streams(
        key, model, has_limit=has_limit
    )
    assert not Budgets().slices_streams(None, model, has_limit=has_limit)


def test_a_hard_budget_forbids_what_nobody_can_bound_unless_it_says_otherwise() -> None:
    key = owner(budget(hard=False), budget(unbounded="allow"), budget(models=["gpt-*"], name="strict"))
    shared = Budgets(shared_templates([budget(name="everything")]))
    assert Budgets().forbids_unbounded(key, "gpt-5") == "search/strict"
    assert Budgets().forbids_unbounded(key, None) == "search/strict"
    assert Budgets().forbids_unbounded(key, "o3") is None
    assert shared.forbids_unbounded(key, "o3") == "everything"
    assert shared.forbids_unbounded(None, "o3") == "everything"
    assert Budgets().forbids_unbounded(None, "o3") is None
