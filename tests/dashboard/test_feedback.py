"""Feedback in the dashboard: thumbs on a request, the measure on the overview, and whom they are not offered to."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import httpx
from playwright.async_api import Browser

from proxy.store import SqliteStore
from tests.admin.conftest import Admin
from tests.dashboard import axe
from tests.dashboard.chromium import window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.harness.process import wait_until
from tests.recorder.builders import make_begin, make_record

pytestmark = TOGETHER
CARD = ".rq-feedback"


def unrated(client: httpx.Client) -> str:
    answer = client.get("/api/requests", params={"q": "key:code-review -has:feedback", "limit": 1})
    answer.raise_for_status()
    return str(answer.json()["requests"][0]["id"])


def recorded(client: httpx.Client, id_: str, value: float | None) -> None:
    """Wait until this is what is recorded of a request."""

    def values() -> bool:
        said = client.get(f"/api/requests/{id_}").json()["feedback"]
        return [each["value"] for each in said] == ([] if value is None else [value])

    wait_until(values, f"{value} on {id_}")


async def test_a_thumb_says_it_the_other_one_says_the_opposite_and_again_takes_it_back(
    small: Shown, open_window: OpenWindow
) -> None:
    with small.client("edgar") as client:
        id_ = unrated(client)
        async with open_window(small, "edgar") as shown:
            await shown.go(f"/requests/{id_}")
            card = shown.page.locator(CARD)
            good, bad = (card.get_by_role("button", name=f"{word} answer") for word in ("Good", "Bad"))
            await card.get_by_text("Nobody has said anything of this answer.").wait_for()
            await good.click()
            await card.get_by_text("by you").wait_for()
            assert (await good.get_attribute("aria-pressed"), await bad.get_attribute("aria-pressed")) == (
                "true",
                "false",
            )
            assert await axe.complaints(shown.page) == []
            recorded(client, id_, 1.0)
            await bad.click()
            await card.locator("li[data-level=bad]").wait_for()
            recorded(client, id_, 0.0)
            await shown.go(f"/requests?q=id:{id_}+feedback:negative")
            await shown.page.locator("table").get_by_role("row").nth(1).wait_for()
            await shown.go(f"/requests/{id_}")
            await bad.focus()
            await shown.page.keyboard.press("Enter")
            await card.get_by_text("Nobody has said anything of this answer.").wait_for()
            recorded(client, id_, None)


async def test_a_viewer_sees_what_was_said_and_is_offered_no_thumb(small: Shown, open_window: OpenWindow) -> None:
    with small.client() as client:
        id_ = unrated(client)
        comment = '<img src=x onerror="canary(1)"> \u202ethank you'
        body = {"request": id_, "value": 0.75, "name": "tone", "comment": comment}
        client.post("/api/feedback", json=body).raise_for_status()
        recorded(client, id_, 0.75)
        silent = unrated(client)
    async with open_window(small, "vera") as shown:
        await shown.go(f"/requests/{id_}")
        card = shown.page.locator(CARD)
        text = await card.inner_text()
        assert "75" in text
        assert "tone" in text
        assert "by ada" in text
        assert "<img src=x" in text
        assert await card.get_by_role("button").count() == 0
        await shown.go(f"/requests/{silent}")
        await shown.page.locator(".rq-rail").wait_for()
        assert await card.count() == 0


async def test_the_overview_tells_the_share_and_leads_to_what_people_did_not_like(
    million: Shown, open_window: OpenWindow
) -> None:
    with million.client() as client:
        measured = {each["name"]: each for each in client.get("/api/quality").json()["measures"]}["feedback"]
        assert measured["of"] > 50
        assert measured["share"] > measured["before"]
    async with open_window(million) as shown:
        await shown.go("/")
        card = shown.page.locator(".quality", has_text="Positive feedback")
        await card.locator(".share").wait_for()
        assert f"{measured['share'] * 100:.0f}" in await card.inner_text()
        assert await axe.complaints(shown.page) == []
        await card.get_by_role("link", name="negative").click()
        await shown.page.locator("table").get_by_role("row").nth(1).wait_for()
        assert "feedback:negative" in shown.page.url.replace("%3A", ":")


async def test_where_nobody_has_said_anything_the_card_tells_how(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    now = time.time_ns() // 1_000_000
    with closing(SqliteStore(tmp_path / "data" / "records.db")) as store:
        store.write([make_record(make_begin(started_at_ms=now - 1000 * each)) for each in range(30)], {})
    with closing(Admin(tmp_path / "data")) as admin:
        async with window(browser, f"http://127.0.0.1:{admin.port}") as made:
            await made.go("/")
            card = made.page.locator(".quality", has_text="Positive feedback")
            await card.get_by_text("POST /api/feedback").wait_for()
            assert await card.locator("canvas, svg").count() == 0
            assert await axe.complaints(made.page) == []
            made.assert_well()
