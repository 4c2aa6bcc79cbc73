"""Nothing that stands in a record acts: not on the page of a request, and on no other page either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from tests.dashboard.chromium import Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.hostile import ATTACKS, HOST, KEY

pytestmark = TOGETHER
_INJECTED = """() => [...document.querySelectorAll(
    'iframe, object, embed, form[action], base[href], meta[http-equiv=refresh], math, mglyph, animate, '
    + 'script:not([src]):not([type="application/json"]), '
    + '[onload], [onerror], [onmouseover], [onfocus], [onbegin], a[href^="javascript:" i], a[href^="data:" i], img[src^="http"], [srcdoc]'
)].filter((each) => !(each.tagName === 'FORM' && new URL(each.action, location.href).origin === location.origin))
  .map((each) => each.outerHTML.slice(0, 200))"""
TABS = ("conversation", "request", "response", "stream", "headers")


async def assert_harmless(window: Window) -> None:
    assert await window.canaries() == []
    assert await window.page.evaluate(_INJECTED) == []
    assert not [each for each in window.troubles if HOST in each], window.troubles
    window.assert_well()


def ids(client: httpx.Client, query: str) -> list[str]:
    answer = client.get("/api/requests", params={"q": query, "limit": 200})
    answer.raise_for_status()
    return [row["id"] for row in answer.json()["requests"]]


@pytest.fixture
async def attacked(million: Shown) -> AsyncIterator[list[str]]:
    with million.client() as client:
        yield ids(client, f"key:{KEY} status:200 -session:s-awkward")


@pytest.mark.parametrize("tab", TABS)
async def test_no_attack_in_a_request_acts(
    million: Shown, open_window: OpenWindow, attacked: list[str], tab: str
) -> None:
    assert len(attacked) >= len(ATTACKS)
    async with open_window(million) as window:
        for id_ in attacked:
            await window.go(f"/requests/{id_}?tab={tab}")
            await assert_harmless(window)


async def test_no_attack_acts_when_everything_is_unfolded_and_touched(
    million: Shown, open_window: OpenWindow, attacked: list[str]
) -> None:
    async with open_window(million) as window:
        for id_ in attacked[::4]:
            await window.go(f"/requests/{id_}")
            for _ in range(12):
                folded = window.page.locator("main [aria-expanded=false]:visible")
                if not await folded.count():
                    break
                await folded.first.click()
                await window.settle()
            for mark in await window.page.get_by_text("canary").all():
                if await mark.is_visible():
                    await mark.hover(force=True)
            await assert_harmless(window)


@pytest.mark.parametrize(
    "path",
    [
        f"/requests?q=key:{KEY}",
        f"/requests?q=key:{KEY}&cols=time,status,model,user,session,environment,prompt,tags,error,path",
        f"/sessions?q=key:{KEY}",
        f"/users?q=key:{KEY}",
        f"/cost?q=key:{KEY}&group=user",
        f"/cost?q=key:{KEY}&group=model",
        f"/cost?q=key:{KEY}&group=session",
    ],
)
async def test_no_attack_in_a_list_acts(million: Shown, open_window: OpenWindow, path: str) -> None:
    async with open_window(million) as window:
        await window.go(path)
        await assert_harmless(window)


@pytest.mark.parametrize("name", ATTACKS)
async def test_no_attack_in_an_address_acts(million: Shown, open_window: OpenWindow, name: str) -> None:
    attack = quote(ATTACKS[name])
    async with open_window(million) as window:
        window.expects = ["status 400", "status 404", "404 (Not Found)", "400 (Bad Request)"]
        for path in (
            f"/requests?q={attack}",
            f"/sessions/{quote(ATTACKS[name], safe='')}",
            f"/users/{quote(ATTACKS[name], safe='')}",
        ):
            await window.go(path)
            await assert_harmless(window)


@pytest.mark.parametrize("name", ["script", "attribute", "json-closing"])
async def test_no_attack_that_is_typed_into_the_filter_acts(million: Shown, open_window: OpenWindow, name: str) -> None:
    async with open_window(million) as window:
        window.expects = ["status 400", "400 (Bad Request)"]
        await window.go("/requests")
        await window.page.keyboard.press("/")
        await window.page.keyboard.type(ATTACKS[name])
        await window.page.keyboard.press("Enter")
        await window.settle()
        await assert_harmless(window)


async def test_awkward_content_breaks_no_page(million: Shown, open_window: OpenWindow) -> None:
    with million.client() as client:
        awkward = ids(client, f"key:{KEY} session:s-awkward")
    assert len(awkward) >= 20
    async with open_window(million) as window:
        for id_ in awkward:
            for tab in TABS:
                await window.go(f"/requests/{id_}?tab={tab}")
                assert await window.overflowing() == [], (id_, tab)
                mounted = await window.page.evaluate("document.querySelectorAll('*').length")
                assert mounted < 6_000, (id_, tab, mounted)
                await assert_harmless(window)
