"""The page of one request: what is open, what opens, what the keys do, and what is never fetched."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from playwright.async_api import Browser, Route

from proxy.store import SqliteStore
from tests.admin.conftest import Admin
from tests.dashboard.axe import complaints
from tests.dashboard.chromium import Window, window
from tests.recorder.builders import (
    ANSWER,
    SSE_HEADERS,
    interpreter,
    make_begin,
    make_end,
    make_exchange,
    make_record,
    times_of,
)
from tests.wire.exchanges import DONE, delta, sse

pytestmark = pytest.mark.asyncio(loop_scope="session")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SYSTEM = {"role": "system", "content": "Be the shop's helper. " * 40}
TALK: list[dict[str, Any]] = [
    SYSTEM,
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": "Where is order 88213?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "get_order", "arguments": '{"id": 88213}'}}]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"status": "lost"}'},
]  # fmt: skip
WORDS = ["It ", "is ", "on ", "**its** ", "way."]


def chat(messages: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, **more}).encode()


def streamed(now: int) -> Any:
    pieces = [
        sse(delta({"role": "assistant", "reasoning_content": "Let me see."})),
        *(sse(delta({"content": word})) for word in WORDS),
        sse(delta({}, finish_reason="stop")),
        sse({"choices": [], "usage": {"prompt_tokens": 400, "completion_tokens": 20}}),
        DONE,
    ]
    request, body = chat(TALK, stream=True), b"".join(pieces)
    end = make_end(body, request, headers=SSE_HEADERS, times=times_of(pieces, step_us=60_000), ended_us=900_000)
    begin = make_begin(id="req-2-stream", started_at_ms=now + 1000, session="s-1", user="ann")
    return interpreter().record(make_exchange(begin, end, request, body))


def answered(id_: str, at: int, messages: list[dict[str, Any]], **more: Any) -> Any:
    request = chat(messages, **more)
    session = "s-1" if id_.startswith("req-1") else None
    begin = make_begin(id=id_, started_at_ms=at, session=session)
    return make_record(begin, make_end(ANSWER, request), request=request, response=ANSWER)


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    data_dir = tmp_path_factory.mktemp("request") / "data"
    data_dir.mkdir()
    now = time.time_ns() // 1_000_000 - 60_000
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}
    elsewhere = {"type": "image_url", "image_url": {"url": "https://elsewhere.invalid/a.png"}}
    with closing(SqliteStore(data_dir / "records.db")) as store:
        records = [
            answered("req-1-first", now, TALK[:2]),
            streamed(now),
            answered("req-3-picture", now + 2000, [{"role": "user", "content": [picture, elsewhere]}]),
            answered("req-4-large", now + 3000, [{"role": "user", "content": "word " * 1_800_000}]),
            answered("req-5-other", now + 4000, [{"role": "user", "content": "Where is order 99999?"}], temperature=1),
        ]
        store.write(records, {})
    made = Admin(data_dir)
    yield made
    made.close()


@asynccontextmanager
async def look(browser: Browser, admin: Admin, path: str) -> AsyncIterator[Window]:
    async with window(browser, f"http://127.0.0.1:{admin.port}") as made:
        await made.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await made.go(path)
        yield made
        made.assert_well()


async def test_the_turn_is_open_and_what_is_folded_opens(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-2-stream") as shown:
        main = shown.page.locator(".rq-main")
        await main.locator(".markdown strong").wait_for()
        text = await main.inner_text()
        assert "Where is order 88213?" in text
        assert "It is on its way." in text, "Markdown is rendered"
        assert '"status": "lost"' in text
        assert "Good day." not in text
        assert await main.get_by_text("2 earlier messages, all in the request before").count() == 1
        await main.get_by_role("button", name="Show", exact=True).click()
        await main.get_by_text("Good day.").wait_for()
        await main.get_by_role("button", name="Show thinking").click()
        await main.get_by_text("Let me see.").wait_for()
        await main.get_by_role("button", name="Show about").click()
        assert await main.get_by_text("Be the shop's helper.").count() == 1
        assert await complaints(shown.page) == []


async def test_a_picture_is_fetched_when_it_is_wanted_and_from_nowhere_else(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-3-picture") as shown:
        fetched: list[str] = []
        shown.page.on("request", lambda request: fetched.append(request.url))
        assert await shown.page.locator("main img").count() == 0
        await shown.page.get_by_role("button", name="Show image").click()
        await shown.page.locator("main img").wait_for()
        await shown.settle()
        assert [url.rpartition("/api/")[2] for url in fetched] == ["requests/req-3-picture/blobs/0"]
        assert await shown.page.evaluate("document.querySelector('main img').naturalWidth") == 1
        link = shown.page.get_by_role("link", name="at elsewhere.invalid")
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"


async def test_keys_go_through_requests_and_tabs_and_copy(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-2-stream") as shown:
        page = shown.page

        async def press(key: str) -> str:
            await page.keyboard.press(key)
            await shown.settle()
            return page.url.rpartition("/requests/")[2]

        assert await press("j") == "req-1-first"
        assert await press("k") == "req-2-stream"
        assert await press("k") == "req-3-picture"
        await press("j")
        assert await press("]") == "req-2-stream?tab=request"
        assert await press("]") == "req-2-stream?tab=response"
        assert await press("[") == "req-2-stream?tab=request"
        await page.reload()
        await shown.settle()
        assert await page.get_by_role("tab", selected=True).inner_text() == "Request"
        await page.keyboard.press("c")
        await page.get_by_text("Copied as curl").wait_for()
        assert (await page.evaluate("navigator.clipboard.readText()")).startswith("curl -sS -X POST")
        await page.keyboard.press("y")
        await page.get_by_text("Copied as Link").wait_for()
        assert (await page.evaluate("navigator.clipboard.readText()")).endswith("/requests/req-2-stream?tab=request")
        await press("[")
        await page.get_by_role("textbox", name="Search in messages").focus()
        assert await press("j") == "req-2-stream", "a letter that is typed is a letter"
        await page.keyboard.press("Escape")
        await page.locator("main").focus()
        assert (await press("r")).endswith("/playground?from=req-2-stream")


async def test_a_stream_is_played_back_as_fast_as_it_came(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-2-stream?tab=stream") as shown:
        page, output = shown.page, shown.page.locator(".rq-output")
        whole = "Let me see." + "".join(WORDS)
        assert await output.inner_text() == whole
        assert (
            "5 gaps between events with output: half under 60 ms, the longest 60 ms"
            in await page.locator(".rq-gaps").inner_text()
        )
        await page.get_by_role("slider", name="Position").fill("0")
        assert await output.inner_text() == "Nothing yet."
        await page.get_by_role("button", name="Go on").click()
        await output.get_by_text("way.").wait_for()
        assert await output.inner_text() == whole
        assert await page.locator(".rq-events table").get_attribute("aria-rowcount") == "10"


async def test_events_that_cannot_be_read_are_not_asked_for_again_and_again(browser: Browser, admin: Admin) -> None:
    refused: list[str] = []

    async def answer(route: Route) -> None:
        if "from=0" in route.request.url:
            came = await route.fetch()
            told = await came.json()
            await route.fulfill(response=came, json=told | {"total": told["total"] + 5})
        else:
            refused.append(route.request.url)
            await route.fulfill(status=500, json={"error": {"code": "error", "message": "the disk is tired"}})

    async with look(browser, admin, "/requests") as shown:
        shown.expects = ["500"]
        await shown.page.route("**/events?*", answer)
        await shown.go("/requests/req-2-stream?tab=stream")
        await shown.page.get_by_text("The rest could not be read: the disk is tired").wait_for()
        await shown.settle()
        assert len(refused) == 1
        assert "It is" in await shown.page.locator(".rq-output").inner_text(), "what came is there"


async def test_a_comparison_says_what_differs(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-5-other?tab=compare&with=req-1-first") as shown:
        text = await shown.page.locator(".rq-compare").inner_text()
        assert "temperature" in text
        assert await shown.page.locator(".rq-compare del, .rq-compare .gone").count() > 0
        assert await shown.page.locator(".rq-compare ins, .rq-compare .new").count() > 0
        assert await complaints(shown.page) == []


async def test_words_are_found_also_in_what_is_folded(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-2-stream") as shown:
        box = shown.page.get_by_role("textbox", name="Search in messages")
        await box.fill("HELPER")
        await shown.page.get_by_text("1 of 40").wait_for()
        await box.press("Enter")
        await box.press("Enter")
        await shown.page.get_by_text("2 of 40").wait_for()
        assert await shown.page.evaluate("CSS.highlights.get('rq-found').size") == 40


async def test_a_body_of_nine_megabytes_is_a_tree_and_its_text_can_be_had(browser: Browser, admin: Admin) -> None:
    async with look(browser, admin, "/requests/req-4-large") as shown:
        assert await shown.page.get_by_role("button", name="Show all 9,000,000 characters").count() == 1
        await shown.go("/requests/req-4-large?tab=request")
        await shown.page.get_by_role("tree").wait_for()
        assert await shown.page.get_by_role("treeitem").count() < 60
        assert await shown.overflowing() == []


async def test_a_request_that_is_not_there_is_said_so(browser: Browser, admin: Admin) -> None:
    async with window(browser, f"http://127.0.0.1:{admin.port}") as shown:
        shown.expects.append("404")
        await shown.go("/requests/nobody-knows")
        await shown.page.get_by_text("No request has this id").wait_for()
        shown.assert_well()
