"""Nothing that stands in a record acts: not on the page of a request, and on no other page either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from proxy.admin.segments import segment
from tests.dashboard.chromium import Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.hostile import ATTACKS, KEY

pytestmark = TOGETHER
_INJECTED = """() => [...document.querySelectorAll(
    'iframe, object, embed, form[action], base[href], meta[http-equiv=refresh], math, mglyph, animate, '
    + 'body script:not([src]):not([type="application/json"]), '
    + '[onload], [onerror], [onmouseover], [onfocus], [onbegin], a[href^="javascript:" i], a[href^="data:" i], img[src^="http"], [srcdoc]'
)].filter((each) => !(each.tagName === 'FORM' && new URL(each.action, location.href).origin === location.origin))
  .map((each) => each.outerHTML.slice(0, 200))"""
_FOLDED = "main :is(details:not([open]) > summary, button[aria-expanded=false]):visible:not([inert] *, [aria-haspopup])"
MOST_MOUNTED = 6_000
"""Elements of a page; more of them and a phone stutters."""
TABS = ("conversation", "request", "response", "stream", "headers")


async def assert_harmless(window: Window) -> None:
    assert await window.canaries() == []
    assert await window.page.evaluate(_INJECTED) == []
    assert not [each for each in window.troubles if each.startswith("elsewhere")], window.troubles
    window.assert_well()


def ids(client: httpx.Client, query: str) -> list[str]:
    answer = client.get("/api/requests", params={"q": query, "limit": 200})
    answer.raise_for_status()
    return [row["id"] for row in answer.json()["requests"]]


@pytest.fixture
def attacks(attacked: Shown) -> list[str]:
    """Ids of the conversations in which everything is an attack."""
    with attacked.client() as client:
        found = ids(client, f"key:{KEY} status:200 -session:s-awkward")
    assert len(found) == 4, "one for each API, with all attacks in it"
    return found


@pytest.fixture
def awkward(attacked: Shown) -> list[str]:
    """Ids of the requests that are hard to show."""
    with attacked.client() as client:
        return ids(client, f"key:{KEY} session:s-awkward")


@pytest.mark.parametrize("tab", TABS)
async def test_no_attack_in_a_request_acts(
    attacked: Shown, open_window: OpenWindow, attacks: list[str], tab: str
) -> None:
    async with open_window(attacked) as window:
        await window.go("/requests")
        for id_ in attacks:
            await window.turn_to(f"/requests/{id_}?tab={tab}")
            await assert_harmless(window)


async def test_no_attack_in_an_error_acts(attacked: Shown, open_window: OpenWindow) -> None:
    with attacked.client() as client:
        failed = ids(client, f"key:{KEY} status:400")
    assert len(failed) == len(ATTACKS)
    async with open_window(attacked) as window:
        await window.go("/requests")
        for id_ in failed:
            await window.turn_to(f"/requests/{id_}")
            await assert_harmless(window)


async def test_no_attack_acts_when_everything_is_unfolded_and_touched(
    attacked: Shown, open_window: OpenWindow, attacks: list[str]
) -> None:
    async with open_window(attacked) as window:
        for id_ in attacks:
            await window.go(f"/requests/{id_}")
            for _ in range(40):
                folded = window.page.locator(_FOLDED)
                if not await folded.count():
                    break
                await folded.first.click()
                await window.settle()
            for mark in await window.page.get_by_text("canary").all():
                if await mark.is_visible():
                    await mark.hover(force=True)
            await assert_harmless(window)


SHOWN = (
    "/requests",
    "/requests?cols=time,status,model,user,session,environment,prompt,meta.team,error,path",
    f"/requests?q=key:{KEY}&live=1",
    f"/sessions?q=key:{KEY}",
    f"/users?q=key:{KEY}",
    *(f"/cost?by={name}&q=key:{KEY}" for name in ("user", "session", "prompt")),
    "/cost?by=meta.team&all=1",
)
"""Lists in which attacks stand."""
PLACES = ("/", "/cost?by=model&compare=prev", "/budgets", "/keys", "/settings/prices")


@pytest.mark.parametrize("path", [*SHOWN, *PLACES])
async def test_no_attack_in_a_list_acts(attacked: Shown, open_window: OpenWindow, path: str) -> None:
    async with open_window(attacked) as window:
        await window.go(path)
        await assert_harmless(window)
        assert path not in SHOWN or "canary(" in await window.page.locator("main").inner_text(), "nothing is attacked"


async def test_no_attack_acts_where_a_request_is_peeked_at_or_replayed(
    attacked: Shown, open_window: OpenWindow, attacks: list[str]
) -> None:
    async with open_window(attacked) as window:
        for id_ in attacks:
            for path in (
                f"/requests?sel={id_}",
                f"/playground?from={id_}",
                f"/requests/{id_}?tab=compare&with={attacks[0]}",
            ):
                await window.go(path)
                await assert_harmless(window)


async def test_no_attack_in_an_address_acts(attacked: Shown, open_window: OpenWindow) -> None:
    async def walk(place: str, written: Callable[[str], str]) -> None:
        async with open_window(attacked) as window:
            window.expects = ["status 400", "status 404", "404 (Not Found)", "400 (Bad Request)"]
            await window.go("/")
            for attack in ATTACKS.values():
                await window.turn_to(place + written(attack))
                await assert_harmless(window)

    pages = ("/requests/", "/sessions/", "/users/", "/keys/", "/budgets/")
    await asyncio.gather(walk("/requests?q=", quote), *(walk(page, segment) for page in pages))


@pytest.mark.parametrize("name", ["script", "attribute", "closing"])
async def test_no_attack_in_the_address_of_a_first_page_acts(
    attacked: Shown, open_window: OpenWindow, name: str
) -> None:
    attack = ATTACKS[name]
    async with open_window(attacked) as window:
        window.expects = ["status 400", "status 404", "404 (Not Found)", "400 (Bad Request)"]
        for path in (f"/requests?q={quote(attack)}", f"/users/{segment(attack)}"):
            await window.go(path)
            await assert_harmless(window)


@pytest.mark.parametrize("name", ["script", "attribute", "json-closing"])
async def test_no_attack_that_is_typed_into_the_filter_acts(
    attacked: Shown, open_window: OpenWindow, name: str
) -> None:
    async with open_window(attacked) as window:
        window.expects = ["status 400", "400 (Bad Request)"]
        await window.go("/requests")
        await window.press("/")
        await window.page.keyboard.type(ATTACKS[name])
        await window.press("Enter")
        await assert_harmless(window)


async def test_awkward_content_breaks_no_page(attacked: Shown, open_window: OpenWindow, awkward: list[str]) -> None:
    assert len(awkward) >= 20

    async def walk(tab: str) -> None:
        async with open_window(attacked) as window:
            await window.go("/requests")
            for id_ in awkward:
                await window.turn_to(f"/requests/{id_}?tab={tab}")
                assert await window.overflowing() == [], (id_, tab)
                mounted = await window.page.evaluate("document.querySelectorAll('*').length")
                assert mounted < MOST_MOUNTED, (id_, tab, mounted)
                await assert_harmless(window)

    await asyncio.gather(*map(walk, TABS))
