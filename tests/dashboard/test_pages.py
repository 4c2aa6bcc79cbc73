"""Every page, light and dark, on a desk and on a phone."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import Browser

from tests.dashboard import axe
from tests.dashboard.chromium import THEMES, WIDTHS
from tests.dashboard.conftest import TOGETHER, OpenWindow, Shown
from tests.dashboard.pictures import MOST_CHANGED, compare, path_of
from tests.dashboard.places import PLACES

pytestmark = TOGETHER
TAKES_PICTURES = bool(os.environ.get("GLASSLINE_SCREENSHOTS"))
_HIDE_VOLATILE = "document.querySelectorAll('[data-volatile]').forEach((each) => { each.style.visibility = 'hidden'; })"
"""What differs from run to run, such as how long something took."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PLACES)
async def test_a_page_is_sound_and_looks_as_in_the_gallery(
    million: Shown, open_window: OpenWindow, browser: Browser, name: str, width: int
) -> None:
    with million.client() as client:
        path = PLACES[name](client)
    async with open_window(million, theme=THEMES[0], width=width) as window:
        if name == "not-found":
            window.expects = ["404"]
        await window.go(path)
        assert await window.overflowing() == []
        await window.page.evaluate(_HIDE_VOLATILE)
        for theme in THEMES:
            await window.page.emulate_media(color_scheme=theme)
            await window.settle()
            assert await axe.complaints(window.page) == [], theme
            picture = await window.page.screenshot(animations="disabled", caret="initial")
            await _compare(browser, f"{name}-{theme}-{width}", picture)


async def _compare(browser: Browser, name: str, picture: bytes) -> None:
    file = path_of(name)
    if TAKES_PICTURES:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        return
    assert file.exists(), "not in the gallery: make screenshots"
    difference = await compare(browser, file.read_bytes(), picture)
    if difference.changed > MOST_CHANGED:
        now = file.with_suffix(".now.png")
        now.write_bytes(picture)
        pytest.fail(f"{name} looks different: {difference.text}; see {now}, and if that is meant: make screenshots")
