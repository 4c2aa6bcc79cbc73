"""Who may do less sees less: nothing that is offered ends in a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import Error, Locator

from tests.dashboard.chromium import Window
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.places import PLACES

pytestmark = TOGETHER
_BUTTONS = "main button:visible:enabled, header button:visible:enabled"
_MOST = 30
"""Buttons of one page that are tried; rows of a list offer the same again and again."""
_DANGEROUS = ("Log out",)
_MINE = {
    "viewer": ("overview", "requests", "request", "sessions", "session", "users", "user", "cost", "budgets", "keys"),
    "editor": ("keys", "playground"),
}


async def _labels(window: Window) -> list[str]:
    buttons: list[Locator] = await window.page.locator(_BUTTONS).all()
    found = [(await each.get_attribute("aria-label")) or (await each.inner_text()).strip() for each in buttons[:_MOST]]
    return list(dict.fromkeys(label for label in found if label and label not in _DANGEROUS))


@pytest.mark.parametrize("name", [name for name in PLACES if name != "not-found"])
async def test_a_viewer_is_offered_nothing_that_is_refused(
    start_small: Callable[..., Shown], million: Shown, open_window: OpenWindow, name: str
) -> None:
    with million.client("vera") as client:
        path = PLACES[name](client)
    async with open_window(million, "vera") as window:
        await window.go(path)
        for label in await _labels(window):
            await window.turn_to(path)
            button = window.page.locator(_BUTTONS).filter(has_text=label).or_(window.page.get_by_role("button", name=label))
            try:
                await button.first.click(timeout=1500)
            except Error:
                continue  # it is there only while something else is
            await window.settle()
            assert not [each for each in window.troubles if "status 403" in each], (name, label, window.troubles)
            await window.press("Escape", "Escape")
