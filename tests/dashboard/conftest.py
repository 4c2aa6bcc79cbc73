"""A Glassline with a million requests, whose clock stands still, and windows onto it.

The tests of a file, or all of them, run in one worker and share an event loop, a Chromium and a Glassline: they only
look. Who changes something starts a Glassline of its own from a small seed.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Browser

from tests.dashboard.chromium import Theme, Window, chromium, window
from tests.dashboard.seed import END, MILLION, Seed, seeded
from tests.dashboard.seed.accounts import PASSWORDS
from tests.harness import Glassline, Simulator, faketime
from tests.harness.process import wait_until

TOGETHER: Final = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("dashboard"),
    pytest.mark.timeout(600),  # the first one may have to make the seed
]
"""Marks of every test that looks through a window: `pytestmark = TOGETHER`."""
ROWS: Final = int(os.environ.get("GLASSLINE_SEED_ROWS", MILLION))
"""Requests of the Glassline that is only looked at. Fewer make a quick look while pages are being written."""
SMALL: Final = 4_000
"""Requests of a seed that is made within seconds."""
OpenWindow = Callable[..., AbstractAsyncContextManager[Window]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A Glassline, and who may log in to it."""

    glassline: Glassline
    states: Mapping[str, Any]
    """Cookies of each user."""
    now: datetime | None
    """Its clock stands still there. None: it goes."""

    @property
    def url(self) -> str:
        """Root of its admin port, with the base path if there is one."""
        return self.glassline.admin_url + str(self.base)

    @property
    def base(self) -> str:
        """The path under which its dashboard is."""
        return _base_path(self.glassline)

    def client(self, user: str = "ada") -> httpx.Client:
        """Return a client that asks as a user."""
        return httpx.Client(base_url=self.url, auth=(user, PASSWORDS[user][1]), timeout=20, trust_env=False)


def _base_path(glassline: Glassline) -> str:
    config = yaml.safe_load(glassline.config_file.read_text()) or {}
    return str(config.get("admin", {}).get("base_path", "")).rstrip("/")


def start_shown(
    directory: Path,
    seed: Seed,
    provider: Simulator,
    *,
    stands_still: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Shown:
    """Start a Glassline on a copy of a seed, its clock where the seed ends."""
    seed.copy_to(directory / "data")
    env = faketime.standing_at(END) if stands_still else faketime.starting_at(END)
    whole = {**seed.config, "upstreams": upstreams(provider), "retention": {"bodies": "30d"}, **(config or {})}
    glassline = Glassline(directory, whole, env=env)
    glassline.start()
    try:
        base = f"{glassline.admin_url}{_base_path(glassline)}"
        return Shown(glassline, {user: _log_in(base, user) for user in PASSWORDS}, END if stands_still else None)
    except BaseException:
        glassline.close()
        raise


def upstreams(provider: Simulator) -> dict[str, Any]:
    """Return the upstreams of the seed, all of them the same simulated provider."""
    local = {"allow_private": True, "api_key": "sk-simulated"}
    root = provider.url.removesuffix("/v1")
    return {
        "openai": {"base_url": f"{root}/v1", "wire": "openai", "provider": "openai", **local},
        "anthropic": {"base_url": root, "wire": "anthropic", "provider": "anthropic", **local},
        "gemini": {"base_url": root, "wire": "gemini", "provider": "google", **local},
        "groq": {"base_url": f"{root}/v1", "wire": "openai", "provider": "groq", **local},
    }


def _log_in(url: str, user: str) -> dict[str, Any]:
    """Return the cookies that a browser has after logging in."""
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        page = client.get("/login")
        fields = dict(_hidden_fields(page.text))
        answer = client.post(
            "/login", data={**fields, "user": user, "password": PASSWORDS[user][1]}, headers={"origin": _origin(url)}
        )
        assert answer.status_code in (302, 303), answer.text
        jar = [
            {"name": each.name, "value": each.value, "domain": "127.0.0.1", "path": each.path, "expires": -1}
            | {"httpOnly": True, "secure": False, "sameSite": "Lax"}
            for each in client.cookies.jar
        ]
    return {"cookies": jar, "origins": []}


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _hidden_fields(html: str) -> Iterator[tuple[str, str]]:
    for field in re.findall(r"<input[^>]*type=\"?hidden\"?[^>]*>", html):
        name, value = (re.search(rf'{part}="([^"]*)"', field) for part in ("name", "value"))
        if name:
            yield name[1], value[1] if value else ""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with chromium() as made:
        yield made


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulated provider for all upstreams."""
    made = Simulator(tmp_path_factory.mktemp("provider"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory, provider: Simulator) -> Iterator[Shown]:
    """A Glassline with a million requests, at a Thursday afternoon that does not pass."""
    shown = start_shown(tmp_path_factory.mktemp("million"), seeded(ROWS), provider, stands_still=True)
    try:
        _warm_up(shown)
        yield shown
    finally:
        shown.glassline.close()


def _warm_up(shown: Shown) -> None:
    """Ask what reads most until it is answered: from a cold disk it takes longer than a question may."""
    with shown.client() as client:
        for path in ("/api/quality", "/api/deployments", "/api/requests/histogram", "/api/sessions", "/api/users"):
            wait_until(lambda: client.get(path).is_success or None, f"an answer from {path}", timeout_s=60)  # noqa: B023 (now)


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory, provider: Simulator) -> Iterator[Shown]:
    """A Glassline whose newest requests are attacks."""
    shown = start_shown(
        tmp_path_factory.mktemp("attacked"), seeded(SMALL, is_hostile=True), provider, stands_still=True
    )
    yield shown
    shown.glassline.close()


@pytest.fixture
def start_small(tmp_path: Path, provider: Simulator) -> Iterator[Callable[..., Shown]]:
    """Start Glasslines with a few thousand requests, to be changed."""
    with ExitStack() as stack:

        def start(**options: Any) -> Shown:
            directory = tmp_path / f"small-{len(list(tmp_path.iterdir()))}"
            shown = start_shown(directory, seeded(SMALL), provider, **options)
            stack.callback(shown.glassline.close)
            return shown

        yield start


@pytest.fixture
def small(start_small: Callable[..., Shown]) -> Shown:
    """One of them."""
    return start_small()


@pytest_asyncio.fixture(loop_scope="session")
async def open_window(browser: Browser) -> OpenWindow:
    """Open a window onto a Glassline, logged in as somebody; what went wrong in it fails the test."""

    @asynccontextmanager
    async def opened(
        shown: Shown, user: str | None = "ada", *, theme: Theme = "light", width: int = 1440, has_script: bool = True
    ) -> AsyncIterator[Window]:
        state = shown.states[user] if user else None
        async with window(
            browser, shown.url, theme=theme, width=width, now=shown.now, state=state, has_script=has_script
        ) as made:
            yield made
            made.assert_well()

    return opened
