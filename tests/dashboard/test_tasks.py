"""Three tasks as somebody would do them who has never been here: how many clicks and keys each takes, and how long.

With GLASSLINE_REPORT=1 what was counted is written to `docs/dashboard-tasks.md`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Locator

from tests.dashboard.chromium import Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.seed.shop import RUNAWAY, UNLUCKY
from tests.harness.client import exchange, post
from tests.harness.process import ROOT

pytestmark = TOGETHER
PAGE = ROOT / "docs" / "dashboard-tasks.md"


@dataclass(slots=True)
class Hands:
    """A person's hands: what they do is counted."""

    window: Window
    clicks: int = 0
    keys: int = 0
    steps: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    async def click(self, what: Locator, why: str) -> None:
        await what.click()
        await self.window.settle()
        self.clicks += 1
        self.steps.append(why)

    async def press(self, *keys: str, why: str) -> None:
        await self.window.press(*keys)
        self.keys += len(keys)
        self.steps.append(why)

    async def type(self, text: str, why: str) -> None:
        await self.window.page.keyboard.type(text)
        await self.window.settle()
        self.keys += len(text)
        self.steps.append(why)

    def line(self) -> str:
        took = time.monotonic() - self._began
        clicks = "no click" if not self.clicks else f"{self.clicks} click{'s' if self.clicks > 1 else ''}"
        return f"{clicks}, {self.keys} key{'s' if self.keys > 1 else ''}; {took:.1f} s without the time to think"


_DONE: dict[str, Hands] = {}


@pytest.fixture(scope="module", autouse=True)
def _report() -> object:
    yield
    if os.environ.get("GLASSLINE_REPORT") and len(_DONE) == 3:
        parts = [
            "# Three tasks",
            "",
            "Done by `tests/dashboard/test_tasks.py` from the overview on, as somebody would who knows only what the pages say.",
            "Typing a word counts each of its letters.",
        ]
        for title, hands in sorted(_DONE.items()):
            parts += [
                "",
                f"## {title}",
                "",
                *(f"{number}. {step}" for number, step in enumerate(hands.steps, 1)),
                "",
                f"{hands.line()}.",
            ]
        PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")


async def test_yesterdays_most_expensive_session_is_found_and_why(million: Shown, open_window: OpenWindow) -> None:
    async with open_window(million) as window:
        page = window.page
        await window.go("/")
        hands = Hands(window)
        await hands.click(page.get_by_role("link", name="Sessions").first, "Click *Sessions*.")
        await hands.press("t", why="Press `t` for the range of time.")
        await hands.click(page.get_by_text("Yesterday", exact=True), "Choose *Yesterday*.")
        await hands.click(
            page.get_by_role("columnheader", name="Cost").get_by_role("button").first,
            "Click the heading *Cost*: the dearest come first.",
        )
        await hands.click(page.locator("tbody tr[aria-rowindex]").first, "Open the first one.")
        assert window.path.startswith(f"/sessions/{RUNAWAY}")
        said = await page.locator("main").inner_text()
        assert "read_file" in said, "why: it read the same file again and again"
        assert "claude-opus-4-1" in said
        hands.steps.append(
            "Read: 24 turns of `claude-opus-4-1`, each of which calls `read_file` for the same file and sends all of it again."
        )
        _DONE["1. Yesterday's most expensive session, and why"] = hands


async def test_the_failed_requests_of_a_user_are_found_and_one_is_replayed(
    small: Shown, open_window: OpenWindow
) -> None:
    async with open_window(small) as window:
        page = window.page
        await window.go("/")
        hands = Hands(window)
        await hands.press("g", "r", why="Press `g r` for the requests.")
        await hands.press("/", why="Press `/` for the filter.")
        await hands.type(f"user:{UNLUCKY} failed:true", f"Type `user:{UNLUCKY} failed:true`.")
        await hands.press("Enter", "Escape", why="Press Enter, and Escape to leave the filter.")
        rows = page.locator("tbody tr[aria-rowindex]")
        assert await rows.count() >= 5
        await hands.press("j", "Enter", why="Press `j` and Enter: the first of them.")
        await hands.press("r", why="Press `r`: replay with edits.")
        assert window.path.startswith("/playground")
        await page.get_by_role("button", name="Replay").wait_for()
        await hands.press(
            "Control+Enter", why="Press Ctrl and Enter: it is sent again, and its answer stands beside the old one."
        )
        await page.locator(".pg-runs").get_by_role("link", name="Open the request").wait_for()
        _DONE["2. All failed requests of one user, and one of them replayed"] = hands


async def test_a_key_with_a_cap_of_five_dollars_a_day_is_made_and_refuses(
    start_small: Callable[..., Shown], open_window: OpenWindow
) -> None:
    shown = start_small()
    async with open_window(shown) as window:
        page = window.page
        await window.go("/")
        hands = Hands(window)
        await hands.press("g", "k", why="Press `g k` for the keys.")
        await hands.press("n", why="Press `n` for a new one.")
        await page.get_by_role("textbox", name="Name").focus()
        await hands.type("reports", "Type its name; a cap of $5 a day is proposed already.")
        assert await page.get_by_label("US dollars").input_value() == "5"
        assert await page.get_by_label("Window").input_value() == "day"
        await hands.press("Enter", why="Press Enter: the key is shown, once, with a command to try it.")
        await page.get_by_role("heading", name="reports is made").wait_for()
        secret = await page.locator(".ky-secret code").inner_text()
        await hands.click(
            page.get_by_role("button", name="Send a small request"), "Click *Send a small request*: it works."
        )
        await page.locator(".ky-trying .pill").wait_for()
        status, said = await asyncio.to_thread(_ask_too_much, shown, secret)
        assert status == 429
        assert "5.00" in said
        hands.steps.append(
            "Send a request that may cost more than $5 with it: the answer is 429, and says which budget refused and until when."
        )
        _DONE["3. A key with a cap of $5 a day, seen to refuse"] = hands


def _ask_too_much(shown: Shown, secret: str) -> tuple[int, str]:
    body = {"model": "gpt-5-pro", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 120_000}
    answer = exchange(shown.glassline.port, post("/v1/chat/completions", json.dumps(body).encode(), key=secret))
    return answer.status, answer.body.decode()
