"""What people do with the tools: replay a request, make a key and see it refuse, try settings out."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.async_api import expect

from tests.dashboard import axe
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.hostile import KEY
from tests.dashboard.seed.shop import UNLUCKY

pytestmark = TOGETHER


def newest(client: httpx.Client, query: str) -> str:
    answer = client.get("/api/requests", params={"q": query, "limit": 1})
    answer.raise_for_status()
    return str(answer.json()["requests"][0]["id"])


async def test_a_failed_request_of_a_user_is_found_and_replayed(small: Shown, open_window: OpenWindow) -> None:
    with small.client() as client:
        id_ = newest(client, f"user:{UNLUCKY} status:>=400 endpoint:chat")
        async with open_window(small) as window:
            page = window.page
            await window.go(f"/playground?from={id_}")
            await page.get_by_label("Text of user").last.fill("Say it in one word.")
            await page.get_by_text("edited").first.wait_for()
            await page.get_by_role("button", name="Replay").click()
            await page.get_by_text("Run 1").wait_for()
            await page.locator(".pg-runs").get_by_role("link", name="Open the request").wait_for()
            assert await axe.complaints(page) == []
            assert await window.overflowing() == []
        (made,) = client.get("/api/requests", params={"q": f"meta.replay_of:{id_}"}).json()["requests"]
        assert made["key"] == "playground.ada"
        body = json.loads(client.get(f"/api/requests/{made['id']}/request_body").content)
        assert body["messages"][-1]["content"] == "Say it in one word."


async def test_one_key_press_runs_what_was_typed_and_two_models_stand_side_by_side(
    small: Shown, open_window: OpenWindow
) -> None:
    with small.client() as client:
        id_ = newest(client, "key:support-bot outcome:completed status:200 endpoint:chat")
    async with open_window(small) as window:
        page = window.page
        await window.go(f"/playground?from={id_}")
        await page.get_by_role("button", name="Compare another model").click()
        await page.get_by_role("combobox", name="Model 2").fill("gpt-4.1-mini")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Run 2 times").wait_for()
        await page.keyboard.press("Control+Enter")
        await page.get_by_text("Run 2", exact=True).wait_for()
        assert await page.locator(".pg-runs .pg-result").count() == 2
        await page.locator(".pg-runs").get_by_role("link", name="Open the request").nth(1).wait_for()
        await page.get_by_text("Difference", exact=True).click()
        await page.locator(".pg-runs .diff, .pg-runs .caption").first.wait_for()
        assert "show=diff" in page.url


async def test_a_key_is_made_with_a_daily_cap_and_is_seen_to_refuse(small: Shown, open_window: OpenWindow) -> None:
    async with open_window(small) as window:
        page = window.page
        await window.go("/keys")
        await page.keyboard.press("n")
        await page.get_by_role("textbox", name="Name").fill("ci-bot")
        assert await page.get_by_label("US dollars").input_value() == "5"
        assert await page.get_by_label("Window").input_value() == "day"
        await page.get_by_role("button", name="Create the key").click()
        await page.get_by_role("heading", name="ci-bot is made").wait_for()
        secret = await page.locator(".ky-secret code").inner_text()
        assert secret.startswith("gl-")
        assert await axe.complaints(page) == []
        await page.get_by_role("button", name="Send a small request").click()
        await page.locator(".ky-trying .pill").wait_for()
        assert "Works: 200" in await page.locator(".ky-trying").inner_text()
        await page.get_by_role("button", name="I have copied it").click()
        await page.get_by_role("complementary", name="Key ci-bot").wait_for()
        await page.get_by_role("button", name="Change the limits").click()
        await page.get_by_label("US dollars").fill("0.0000001")
        await page.get_by_role("button", name="Save the limits").click()
        await page.get_by_role("button", name="Save the limits").wait_for(state="detached")
        await page.get_by_role("button", name="Send a small request").click()
        await page.get_by_text("Refused: 429 budget_exceeded").wait_for()
        await page.get_by_role("button", name="Revoke").click()
        assert await page.get_by_role("button", name="Revoke the key").is_disabled()
        await page.get_by_label("Type ci-bot to be sure").fill("ci-bot")
        await page.get_by_role("button", name="Revoke the key").click()
        await page.get_by_text("nothing takes it any more").wait_for()
        assert secret not in await page.content(), "shown once"
    assert use(small, secret) == 401


def use(shown: Shown, secret: str) -> int:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.post(f"{shown.glassline.url}/v1/chat/completions", json={}, headers=headers, timeout=20).status_code


async def test_a_user_and_a_token_are_made_and_taken_away(small: Shown, open_window: OpenWindow) -> None:
    async with open_window(small) as window:
        page = window.page
        await window.go("/settings/users")
        await page.get_by_role("button", name="New user").click()
        await page.get_by_role("textbox", name="Name").fill("grace")
        await page.get_by_label("Password").fill("correct horse battery")
        await page.get_by_role("button", name="Make the user").click()
        row = page.get_by_role("region", name="Users").get_by_role("row").filter(has_text="grace")
        assert "viewer" in await row.inner_text()
        await row.get_by_role("button", name="Change").click()
        await page.get_by_label("Role").select_option("editor")
        await page.get_by_role("button", name="Save").click()
        await row.filter(has_text="editor").wait_for()
        await row.get_by_role("button", name="Remove").click()
        await page.get_by_role("button", name="Remove the user").click()
        await row.wait_for(state="detached")
        await page.get_by_role("button", name="New token").click()
        await page.get_by_role("textbox", name="Name").fill("scraper-2")
        await page.get_by_role("button", name="Make the token").click()
        token = await page.locator(".st-token-once code").inner_text()
        assert token.startswith("glt-")
        await page.get_by_role("button", name="I have copied it").click()
        await page.get_by_role("region", name="Tokens").get_by_role("row").filter(has_text="scraper-2").wait_for()
        assert token not in await page.content(), "shown once"
        assert "grace" in await page.get_by_role("region", name="Who did what").inner_text()
    assert opens(small, token) == 200


def opens(shown: Shown, token: str) -> int:
    return httpx.get(f"{shown.url}/api/status", headers={"authorization": f"Bearer {token}"}, timeout=20).status_code


@pytest.mark.parametrize("path", ["/keys", "/settings/upstreams", "/settings/prices", "/settings/system"])
async def test_a_viewer_is_offered_nothing_that_is_refused(attacked: Shown, open_window: OpenWindow, path: str) -> None:
    async with open_window(attacked, "vera") as window:
        await window.go(path)
        for offer in ("New key", "Look whether", "Try it out", "Look what is wrong", "Measure the tables"):
            assert await window.page.get_by_role("button", name=offer).count() == 0


@pytest.mark.parametrize(("user", "path"), [("vera", "/playground"), ("edgar", "/settings/users")])
async def test_what_a_role_may_not_says_which_role_may(
    attacked: Shown, open_window: OpenWindow, user: str, path: str
) -> None:
    async with open_window(attacked, user) as window:
        await window.go(path)
        assert await window.page.get_by_role("heading", name="Not with your role").is_visible()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/settings/prices?q=gpt-4o-mini&provider=openai", "gpt-4o-mini"),
        ("/settings/retention?bodies=1s", "would go at once"),
        ("/settings/redaction?try=1&rules=email", "[EMAIL]"),
        ("/settings/system?all=1", "journal_max_gb"),
        ("/keys/support-bot", "It stands in the configuration file"),
    ],
)
async def test_a_link_shows_the_same_state_again(
    attacked: Shown, open_window: OpenWindow, path: str, words: str
) -> None:
    async with open_window(attacked) as window:
        await window.go(path)
        await window.page.get_by_text(words).first.wait_for()
        assert window.page.url.endswith(path)


async def test_a_link_to_prices_shows_all_of_them_whatever_was_searched(
    attacked: Shown, open_window: OpenWindow
) -> None:
    async with open_window(attacked) as window:
        await window.go("/settings/prices?q=claude")
        page = window.page
        await page.get_by_role("navigation", name="Settings").get_by_role("link", name="Prices").click()
        await expect(page.get_by_role("searchbox", name="Search prices")).to_have_value("")
        await window.settle()
        assert window.path == "/settings/prices"


async def test_a_page_of_the_audit_stands_in_the_address(attacked: Shown, open_window: OpenWindow) -> None:
    with attacked.client() as client:
        lines = client.get("/api/audit").json()["audit"]
    async with open_window(attacked) as window:
        await window.go(f"/settings/users?before={lines[1]['id']}")
        await window.page.get_by_role("button", name="Newest").click()
        await window.settle()
        assert window.path == "/settings/users"


async def test_an_attack_that_is_replayed_stays_text(attacked: Shown, open_window: OpenWindow) -> None:
    with attacked.client() as client:
        answer = client.get("/api/requests", params={"q": f"key:{KEY} status:200", "limit": 40})
        ids = [row["id"] for row in answer.json()["requests"]]
    async with open_window(attacked) as window:
        for id_ in ids[::4]:
            await window.go(f"/playground?from={id_}")
            assert await window.canaries() == []
            assert await window.overflowing() == []
