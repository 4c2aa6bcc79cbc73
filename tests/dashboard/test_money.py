"""Costs and budgets: what leads where, what Back undoes, and that every page tells the same amount."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed import END

pytestmark = TOGETHER


async def test_back_undoes_the_order_of_costs(attacked: Shown, open_window: OpenWindow) -> None:
    async with open_window(attacked) as window:
        await window.go("/cost")
        await window.page.get_by_role("columnheader", name="Requests").get_by_role("button").click()
        await window.settle()
        assert window.path == "/cost?sort=-requests"
        await window.page.go_back()
        await window.settle()
        assert window.path == "/cost"


async def test_back_undoes_the_order_of_budgets(attacked: Shown, open_window: OpenWindow) -> None:
    async with open_window(attacked) as window:
        await window.go("/budgets")
        await window.page.get_by_label("Order").select_option("name")
        await window.settle()
        assert window.path == "/budgets?sort=name"
        await window.page.go_back()
        await window.settle()
        assert window.path == "/budgets"


@pytest.mark.parametrize(("width", "tables"), [(1440, 1), (390, 0)])
async def test_each_budget_is_drawn_once(attacked: Shown, open_window: OpenWindow, width: int, tables: int) -> None:
    with attacked.client() as client:
        count = client.get("/api/budgets").json()["count"]
    async with open_window(attacked, width=width) as window:
        await window.go("/budgets")
        assert await window.page.locator(".budgets-table table").count() == tables
        assert await window.page.locator(".budgets-table a[href*='/budgets/']").count() == count


async def test_who_spends_a_rolling_budget_leads_to_the_requests_in_its_window(
    attacked: Shown, open_window: OpenWindow
) -> None:
    with attacked.client() as client:
        budgets = client.get("/api/budgets").json()["budgets"]
    (rolling,) = [each for each in budgets if each["rolling_ms"]]
    async with open_window(attacked) as window:
        await window.go("/budgets?sort=name")
        await window.page.get_by_role("link", name=rolling["budget"], exact=True).click()
        spender = window.page.locator(".spenders a").first
        await expect(spender).to_be_visible()
        asked = parse_qs(urlsplit(await spender.get_attribute("href") or "").query)
    assert asked["from"] == [f"now-{rolling['rolling_ms'] // 60_000}m"]
    assert asked["q"][0].startswith(f"key:{rolling['key']} model:")


def _luminance(colour: str) -> float:
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    return 0.2 * red + 0.7 * green + 0.1 * blue


async def test_what_is_printed_is_dark_on_white_in_any_theme(attacked: Shown, open_window: OpenWindow) -> None:
    async with open_window(attacked, theme="dark") as window:
        await window.go("/cost")
        drawn = "document.querySelector('.cost-chart canvas').toDataURL()"
        before = await window.page.evaluate(drawn)
        await window.page.emulate_media(media="print", color_scheme="dark")
        await window.settle()
        assert await window.page.evaluate(drawn) != before, "the chart is drawn anew"
        colours = await window.page.evaluate(
            "[...document.querySelectorAll('main :is(h2, dt, dd, th, td, p)')].map((each) => getComputedStyle(each).color)"
        )
    assert len(colours) > 20
    light = [colour for colour in colours if _luminance(colour) > 130]
    assert set(light) == set()


MEASURES = ("requests", "cost_nano_usd", "unpriced")
GROUPINGS = ("key", "model", "upstream", "provider", "user", "session", "endpoint", "environment", "prompt", "version")


@pytest.mark.parametrize("hours", [0.3, 7, 31, 24 * 9])
async def test_every_question_has_the_same_answer_about_the_same_time(attacked: Shown, hours: float) -> None:
    end = round(END.timestamp() * 1000) - 137_911
    span = {"from": round(end - hours * 3_600_000), "to": end}
    with attacked.client() as client:

        def ask(path: str, **more: Any) -> Any:
            return client.get(path, params=span | more).raise_for_status()

        def told(rows: list[dict[str, Any]]) -> tuple[int, ...]:
            return tuple(sum(row[name] for row in rows) for name in MEASURES)

        counted = ask("/api/requests/count").json()
        answers = {"total": told([ask("/api/cost").json()["total"]])}
        for by in (*GROUPINGS, "key,model", "day", "model,day"):
            answers[by] = told(ask("/api/cost", by=by).json()["rows"])
        for by in ("", "model", "user"):
            lines = ask("/api/cost/series", by=by, step="day").json()["series"]
            answers[f"series {by}"] = tuple(sum(sum(line[name]) for line in lines) for name in MEASURES)
        users = [json.loads(line) for line in ask("/api/users.jsonl").text.splitlines()]
        nameless = ask("/api/users").json()["nameless"]
        named = told(users)
    assert counted["is_exact"]
    wanted = tuple(counted[name] for name in MEASURES)
    assert {name: answer for name, answer in answers.items() if answer != wanted} == {}
    assert (named[0] + nameless["requests"], named[1] + nameless["cost_nano_usd"]) == wanted[:2]
