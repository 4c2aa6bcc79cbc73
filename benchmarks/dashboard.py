"""How fast the dashboard is with a million requests, as somebody in front of it would say.

    make ui-bench

Starts a Glassline on the seed of the dashboard's tests and looks at it with Chromium, several times each; writes
`docs/dashboard-performance.md`. Times are those of this machine while it did this; sizes are the same everywhere, and
`tests/dashboard` holds them to their limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser

from tests.dashboard.chromium import Window, chromium, window
from tests.dashboard.conftest import Shown, start_shown
from tests.dashboard.seed import MILLION, seeded
from tests.dashboard.seed.accounts import key_of
from tests.harness import Simulator
from tests.harness.process import ROOT

PAGE: Final = ROOT / "docs" / "dashboard-performance.md"
ROUNDS: Final = 7
SCROLLED_ROWS: Final = 5_000
LIVE_PER_S: Final = 200
LIVE_S: Final = 15
PATIENCE_S: Final = 20
_QUESTIONS: Final = (
    ("the newest page", "/api/requests?limit=100"),
    ("a key's errors of a week", "/api/requests?q=key:support-bot+status:>=400&from=now-7d&limit=100"),
    ("the dearest of a month", "/api/requests?sort=-cost&from=now-30d&limit=100"),
    ("bars of a day", "/api/requests/histogram?from=now-24h"),
    ("how many there are in a day", "/api/requests/count?from=now-24h"),
    ("the overview", "/api/status"),
    ("a month by model and day", "/api/cost?by=model&from=now-30d"),
    ("sessions of a day by cost", "/api/sessions?from=now-24h&sort=-cost"),
    ("users of a week by cost", "/api/users?from=now-7d&sort=-cost"),
)
_ROW: Final = "tbody tr[aria-rowindex]"
_UNTIL_ROWS: Final = f"""() => new Promise((done) => {{
    const look = () => document.querySelector('{_ROW}') ? requestAnimationFrame(() => done(performance.now())) : setTimeout(look, 1);
    look();
}})"""
_UNTIL_ANSWERED: Final = f"""(path) => new Promise((done) => {{
    performance.clearResourceTimings();
    const start = performance.now();
    const isAnswered = () => performance.getEntriesByType('resource')
        .some((each) => each.name.includes('/api/requests?') && each.startTime >= start && each.responseEnd > 0);
    const look = () => {{
        if (isAnswered() && document.querySelector('{_ROW}') && !document.querySelector('[data-stale=true]'))
            requestAnimationFrame(() => done(performance.now() - start));
        else setTimeout(look, 1);
    }};
    history.pushState(null, '', path);
    dispatchEvent(new PopStateEvent('popstate'));
    look();
}})"""
_WATCH_FRAMES: Final = f"""(stop) => {{
    const frames = window.frames_seen = {{gaps: [], blank: 0, most: 0}};
    let last = performance.now();
    const look = (now) => {{
        frames.gaps.push(now - last);
        last = now;
        const rows = document.querySelectorAll('{_ROW}');
        frames.most = Math.max(frames.most, rows.length);
        const middle = document.elementFromPoint(700, 600);
        if (!middle || !middle.closest('tr')) frames.blank += 1;
        window.watching = requestAnimationFrame(look);
    }};
    window.watching = requestAnimationFrame(look);
}}"""
_FRAMES: Final = "() => { cancelAnimationFrame(window.watching); return window.frames_seen; }"


@dataclass(frozen=True, slots=True)
class Line:
    """One measure."""

    name: str
    value: str
    wanted: str = ""


async def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory(prefix="glassline-ui-bench-") as directory:
        place = Path(directory)
        with closing(Simulator(place / "provider")) as provider:
            shown = start_shown(place / "million", seeded(), provider)
            try:
                async with chromium() as browser:
                    tables = await measure(browser, shown)
                    version = browser.version
            finally:
                shown.glassline.close()
    PAGE.write_text(document(tables, version), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


async def measure(browser: Browser, shown: Shown) -> dict[str, list[Line]]:
    """Return the measures by the heading under which they stand."""
    return {
        "What is fetched": await _sizes(browser, shown),
        "Pages": [
            *await _overview(browser, shown),
            *await _list(browser, shown),
        ],
        "Rows that move": [*await _scroll(browser, shown), *await _live(browser, shown)],
        "Answers of the server": _answers(shown),
    }


async def _sizes(browser: Browser, shown: Shown) -> list[Line]:
    async with _opened(browser, shown) as opened:
        session = await opened.page.context.new_cdp_session(opened.page)
        urls: dict[str, str] = {}
        sizes: dict[str, int] = {}
        session.on("Network.responseReceived", lambda e: urls.update({e["requestId"]: e["response"]["url"]}))
        session.on(
            "Network.loadingFinished", lambda e: sizes.update({urls.get(e["requestId"], ""): e["encodedDataLength"]})
        )
        await session.send("Network.enable")
        await opened.go("/")
        files = {url: int(size) for url, size in sizes.items() if "/api/" not in url}
        answers = sum(int(size) for url, size in sizes.items() if "/api/" in url)
    fonts = sum(size for url, size in files.items() if ".woff2" in url)
    total = sum(files.values())
    return [
        Line("the overview, first time: page, scripts, styles, fonts", f"{total / 1024:.0f} KB", "at most 170 KB"),
        Line("of these fonts", f"{fonts / 1024:.0f} KB"),
        Line("its data", f"{answers / 1024:.0f} KB"),
        Line("files", f"{len(files)}"),
    ]


async def _overview(browser: Browser, shown: Shown) -> list[Line]:
    async def first_paint(is_slow: bool) -> float:
        async with _opened(browser, shown) as opened:
            if is_slow:
                session = await opened.page.context.new_cdp_session(opened.page)
                await session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
                await session.send("Network.enable")
                slow = {"offline": False, "latency": 40, "downloadThroughput": 1_250_000, "uploadThroughput": 1_250_000}
                await session.send("Network.emulateNetworkConditions", slow)
            await opened.page.goto(shown.url + "/")
            found = await opened.page.evaluate(
                "() => new Promise((done) => new PerformanceObserver((l) => done(l.getEntries()[0].startTime))"
                ".observe({type: 'paint', buffered: true}))"
            )
            return float(found)

    return [
        Line("the verdict is painted, before any script", await _median(lambda: first_paint(False))),
        Line(
            "the same, nothing cached, 4 times slower, 10 Mbit/s and 40 ms away",
            await _median(lambda: first_paint(True)),
            "700 ms",
        ),
    ]


async def _list(browser: Browser, shown: Shown) -> list[Line]:
    async def loaded() -> float:
        async with _opened(browser, shown) as opened:
            await opened.page.goto(shown.url + "/requests", wait_until="commit")
            return float(await opened.page.evaluate(_UNTIL_ROWS))

    async with _opened(browser, shown) as opened:
        await opened.go("/requests")

        async def loaded_again() -> float:
            await opened.page.goto(shown.url + "/requests", wait_until="commit")
            return float(await opened.page.evaluate(_UNTIL_ROWS))

        async def turned() -> float:
            await opened.turn_to("/cost")
            start = await opened.page.evaluate("performance.now()")
            await opened.page.evaluate(
                "history.pushState(null, '', '/requests'); dispatchEvent(new PopStateEvent('popstate'))"
            )
            return float(await opened.page.evaluate(_UNTIL_ROWS)) - float(start)

        numbers = count(1)

        async def filtered() -> float:
            # Another question each time: what was asked before is remembered.
            path = f"/requests?q=key%3Asearch-team+latency%3A%3E{next(numbers)}ms&from=now-7d"
            return float(await asyncio.wait_for(opened.page.evaluate(_UNTIL_ANSWERED, path), PATIENCE_S))

        cold = await _median(loaded)
        lines = [
            Line("rows of the list, first visit", cold),
            Line("rows of the list, files known", await _median(loaded_again), "300 ms"),
            Line("from another page to the list", await _median(turned)),
        ]
        await opened.go("/requests")
        lines.append(Line("another filter of a week, until its rows are painted", await _median(filtered), "200 ms"))
    return lines


async def _scroll(browser: Browser, shown: Shown) -> list[Line]:
    async with _opened(browser, shown) as opened:
        await opened.go("/requests?from=now-7d")
        await opened.page.mouse.move(700, 600)
        await opened.page.evaluate(_WATCH_FRAMES)
        deadline, reached = time.monotonic() + 60, 0
        while reached < SCROLLED_ROWS and time.monotonic() < deadline:
            for _ in range(25):
                await opened.page.mouse.wheel(0, 180)
            indices = await opened.page.locator(_ROW).evaluate_all(
                "(rows) => rows.map((row) => Number(row.ariaRowIndex))"
            )
            reached = max(indices, default=0)
        frames = await opened.page.evaluate(_FRAMES)
    return [
        Line(f"rows scrolled through, {180} px a time", f"{reached:,}", f"{SCROLLED_ROWS:,}"),
        Line(
            "frames without a row in the middle", f"{frames['blank']} of {len(frames['gaps']):,}", "none in succession"
        ),
        Line("frames of more than 50 ms", f"{sum(gap > 50 for gap in frames['gaps'])}"),
        Line("rows in the page at most", f"{frames['most']}", "60"),
    ]


async def _live(browser: Browser, shown: Shown) -> list[Line]:
    async with _opened(browser, shown) as opened:
        await opened.go("/requests?live=1")
        before = await _heap(opened)
        await opened.page.evaluate(_WATCH_FRAMES)
        sent = await _traffic(shown)
        frames = await opened.page.evaluate(_FRAMES)
        grown = await _heap(opened) - before
    middle = statistics.median(frames["gaps"])
    return [
        Line("requests a second while following live", f"{sent / LIVE_S:.0f}", f"{LIVE_PER_S}"),
        Line("a frame, middle and 95th percentile", f"{middle:.0f} ms, {_percentile(frames['gaps'], 0.95):.0f} ms"),
        Line("frames of more than 50 ms", f"{sum(gap > 50 for gap in frames['gaps'])} of {len(frames['gaps']):,}"),
        Line("memory more than before", f"{grown / 1e6:.1f} MB", "20 MB"),
    ]


async def _traffic(shown: Shown) -> int:
    """Ask so many times a second for a while; return how often that was answered."""
    body = json.dumps(
        {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9}
    )
    headers = {"authorization": f"Bearer {key_of('search-team')}", "content-type": "application/json"}
    answered, loop = 0, asyncio.get_running_loop()

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal answered
        answer = await client.post(f"{shown.glassline.url}/v1/chat/completions", content=body, headers=headers)
        answered += answer.status_code == 200

    async with httpx.AsyncClient(timeout=20, trust_env=False) as client, asyncio.TaskGroup() as group:
        start = loop.time()
        for number in range(LIVE_PER_S * LIVE_S):
            group.create_task(one(client))
            await asyncio.sleep(max(0.0, start + (number + 1) / LIVE_PER_S - loop.time()))
    return answered


def _answers(shown: Shown) -> list[Line]:
    lines = []
    cookies = {each["name"]: each["value"] for each in shown.states["ada"]["cookies"]}
    with httpx.Client(base_url=shown.url, cookies=cookies, timeout=20, trust_env=False) as client:
        for name, path in _QUESTIONS:
            took = []
            for _ in range(20):
                start = time.perf_counter()
                answer = client.get(path)
                took.append((time.perf_counter() - start) * 1000)
                answer.raise_for_status()
            lines.append(Line(name, f"{statistics.median(took):.0f} ms, {_percentile(took, 0.95):.0f} ms"))
    return lines


async def _heap(opened: Window) -> float:
    session = await opened.page.context.new_cdp_session(opened.page)
    await session.send("HeapProfiler.collectGarbage")
    return float((await session.send("Runtime.getHeapUsage"))["usedSize"])


def _opened(browser: Browser, shown: Shown) -> Any:
    return window(browser, shown.url, now=shown.now, state=shown.states["ada"])


async def _median(measure_once: Callable[[], Awaitable[float]]) -> str:
    found = [await measure_once() for _ in range(ROUNDS)]
    return f"{statistics.median(found):.0f} ms ({min(found):.0f} to {max(found):.0f})"


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def document(tables: dict[str, list[Line]], version: str) -> str:
    """Return the page."""
    parts = [
        "# How fast the dashboard is",
        "",
        (
            "`make ui-bench` writes this page: Chromium before a Glassline with "
            f"{MILLION:,} requests of 30 days, on one machine with everything else that runs on it."
        ),
        f"Chromium {version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        (
            f"Of times, the middle of {ROUNDS} is given, with the shortest and the longest; of answers, the middle and the "
            "95th percentile of 20."
        ),
    ]
    for title, lines in tables.items():
        parts += ["", f"## {title}", "", "| what | measured | wanted |", "|---|---|---|"]
        parts += [f"| {line.name} | {line.value} | {line.wanted} |" for line in lines]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    asyncio.run(main())
