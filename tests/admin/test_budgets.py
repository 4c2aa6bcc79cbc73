"""A budget of each user has as many windows as there are users: the list stays short, and the pressing ones come first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from proxy.admin.urgency import CONSIDERED
from proxy.clock import Clock
from proxy.config import parse_config
from proxy.config.prices import price_book
from proxy.gates.budgets import Budgets, shared_templates
from proxy.gates.keys import policy_of
from proxy.ledger.ledger import Ledger
from proxy.reservations import Request, Settle
from tests.admin.conftest import Admin
from tests.ledger.scenes import request

USERS = CONSIDERED + 200
CENT = 10**7
CONFIG = """
keys: [{name: app, key: gl-key-of-app}]
budgets: [{name: all, limit_usd: 5000, window: month}, {name: each, limit_usd: 1, window: month, per: user}]
"""


def spent_by(number: int) -> int:
    """Return what a user spent, in nano-USD: the last one all of a dollar, the others up to half of one."""
    return 100 * CENT if number == USERS - 1 else (number * 37 % 50) * CENT


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    data_dir = tmp_path_factory.mktemp("budgets") / "data"
    data_dir.mkdir()
    config = parse_config(CONFIG)
    budgets, (key,) = Budgets(shared_templates(config.budgets)), config.keys
    now_ms = time.time_ns() // 1_000_000
    with closing(Ledger(data_dir / "ledger.db", price_book(config.pricing), Clock())) as ledger:
        messages: list[Request] = []
        for number in range(USERS):
            lines = budgets.lines(policy_of(key), f"user-{number:04}", None, now_ms)
            messages += (
                request(str(number), *lines, is_free=True),
                Settle(ticket=2, exchange=str(number), nano_usd=spent_by(number)),
            )
        ledger.handle(messages)
    with closing(Admin(data_dir, CONFIG)) as started:
        yield started


def listed(admin: Admin, **asked: str) -> Any:
    return admin.get("/api/budgets", **asked).raise_for_status().json()


def test_the_list_is_short_and_says_how_many_there_are(admin: Admin) -> None:
    found = listed(admin)
    assert (len(found["budgets"]), found["count"]) == (100, USERS + 1)
    assert len(listed(admin, limit="3")["budgets"]) == 3
    assert len(listed(admin, limit=str(CONSIDERED))["budgets"]) == CONSIDERED
    assert admin.get("/api/budgets", limit=str(CONSIDERED + 1)).status_code == 400


def test_what_is_spent_comes_first_and_then_what_is_used_most(admin: Admin) -> None:
    first, *rest = listed(admin)["budgets"]
    assert (first["scope"], first["pace"]["state"]) == (f"user-{USERS - 1:04}", "critical")
    ranks = [("critical", "warning", "ok").index(each["pace"]["state"]) for each in rest]
    assert ranks == sorted(ranks)
    used = [(rank, -each["spent_nano_usd"] / each["limit_nano_usd"]) for rank, each in zip(ranks, rest, strict=True)]
    assert used == sorted(used)
    found = listed(admin, limit=str(CONSIDERED))
    assert found["pressing"] == sum(each["pace"]["state"] != "ok" for each in found["budgets"]) > 0


def test_a_budget_without_scope_is_never_cut_off_though_it_is_hardly_used(admin: Admin) -> None:
    assert "all" in {each["budget"] for each in listed(admin, limit=str(CONSIDERED))["budgets"]}


@pytest.mark.parametrize(
    ("order", "first"),
    [("used", f"user-{USERS - 1:04}"), ("spent", ""), ("name", ""), ("urgency", f"user-{USERS - 1:04}")],
)
def test_it_is_sorted_as_asked(admin: Admin, order: str, first: str) -> None:
    assert listed(admin, sort=order)["budgets"][0]["scope"] == first


def test_an_unknown_order_is_refused(admin: Admin) -> None:
    assert admin.get("/api/budgets", sort="colour").status_code == 400
    assert admin.get("/api/budgets.csv", sort="colour").status_code == 400


def test_a_part_of_a_name_finds(admin: Admin) -> None:
    found = listed(admin, find="USER-0012")
    assert [each["scope"] for each in found["budgets"]] == ["user-0012"]
    assert found["count"] == 1
    assert listed(admin, find="nobody") == {"budgets": [], "count": 0, "pressing": 0}


@pytest.mark.parametrize("order", ["urgency", "spent"])
def test_the_file_holds_all_of_them_in_the_same_order(admin: Admin, order: str) -> None:
    lines = [json.loads(line) for line in admin.get("/api/budgets.jsonl", sort=order).text.splitlines()]
    assert len({(line["budget"], line["scope"]) for line in lines}) == len(lines) == USERS + 1
    shown = [(each["budget"], each["scope"]) for each in listed(admin, sort=order)["budgets"]]
    assert [(line["budget"], line["scope"]) for line in lines[: len(shown)]] == shown
