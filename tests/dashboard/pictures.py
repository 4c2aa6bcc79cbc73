"""The gallery in `docs/screenshots`: each page as it looks, and how far a page of today is from that.

Chromium compares the pictures itself, so nothing else has to read PNGs. Letters are drawn a little differently by each
version of it, so a pixel counts as changed when its colour is far off, and some may be.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser

from tests.harness.process import ROOT

GALLERY: Final = ROOT / "docs" / "screenshots"
FAR: Final = 40
"""Of 255, in any of red, green and blue; the edge of a letter may differ by as much."""
MOST_CHANGED: Final = 0.002
"""Of all pixels."""
_COMPARE: Final = """async ([before, after, far]) => {
    const load = async (data) => createImageBitmap(await (await fetch('data:image/png;base64,' + data)).blob());
    const [one, two] = await Promise.all([load(before), load(after)]);
    const size = {before: [one.width, one.height], after: [two.width, two.height]};
    if (one.width !== two.width || one.height !== two.height) return {...size, changed: 1};
    const pixels = (image) => {
        const canvas = new OffscreenCanvas(image.width, image.height);
        const context = canvas.getContext('2d', {willReadFrequently: true});
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height).data;
    };
    const a = pixels(one), b = pixels(two);
    let changed = 0, [left, top, right, bottom] = [one.width, one.height, 0, 0];
    for (let i = 0; i < a.length; i += 4) {
        const apart = Math.max(Math.abs(a[i] - b[i]), Math.abs(a[i + 1] - b[i + 1]), Math.abs(a[i + 2] - b[i + 2]));
        if (apart <= far) continue;
        changed += 1;
        const x = (i / 4) % one.width, y = Math.floor(i / 4 / one.width);
        left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
    }
    return {...size, changed: changed / (a.length / 4), box: [left, top, right, bottom]};
}"""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two pictures are apart."""

    changed: float
    """Share of the pixels; 1 when their sizes differ."""
    text: str
    """What a person wants to know of it."""


async def compare(browser: Browser, before: bytes, after: bytes) -> Difference:
    """Compare two PNGs."""
    page = await browser.new_page()
    try:
        encoded = [base64.b64encode(each).decode() for each in (before, after)]
        found: dict[str, Any] = await page.evaluate(_COMPARE, [*encoded, FAR])
    finally:
        await page.close()
    sizes = f"{found['before']} before, {found['after']} now"
    return Difference(found["changed"], f"{found['changed']:.2%} of the pixels, within {found.get('box')}; {sizes}")


def path_of(name: str) -> Path:
    """Return where the picture called `name` is kept."""
    return GALLERY / f"{name}.png"
