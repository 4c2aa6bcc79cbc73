"""Costs and budgets: what leads where, what Back undoes, and that every page tells the same amount."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.async_api import expect

from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown

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
