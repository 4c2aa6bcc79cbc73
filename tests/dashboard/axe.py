"""axe-core over a page: what it finds, in a few lines."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

from playwright.async_api import Page

_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN: Final = """async ([source, tags]) => {
    if (!window.axe) (0, eval)(source);
    const found = await window.axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag', values: tags}});
    return found.violations.map(({id, impact, help, nodes}) => ({
        id, impact, help, where: nodes.slice(0, 4).map((node) => `${node.target.join(' ')}  ${node.failureSummary}`),
        count: nodes.length,
    }));
}"""


async def complaints(page: Page) -> list[str]:
    """Return what axe has against the page as it stands."""
    found: list[dict[str, Any]] = await page.evaluate(_RUN, [_source(), _RULES])
    return [
        f"{each['impact']} {each['id']}: {each['help']} ({each['count']})\n    " + "\n    ".join(each["where"])
        for each in found
    ]


@cache
def _source() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
