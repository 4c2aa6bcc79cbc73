"""Bars as SVG: a scale of their own, readable on light and dark pages, and small enough to be read as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, VALUE = 720, 190, 90
BAR, GAP, HEAD = 18, 8, 34
COLOURS = {"nginx": "#6b7280", "direct": "#9ca3af", "glassline": "#0e7490", "glassline+budget": "#155e75"}
OTHER = "#b45309"
STYLE = "text{font:13px sans-serif;fill:#374151}@media(prefers-color-scheme:dark){text{fill:#d1d5db}}"


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    value: float
    text: str
    "what stands at its end"


@dataclass(frozen=True, slots=True)
class Limit:
    """A line across the bars: what is demanded."""

    value: float
    text: str


def draw_bars(title: str, bars: Sequence[Bar], limit: Limit | None = None) -> str:
    """Return the picture. All bars begin at 0, and the longest fills the width."""
    most = max([bar.value for bar in bars] + ([limit.value] if limit else []), default=0) or 1
    scale = (WIDTH - LABEL - VALUE) / most
    height = HEAD + len(bars) * (BAR + GAP) + (18 if limit else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="0" y="16" font-weight="bold">{escape(title)}</text>',
        *(_bar(bar, HEAD + place * (BAR + GAP), scale) for place, bar in enumerate(bars)),
    ]
    if limit:
        at = LABEL + limit.value * scale
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{HEAD - 4}" y2="{height - 16}" stroke="#dc2626" '
            f'stroke-dasharray="4 3"/><text x="{at:.1f}" y="{height - 3}" text-anchor="middle">{escape(limit.text)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(bar: Bar, top: float, scale: float) -> str:
    length = max(1.0, bar.value * scale)
    middle = top + BAR - 5
    return (
        f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{COLOURS.get(bar.name, OTHER)}"/>'
        f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{escape(bar.text)}</text>'
    )
