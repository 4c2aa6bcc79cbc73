"""The list of requests: found, counted, followed, chosen and kept, by hand and with the keyboard."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.dashboard import axe
from tests.dashboard.chromium import Window
from tests.dashboard.conftest import SMALL, TOGETHER, OpenWindow, Shown, start_shown, upstreams
from tests.dashboard.seed import seeded
from tests.dashboard.seed.accounts import key_of
from tests.harness import Glassline, Simulator

pytestmark = TOGETHER
WEEK = "from=now-7d"
ROWS = "tbody tr[aria-rowindex]"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, provider: Simulator) -> Iterator[Shown]:
    """One Glassline for all these tests, whose clock goes on: what they add and keep is in nobody's way."""
    shown = start_shown(tmp_path_factory.mktemp("requests"), seeded(SMALL), provider)
    yield shown
    shown.glassline.close()


def asked(page: Page) -> dict[str, str]:
    """Return the parameters of the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def shown(page: Page) -> list[str]:
    """Return the first cells of the rows that are there."""
    found: list[str] = await page.locator(f"{ROWS} td:first-child").all_inner_texts()
    return found


def talk(glassline_url: str, count: int, words: str = "Is the blue one back?") -> None:
    """Ask the provider through Glassline."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}]}
    with httpx.Client(
        timeout=30, trust_env=False, headers={"authorization": f"Bearer {key_of('support-bot')}"}
    ) as client:
        for _ in range(count):
            answer = client.post(f"{glassline_url}/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text


async def open_list(window: Window, query: str = WEEK) -> Page:
    await window.go(f"/requests?{query}")
    await expect(window.page.locator(ROWS).first).to_be_visible()
    return window.page


async def test_a_filter_is_typed_completed_and_undone_by_going_back(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        await page.keyboard.press("/")
        await page.keyboard.type("stat")
        await expect(page.get_by_role("option").first).to_contain_text("status:")
        await page.keyboard.press("Tab")
        await page.keyboard.type("42")
        option = page.get_by_role("option", name=re.compile("429"))
        await expect(option).to_be_visible()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.locator(ROWS).first).to_contain_text("429")
        assert asked(page)["q"] == "status:429"
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Slow").click()
        await expect(page.locator(".filter-chip")).to_have_count(2)
        await page.go_back()
        await expect(page.locator(".filter-chip")).to_have_count(1)
        await page.go_back()
        await expect(page.locator(".filter-chip")).to_have_count(0)
        await page.reload()
        await expect(page.locator(ROWS).first).to_be_visible()
        assert asked(page) == {"from": "now-7d"}


async def test_a_chip_becomes_text_again_and_can_be_taken_away(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window, f"{WEEK}&q=status:200+latency:>1s")
        await page.get_by_role("button", name="Remove status:200").click()
        await expect(page.locator(".filter-chip")).to_have_count(1)
        await page.get_by_label("Filter", exact=True).focus()
        await page.keyboard.press("Backspace")
        await expect(page.get_by_label("Filter", exact=True)).to_have_value("latency:>1s")
        await expect(page.locator(".filter-chip")).to_have_count(0)
        await page.keyboard.press("Backspace")
        await page.keyboard.press("Backspace")
        await page.keyboard.type("2s")
        await page.keyboard.press("Enter")
        await expect(page.locator(".filter-chip")).to_have_text("latency:>2s")


async def test_a_mistake_in_a_filter_is_marked_where_it_is_and_mended(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        window.expects = ["400"]
        await window.go(f"/requests?{WEEK}&q=status:200+modl:gpt-5-mini*")
        page = window.page
        await expect(page.get_by_role("alert")).to_contain_text("there is no field `modl`, perhaps `model`")
        await expect(page.locator("mark")).to_have_text("modl:gpt-5-mini*")
        await expect(page.locator(".filter-chip.wrong")).to_have_text("modl:gpt-5-mini*")
        assert await axe.complaints(page) == []
        await page.get_by_role("button", name="Use status:200 model:gpt-5-mini*").click()
        await expect(page.locator(ROWS).first).to_contain_text("gpt-5-mini")


async def test_an_empty_list_says_which_part_of_the_filter_hides_most(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        await window.go(f"/requests?{WEEK}&q=status:200+latency:>9m")
        await window.page.get_by_role("button", name="Drop latency:>9m").click()
        await expect(window.page.locator(ROWS).first).to_be_visible()
        assert asked(window.page)["q"] == "status:200"


async def test_dragging_over_the_bars_zooms_in_and_a_double_click_out(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        await window.settle()
        box = await page.locator(".histogram .bars").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
        await page.mouse.up()
        await page.wait_for_function("/from=\\d+/.test(location.search)")
        inner = asked(page)
        day = 86_400_000
        assert int(inner["to"]) - int(inner["from"]) == pytest.approx(7 * day / 4, rel=0.05)
        await window.settle()
        await page.locator(".histogram .bars").dblclick()
        await page.wait_for_function(f"!location.search.includes('{inner['from']}')")
        outer = asked(page)
        assert int(outer["from"]) < int(inner["from"])
        assert int(outer["to"]) >= int(inner["to"])


async def test_one_request_is_looked_at_beside_the_list(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        before = await shown(page)
        await page.keyboard.press("j")
        peek = page.get_by_role("complementary", name="Request")
        await expect(peek).to_be_visible()
        first = asked(page)["sel"]
        await page.keyboard.press("j")
        await page.wait_for_function(f"!location.search.includes('{first}')")
        await window.settle()
        assert await axe.complaints(page) == []
        assert (await shown(page))[:5] == before[:5], "nothing moved"
        await page.keyboard.press("k")
        await page.wait_for_function(f"location.search.includes('{first}')")
        await page.keyboard.press("Escape")
        await expect(peek).to_have_count(0)
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_function(f"location.pathname.endsWith('{first}')")
        await page.go_back()
        await expect(peek).to_be_visible()


async def test_chosen_requests_become_a_file_or_a_comparison(
    opened: Shown, open_window: OpenWindow, tmp_path: Path
) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        corner: Any = {"x": 20, "y": 12}
        await page.locator(ROWS).nth(1).click(position=corner, modifiers=["Control"])
        await page.locator(ROWS).nth(5).click(position=corner, modifiers=["Shift"])
        bar = page.get_by_role("toolbar", name="Chosen requests")
        await expect(bar).to_contain_text("5 requests chosen")
        assert await axe.complaints(page) == []
        async with page.expect_download() as download:
            await bar.get_by_role("button", name="CSV").click()
        await (await download.value).save_as(tmp_path / "chosen.csv")
        rows = list(csv.DictReader((tmp_path / "chosen.csv").read_text().splitlines()))
        assert len(rows) == 5
        assert list(rows[0])[:3] == ["started_at", "status", "outcome"]
        await page.keyboard.press("Escape")
        await expect(bar).to_have_count(0)
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await expect(bar).to_contain_text("2 requests chosen")
        await bar.get_by_role("button", name="Compare").click()
        await page.wait_for_function("location.search.includes('tab=compare')")


async def test_the_export_is_what_is_on_the_screen(opened: Shown, open_window: OpenWindow, tmp_path: Path) -> None:
    async with open_window(opened) as window:
        page = await open_list(window, f"{WEEK}&q=failed:true&cols=time,model,error,cost&sort=-latency")
        await page.get_by_role("button", name="Export").click()
        async with page.expect_download() as download:
            await page.get_by_role("menuitem", name="JSON lines", exact=True).click()
        await (await download.value).save_as(tmp_path / "list.jsonl")
        rows = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
        with opened.client() as client:
            total = client.get("/api/requests/count", params={"from": "now-7d", "q": "failed:true"}).json()["requests"]
        assert len(rows) == pytest.approx(total, abs=2), "the clock goes on"
        assert list(rows[0]) == ["started_at", "model", "model_requested", "error_code", "error_message", "cost_usd"]
        model = await page.locator(f"{ROWS} td:nth-child(2)").first.inner_text()
        assert model == rows[0]["model"] or model == rows[0]["model_requested"]


async def test_columns_are_added_moved_and_taken_away(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        await page.get_by_role("button", name="Columns").click()
        dialog = page.get_by_role("dialog", name="Columns")
        assert await axe.complaints(page) == []
        await dialog.get_by_text("Session", exact=True).click()
        await dialog.get_by_text("User", exact=True).click()
        await dialog.get_by_role("button", name="Move Session to the left").click()
        await dialog.get_by_role("button", name="Done").click()
        await expect(page.locator("thead th").last).to_contain_text("Cost")
        assert asked(page)["cols"] == "time,status,model,message,latency,tokens,session,cost"


async def test_a_view_is_kept_under_a_name_and_found_again(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window, f"{WEEK}&q=failed:true&sort=-cost")
        await page.get_by_role("button", name="Saved views").click()
        await page.get_by_role("menuitem", name="Save this view").click()
        await page.get_by_label("Name").fill("Dear failures")
        await page.get_by_label("For everybody").check()
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("button", name="Saved views")).to_contain_text("Dear failures")
    async with open_window(opened, "vera") as window:
        page = await open_list(window, WEEK)
        await page.get_by_role("button", name="Saved views").click()
        await page.get_by_role("menuitem", name="Dear failures").click()
        await page.wait_for_function("location.search.includes('failed')")
        assert asked(page) | {"view": ""} == {"from": "now-7d", "q": "failed:true", "sort": "-cost", "view": ""}


async def test_the_palette_opens_a_saved_view(opened: Shown, open_window: OpenWindow) -> None:
    wanted = {"page": "requests", "name": "Slow ones", "query": "q=latency:>8s&from=now-7d"}
    with opened.client() as client:
        view = client.post("/api/views", json=wanted).raise_for_status().json()
    async with open_window(opened) as window:
        await window.go("/cost")
        await window.press("Control+k")
        await window.page.get_by_role("dialog").get_by_role("combobox").wait_for()
        await window.page.keyboard.type("slow on")
        await window.settle()
        await window.press("Enter")
        assert window.path.startswith("/requests?")
        assert asked(window.page) == {"q": "latency:>8s", "from": "now-7d", "view": str(view["id"])}


@pytest.mark.parametrize("name", ["requests", "users"])
async def test_a_list_that_cannot_be_read_on_says_so_and_does_not_insist(
    opened: Shown, open_window: OpenWindow, name: str
) -> None:
    further = re.compile(rf"/api/{name}\?.*before=")
    refused: list[str] = []

    async def refuse(route: Route) -> None:
        refused.append(route.request.url)
        await route.fulfill(status=500, json={"error": {"code": "error", "message": "the disk is tired"}})

    async with open_window(opened) as window:
        window.expects = ["500"]
        page = window.page
        await page.route(further, refuse)
        await window.go(f"/{name}?{WEEK}")
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        await expect(page.get_by_role("alert")).to_contain_text("The rest could not be read: the disk is tired")
        await window.settle()
        assert len(refused) == 1
        await page.unroute(further)
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_new_requests_wait_until_they_are_asked_for(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        before = await shown(page)
        await asyncio.to_thread(talk, opened.glassline.url, 3)
        bar = page.locator(".new-bar")
        await expect(bar).to_contain_text("3 new requests")
        assert (await shown(page))[:15] == before[:15]
        await page.keyboard.press(".")
        await expect(bar).to_have_count(0)
        await expect(page.locator(ROWS).first).to_contain_text("Is the blue one back?")
        assert (await shown(page))[3:8] == before[:5]


async def test_another_order_has_nothing_new_on_top(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        await asyncio.to_thread(talk, opened.glassline.url, 2, "cheap")
        await expect(page.locator(".new-bar")).to_contain_text("2 new requests")
        await page.keyboard.press(".")
        await expect(page.locator(ROWS).first).to_contain_text("cheap")
        await page.get_by_role("columnheader", name="Cost").get_by_role("button").first.click()
        await page.wait_for_function("location.search.includes('sort=-cost')")
        await window.settle()
        await expect(page.locator(ROWS).first).not_to_contain_text("cheap")


async def test_only_what_a_list_does_not_hold_waits(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page, bar = await open_list(window), window.page.locator(".new-bar")
        await asyncio.to_thread(talk, opened.glassline.url, 2, "held")
        await expect(bar).to_contain_text("2 new requests")
        await page.keyboard.press("t")
        await page.get_by_role("button", name="Last 30 days").click()
        await expect(page.locator(ROWS).first).to_contain_text("held")
        await asyncio.to_thread(talk, opened.glassline.url, 1, "not held")
        await expect(bar).to_contain_text("1 new request,")


async def test_live_follows_at_the_top_and_moves_nothing_elsewhere(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window)
        await page.keyboard.press("l")
        await expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")
        await asyncio.to_thread(talk, opened.glassline.url, 2, "followed")
        await expect(page.locator(ROWS).nth(1)).to_contain_text("followed")
        await page.mouse.move(700, 500)
        await page.mouse.wheel(0, 1500)
        await page.wait_for_function("scrollY > 1000")
        await window.settle()
        places = "(cells) => cells.map((cell) => [cell.innerText, Math.round(cell.getBoundingClientRect().top)])"
        before = await page.locator(f"{ROWS} td:first-child").evaluate_all(places)
        await asyncio.to_thread(talk, opened.glassline.url, 2, "unseen")
        await expect(page.locator(".new-bar")).to_contain_text("2 new requests")
        assert await page.locator(f"{ROWS} td:first-child").evaluate_all(places) == before
        await page.evaluate("scrollTo(0, 0)")
        await expect(page.locator(ROWS).first).to_contain_text("unseen")
        await expect(page.locator(".new-bar")).to_have_count(0)


async def test_a_second_filter_colours_rows_and_hides_none(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        page = await open_list(window, f"{WEEK}&live=1")
        before = await shown(page)
        await page.get_by_label("Highlight").fill("status:200")
        await page.keyboard.press("Enter")
        await expect(page.locator("tr.lit").first).to_be_visible()
        assert (await shown(page))[:5] == before[:5]


async def test_a_mistake_in_what_is_to_be_highlighted_is_said(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened) as window:
        window.expects = ["400"]
        page = await open_list(window, f"{WEEK}&live=1")
        await page.get_by_label("Highlight").fill("modl:gpt-5*")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("there is no field `modl`, perhaps `model`")
        await expect(page.locator(ROWS).first).to_be_visible()


async def test_on_a_phone_every_request_is_a_card_and_opens_from_below(opened: Shown, open_window: OpenWindow) -> None:
    async with open_window(opened, width=390, theme="dark") as window:
        page = await open_list(window)
        assert await window.overflowing() == []
        await page.locator(ROWS).nth(2).tap(position={"x": 30, "y": 12})
        await expect(page.get_by_role("complementary", name="Request")).to_be_visible()
        await window.settle()
        assert await window.overflowing() == []
        assert await axe.complaints(page) == []


@pytest.fixture
def empty(tmp_path: Path, provider: Simulator) -> Iterator[Shown]:
    """A Glassline that has recorded nothing and asks nobody who they are."""
    with closing(Glassline(tmp_path / "empty", {"upstreams": upstreams(provider)})) as glassline:
        glassline.start()
        yield Shown(glassline, {}, None)


async def test_before_the_first_request_the_page_says_how_to_send_one(empty: Shown, open_window: OpenWindow) -> None:
    async with open_window(empty, None) as window:
        await window.go("/requests")
        page = window.page
        await expect(page.get_by_role("heading", name="Nothing was recorded yet")).to_be_visible()
        await expect(page.locator("pre")).to_contain_text("/v1/chat/completions")
        assert await axe.complaints(page) == []
        await asyncio.to_thread(talk, empty.glassline.url, 1, "the first")
        await expect(page.locator(ROWS).first).to_contain_text("the first")
