"""The list of requests with hands on the keyboard: filter, walk, peek, choose, export; and while requests keep coming."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.dashboard.chromium import Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.accounts import key_of
from tests.harness.client import exchange, post

pytestmark = TOGETHER
MOST_ROWS = 60
"""Mounted at once, however long the list is."""


def ask(shown: Shown, said: str, app: str = "support-bot") -> int:
    """Send a request through the proxy; return the status of its answer."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": said}], "max_completion_tokens": 20}
    return exchange(shown.glassline.port, post("/v1/chat/completions", json.dumps(body).encode(), key=key_of(app))).status


async def selected(window: Window) -> str:
    return str(await window.page.evaluate("new URLSearchParams(location.search).get('sel') || ''"))


async def test_j_and_k_walk_through_the_list_and_enter_opens(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        await window.press("j")
        first = await selected(window)
        await window.press("j")
        second = await selected(window)
        assert first != second
        await window.press("k")
        assert await selected(window) == first
        await window.press("Enter")
        assert window.path.startswith(f"/requests/{first}")
        await window.page.go_back()
        await window.settle()
        await window.press("Escape")
        assert await selected(window) == ""


async def test_a_filter_that_cannot_be_understood_says_where(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        window.expects = ["status 400", "400 (Bad Request)"]
        await window.go("/requests")
        await window.press("/")
        await window.page.keyboard.type("colour:red")
        await window.press("Enter")
        said = await window.page.locator("main").inner_text()
        assert "colour" in said


async def test_values_that_were_seen_are_offered_while_typing(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        await window.press("/")
        await window.page.keyboard.type("key:sup", delay=30)
        await window.settle()
        assert "support-bot" in await window.page.get_by_role("listbox").inner_text()


async def test_a_list_of_thousands_mounts_few_rows(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        for _ in range(12):
            await window.page.mouse.move(700, 600)
            await window.page.mouse.wheel(0, 4000)
            await window.settle()
        mounted = await window.page.locator("main [role=row], main tbody tr").count()
        assert 10 < mounted <= MOST_ROWS + 2


async def test_x_chooses_and_the_bar_says_how_many(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        await window.go("/requests")
        await window.press("j", "x", "j", "x")
        assert "2 " in await window.page.get_by_role("toolbar").last.inner_text()


async def test_what_is_exported_is_what_is_on_the_screen(million: Shown, open_window: OpenWindow) -> None:
    query = "/requests?q=user%3Anoor.haddad+status%3A%3E%3D400&from=now-24h&cols=time,status,model"
    async with open_window(million) as window:
        await window.go(query)
        rows = await window.page.locator("main [role=row], main tbody tr").count()
        await window.page.get_by_role("button", name="Export").click()
        async with window.page.expect_download() as downloaded:
            await window.page.get_by_role("menuitem", name="CSV").first.click()
        text = (await (await downloaded.value).path()).read_text()
    lines = text.strip().splitlines()
    assert lines[0].split(",") == ["time", "status", "model"]
    assert len(lines) - 1 >= 5
    assert len(lines) - 1 <= rows


async def test_new_requests_wait_while_somebody_reads(start_small: Callable[..., Shown], open_window: OpenWindow) -> None:
    shown = start_small()
    async with open_window(shown) as window:
        await window.go("/requests")
        await window.press("j", "j", "j")
        before = await selected(window)
        top = await window.page.locator(f"[data-key='{before}'], [aria-selected=true]").first.bounding_box()
        assert await asyncio.to_thread(ask, shown, "Is anybody there?") == 200
        bar = window.page.get_by_text("new request")
        await bar.first.wait_for()
        assert await selected(window) == before
        after = await window.page.locator(f"[data-key='{before}'], [aria-selected=true]").first.bounding_box()
        assert top is not None
        assert after is not None
        assert abs(after["x"] - top["x"]) < 1
        await window.press("Escape", ".")
        await window.page.get_by_text("Is anybody there?").first.wait_for()


async def test_while_live_requests_appear_by_themselves(start_small: Callable[..., Shown], open_window: OpenWindow) -> None:
    shown = start_small()
    async with open_window(shown) as window:
        await window.go("/requests?live=1")
        assert await asyncio.to_thread(ask, shown, "Do you see me?") == 200
        await window.page.get_by_text("Do you see me?").first.wait_for()
