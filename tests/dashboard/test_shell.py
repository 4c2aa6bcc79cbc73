"""The frame around the pages: what is there before a script runs, where links lead, what keys do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dashboard import axe
from tests.dashboard.chromium import THEMES, Theme, Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.accounts import PASSWORDS
from tests.dashboard.seed.shop import RUNAWAY

pytestmark = TOGETHER
FIRST_LOAD_BYTES = 170 * 1024


_SHOWN = """() => {
    const main = document.querySelector('main');
    const copy = main.cloneNode(true);
    const rows = copy.querySelectorAll('tbody tr');
    main.querySelectorAll('tbody tr').forEach((row, at) => {
        if (row.getBoundingClientRect().top > innerHeight) rows[at].remove();
    });
    copy.querySelectorAll('[data-volatile]').forEach((each) => each.remove());
    return copy.innerText;
}"""
"""All that is said, but in rows below the window: how many of these are made ready differs by one."""


async def heading(window: Window) -> str:
    return (await window.page.locator("h1").first.inner_text()).strip()


async def test_without_script_the_overview_says_how_things_are(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million, has_script=False) as window:
        window.expects = [": csp"]  # what is loaded ahead for a script that will not run
        await window.page.goto(million.url + "/")
        said = await window.page.locator("main").inner_text()
    for tile in ("Error rate", "P95 latency", "Cost per hour"):
        assert tile in said
    assert "vs yesterday" in said


async def test_the_verdict_is_there_before_any_script_was_fetched(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        window.expects = ["failed:", "ERR_FAILED"]
        await window.page.route("**/*.js*", lambda route: route.abort())
        await window.page.goto(million.url + "/", wait_until="domcontentloaded")
        assert "vs yesterday" in await window.page.locator("main").inner_text()


async def test_the_first_look_at_the_overview_is_small(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        sizes: dict[str, int] = {}
        session = await window.page.context.new_cdp_session(window.page)
        names: dict[str, str] = {}
        session.on(
            "Network.responseReceived", lambda event: names.update({event["requestId"]: event["response"]["url"]})
        )
        session.on(
            "Network.loadingFinished",
            lambda event: sizes.update({names.get(event["requestId"], "?"): int(event["encodedDataLength"])}),
        )
        await session.send("Network.enable")
        await window.go("/")
        files = {url: size for url, size in sizes.items() if "/api/" not in url}
        assert len(files) > 5
        assert sum(files.values()) <= FIRST_LOAD_BYTES, sorted(files.items(), key=lambda item: -item[1])


@pytest.mark.parametrize(
    "path",
    [
        "/requests?q=key%3Asupport-bot+status%3A%3E%3D400&from=now-7d&sort=-latency&cols=time,status,user,cost",
        "/cost?by=key&from=now-30d&to=now",
        f"/sessions/{RUNAWAY}",
        "/settings/prices",
    ],
)
async def test_a_link_shows_the_same_after_it_is_loaded_anew(
    million: Shown, open_window: OpenWindow, path: str
) -> None:
    async with open_window(million) as window:
        await window.go(path)
        before = await window.page.evaluate(_SHOWN)
        address = window.path
        await window.page.reload()
        await window.settle()
        assert window.path == address
        assert await window.page.evaluate(_SHOWN) == before


async def test_back_undoes_the_last_filter(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        addresses = [window.path]
        for text in ("key:support-bot", "status:>=400"):
            await window.press("/")
            await window.page.keyboard.type(text)
            await window.press("Enter", "Escape")
            addresses.append(window.path)
        assert len(set(addresses)) == 3, addresses
        for address in reversed(addresses[:-1]):
            await window.page.go_back()
            await window.settle()
            assert window.path == address


async def test_the_keyboard_leads_everywhere(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/")
        letters = {
            "r": "Requests",
            "s": "Sessions",
            "u": "Users",
            "c": "Cost",
            "b": "Budgets",
            "p": "Playground",
            "k": "Keys",
        }
        for letter, title in letters.items():
            await window.press("g", letter)
            assert await heading(window) == title


async def test_the_list_of_keys_says_what_the_keys_do(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        await window.press("?")
        dialog = window.page.get_by_role("dialog")
        said = await dialog.inner_text()
        for line in ("Next request", "Previous request", "Filter", "Range of time", "Search or jump to"):
            assert line in said
        assert await axe.complaints(window.page) == []
        await window.press("Escape")
        assert not await dialog.is_visible()


async def test_single_keys_do_nothing_while_somebody_types(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        await window.press("/")
        before = window.path
        await window.page.keyboard.type("jjgr?l.")
        await window.settle()
        assert window.path == before
        assert not await window.page.get_by_role("dialog").count()


@pytest.mark.parametrize(("said", "found"), [("bud", "/budgets"), ("retention", "/settings/retention")])
async def test_the_palette_goes_to_pages(million: Shown, open_window: OpenWindow, said: str, found: str) -> None:
    async with open_window(million) as window:
        await window.go("/")
        await window.press("Control+k")
        await window.page.get_by_role("dialog").get_by_role("combobox").wait_for()
        await window.page.keyboard.type(said)
        await window.settle()
        await window.press("Enter")
        assert window.path == found


async def test_the_palette_takes_an_id_from_anywhere(million: Shown, open_window: OpenWindow) -> None:
    with million.client() as client:
        request = client.get("/api/requests", params={"limit": 1}).json()["requests"][0]
    async with open_window(million) as window:
        await window.go("/cost")
        await window.press("Control+k")
        await window.page.get_by_role("dialog").get_by_role("combobox").wait_for()
        await window.page.keyboard.type(request["id"])
        await window.settle()
        await window.press("Enter")
        await window.page.wait_for_url(f"**/requests/{request['id']}*")


async def test_what_other_tools_link_to_leads_to_the_page(million: Shown, open_window: OpenWindow) -> None:
    with million.client() as client:
        rows = client.get("/api/requests", params={"q": f"session:{RUNAWAY}", "limit": 1}).json()["requests"]
    (request,) = rows
    async with open_window(million) as window:
        for link in (f"/go/req/{request['id']}", "/go/req/msg_9f31c0024"):
            await window.go(link)
            assert window.path.startswith(f"/requests/{request['id']}")
        await window.go(f"/go/session/{RUNAWAY}")
        assert window.path.startswith(f"/sessions/{RUNAWAY}")


async def test_no_text_becomes_a_document(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        window.expects = ["TrustedHTML", "CSP: require-trusted-types-for"]
        await window.go("/")
        said = await window.page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; } catch (e) { return e.name; } }"
        )
        assert said == "TypeError"


async def test_where_colours_are_forced_what_is_chosen_can_still_be_told(
    attacked: Shown, open_window: OpenWindow
) -> None:
    with attacked.client() as client:
        request = client.get("/api/requests", params={"q": "streaming:true", "limit": 1}).json()["requests"][0]
    colours = "(all) => all.map((each) => getComputedStyle(each)[{}])"
    async with open_window(attacked) as window:
        await window.go(f"/requests/{request['id']}")
        page = window.page
        await page.emulate_media(forced_colors="active")
        for chosen, others, part in (
            (".tabs [aria-selected=true]", ".tabs [aria-selected=false]", "'borderBottomColor'"),
            (".nav a[aria-current]", ".nav a:not([aria-current])", "'backgroundColor'"),
            (".rq-bars .room i.wait", ".rq-bars .room", "'backgroundColor'"),
        ):
            (one,) = await page.locator(chosen).evaluate_all(colours.format(part))
            assert one not in await page.locator(others).evaluate_all(colours.format(part)), chosen


@pytest.mark.parametrize("theme", THEMES)
async def test_the_login_page_lets_in_whom_it_knows(million: Shown, open_window: OpenWindow, theme: Theme) -> None:
    async with open_window(million, None, theme=theme, width=390) as window:
        window.expects = ["401", "403"]
        await window.page.goto(million.url + "/cost?by=key")
        await window.page.get_by_label("User").wait_for()
        assert await axe.complaints(window.page) == []
        assert await window.overflowing() == []
        await window.page.get_by_label("User").fill("vera")
        await window.page.get_by_label("Password").fill("not-the-password")
        await window.page.keyboard.press("Enter")
        await window.page.get_by_role("alert").wait_for()
        await window.page.get_by_label("User").fill("vera")
        await window.page.get_by_label("Password").fill(PASSWORDS["vera"][1])
        await window.page.keyboard.press("Enter")
        await window.page.wait_for_url("**/cost?by=key")
        await window.settle()
        assert await heading(window) == "Cost"


async def test_everything_works_below_another_path(start_small: Callable[..., Shown], open_window: OpenWindow) -> None:
    shown = start_small(config={"admin": {"base_path": "/tools/glassline"}})
    async with open_window(shown) as window:
        await window.go("/")
        for letter in "rsucbpk":
            await window.press("g", letter)
            assert window.page.url.startswith(shown.url + "/"), window.page.url
        await window.page.reload()
        await window.settle()
        assert await heading(window) == "Keys"
        await window.go("/requests?from=now-7d")
        await window.page.get_by_role("button", name="Export").click()
        async with window.page.expect_download() as download:
            await window.page.get_by_role("menuitem", name="CSV").click()
        assert (await download.value).url.startswith(f"{shown.url}/api/requests.csv?from=now-7d")
        await window.press("j")
        await window.page.get_by_role("link", name="Open", exact=True).click()
        await window.settle()
        assert window.path.startswith("/requests/")
