"""Chromium, as Debian ships it: found, started, and watched while it shows pages."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    async_playwright,
)

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
WIDTHS: Final = {1440: 900, 390: 844}
"""Of a desk and of a phone, each with its height."""
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
_SETTLED_S: Final = 0.15
"""So long nothing is fetched any more."""
_PATIENCE_S: Final = 15.0
_SETTLED: Final = "!document.querySelector('[aria-busy=\"true\"], .bone') && document.fonts.status === 'loaded'"
_TURN_TO: Final = """(path) => {
    history.pushState(null, '', path);
    dispatchEvent(new PopStateEvent('popstate'));
}"""
_WATCH: Final = """
window.canaries = [];
window.canary = (name) => { window.canaries.push(String(name)); };
document.addEventListener('securitypolicyviolation', (event) => {
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


def find_chromium() -> str:
    """Return the program; skip when it is missing, but fail under CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), "")
    if not found:
        missing = "Chromium is missing: run tests/system/install.sh"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """A page in Chromium, and everything that went wrong in it."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.troubles: list[str] = []
        """Errors on the console, broken policies, failed requests, requests to elsewhere."""
        self.expects: list[str] = []
        """Parts of troubles that a test brings about on purpose."""
        self._under_way: set[Request] = set()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.troubles.append(f"exception: {error}"))
        page.on("request", self._on_request)
        page.on("requestfinished", lambda request: self._under_way.discard(request))
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    async def go(self, path: str) -> None:
        """Open a page of the dashboard and wait until it has settled."""
        await self.page.goto(self.base_url + path)
        await self.settle()

    async def turn_to(self, path: str) -> None:
        """Go to another page as a link does: what is loaded already stays."""
        await self.page.evaluate(_TURN_TO, urlsplit(self.base_url).path + path)
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, and wait until that has settled."""
        for key in keys:
            await self.page.keyboard.press(key)
        await self.settle()

    @property
    def path(self) -> str:
        """Path and query of the page, below the base path."""
        return self.page.url.removeprefix(self.base_url) or "/"

    async def settle(self) -> None:
        """Wait until nothing is loading any more."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        quiet_since: float | None = None
        while (now := asyncio.get_running_loop().time()) < deadline:
            if self._under_way or not await self.page.evaluate(_SETTLED):
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= _SETTLED_S:
                return
            await asyncio.sleep(0.02)
        waited = [request.url for request in self._under_way]
        raise AssertionError(f"{self.page.url} is still loading: {waited or 'something says that it is busy'}")

    def assert_well(self) -> None:
        """Fail if anything went wrong that was not meant to."""
        unexpected = [each for each in self.troubles if not any(part in each for part in self.expects)]
        assert not unexpected, f"{self.page.url}:\n" + "\n".join(unexpected)

    async def overflowing(self) -> list[str]:
        """Return what sticks out of the page sideways; empty: it can not be scrolled that way."""
        found: list[str] = await self.page.evaluate(_OVERFLOWING)
        return found

    async def canaries(self) -> list[str]:
        """Return the names of attacks that ran."""
        found: list[str] = await self.page.evaluate("window.canaries")
        return found

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not _is_ours(request.url, self.base_url):
            self.troubles.append(f"elsewhere: {request.url}")
        elif request.resource_type != "eventsource" and "text/event-stream" not in request.headers.get("accept", ""):
            self._under_way.add(request)

    def _on_failure(self, request: Request) -> None:
        self._under_way.discard(request)
        # What a page no longer wants is cancelled: by leaving it, or by typing on.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"status {response.status}: {response.request.method} {response.url}")


_OVERFLOWING: Final = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = (element) => {
        for (let each = element.parentElement; each; each = each.parentElement)
            if (getComputedStyle(each).overflowX !== 'visible') return true;
        return false;
    };
    return [...document.body.querySelectorAll('*')]
        .filter((each) => each.getBoundingClientRect().right > width + 0.5 && !scrolls(each))
        .slice(0, 8)
        .map((each) => `${each.tagName.toLowerCase()}.${each.className} ends at ${each.getBoundingClientRect().right} of ${width}`)
        .concat(`the page is ${document.documentElement.scrollWidth} wide`);
}"""


def _is_ours(url: str, base_url: str) -> bool:
    wanted, ours = urlsplit(url), urlsplit(base_url)
    return wanted.scheme in ("data", "blob", "about") or (wanted.scheme, wanted.netloc) == (ours.scheme, ours.netloc)


@asynccontextmanager
async def window(
    browser: Browser,
    base_url: str,
    *,
    theme: Theme = "light",
    width: int = 1440,
    now: datetime | None = None,
    state: Any = None,
    has_script: bool = True,
) -> AsyncIterator[Window]:
    """Open a window of its own, with nobody's cookies but those of `state`; `now`: its clock stands still."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": WIDTHS.get(width, 900)},
        color_scheme=theme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        storage_state=state,
        java_script_enabled=has_script,
        has_touch=width < 500,
    )
    try:
        await context.add_init_script(_WATCH)
        page = await context.new_page()
        page.set_default_timeout(_PATIENCE_S * 1000)
        if now is not None:
            await page.clock.set_fixed_time(now)
        yield Window(page, base_url)
    finally:
        await context.close()
