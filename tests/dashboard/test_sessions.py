"""Sessions and users: found by what they cost, read as a conversation, with the keyboard alone."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, expect

from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.shop import UNLUCKY

pytestmark = TOGETHER


def asked(page: Page) -> dict[str, str]:
    """Return the parameters of the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def test_the_dearest_session_is_read_turn_by_turn_without_a_mouse(small: Shown, open_window: OpenWindow) -> None:
    with small.client() as client:
        rows = client.get("/api/sessions", params={"sort": "-cost", "from": "now-30d"}).json()["sessions"]
    dearest = rows[0]
    async with open_window(small) as window:
        page = window.page
        await window.go("/sessions?sort=-cost&from=now-30d")
        await window.press("j", "Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(dearest["id"])
        turns = page.get_by_role("list", name="Turns").get_by_role("listitem")
        await expect(turns.first).to_be_visible()
        await window.press("j")
        first = int(asked(page)["turn"])
        await window.press("j")
        assert int(asked(page)["turn"]) == min(first + 1, dearest["turns"])
        chosen = page.locator("li[aria-current=true]")
        await expect(chosen).to_contain_text(f"Turn {asked(page)['turn']}")
        here = page.url
        await page.reload()
        await window.settle()
        assert page.url == here
        await expect(page.locator("li[aria-current=true]")).to_be_in_viewport()


async def test_a_user_leads_to_what_failed(small: Shown, open_window: OpenWindow) -> None:
    with small.client() as client:
        user = client.get("/api/users", params={"sort": "-errors"}).json()["users"][0]
    async with open_window(small) as window:
        page = window.page
        await window.go("/users?sort=-errors")
        await window.press("j", "Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(user["id"])
        await page.get_by_role("link", name=f"All {user['errors']:,}").click()
        await window.settle()
        assert asked(page)["q"].startswith("user:")
        await expect(page.get_by_role("table", name="Requests")).to_be_visible()


async def test_what_no_list_holds_is_said(small: Shown, open_window: OpenWindow) -> None:
    async with open_window(small) as window:
        await window.go(f"/sessions?q=user:{UNLUCKY}x")
        await expect(window.page.get_by_role("heading", name="No session fits")).to_be_visible()
        window.expects = ["404"]
        await window.go("/sessions/nobody-knows")
        await expect(window.page.get_by_role("heading", name="No session has this name")).to_be_visible()
