"""Who may do less sees less: nothing that is offered ends in a refusal."""

from __future__ import annotations

import pytest
from playwright.async_api import Error

from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.places import PLACES

pytestmark = TOGETHER
_BUTTONS = "main button:visible:enabled, header .tools button:visible:enabled"
_MOST = 24
"""Buttons of one page that are tried; rows of a list offer the same again and again."""
_LOOKED_AT = ("overview", "requests", "request", "sessions", "session", "users", "user", "cost", "budgets", "keys")


@pytest.mark.parametrize("user", ["vera", "edgar"])
@pytest.mark.parametrize("name", _LOOKED_AT)
async def test_whoever_may_less_is_offered_nothing_that_is_refused(
    attacked: Shown, open_window: OpenWindow, name: str, user: str
) -> None:
    with attacked.client(user) as client:
        path = PLACES[name](client)
    async with open_window(attacked, user) as window:
        await window.go(path)
        offered, tried = await window.page.locator(_BUTTONS).count(), 0
        for at in range(min(_MOST, offered)):
            try:
                await window.page.locator(_BUTTONS).nth(at).click(timeout=1000, no_wait_after=True)
            except Error:
                continue  # it is gone, or under what the last one opened
            tried += 1
            await window.page.keyboard.press("Escape")
            if window.path.partition("?")[0] != path.partition("?")[0]:
                await window.turn_to(path)
        await window.settle()
        assert tried or not offered, "nothing could be pressed"
        assert not [each for each in window.troubles if "403" in each], window.troubles
