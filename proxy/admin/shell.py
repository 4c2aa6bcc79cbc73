"""The frame of every page as HTML: what a browser shows before, and without, any script.

Everything that came over the wire is escaped here; the policy lets nothing run but the modules of the build, and lets
them put no text into the page as code (Trusted Types).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Literal

import msgspec

from proxy.admin.assets import Assets

State = Literal["ok", "warn", "bad", "none"]
_WORDS: Final[dict[State, str]] = {"ok": "OK", "warn": "Warning", "bad": "Critical", "none": "No data"}
_SIGNS: Final[dict[State, str]] = {
    "ok": "m5 12.5 4.5 4.5L19 7.5",
    "warn": "M12 4 2.5 20h19zM12 10v4M12 17h.01",
    "bad": "M6 6l12 12M18 6 6 18",
    "none": "M5 12h14",
}
_FONTS: Final = ("inter.woff2",)
_ICON: Final = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20'>"
    "<rect width='20' height='20' rx='6' fill='{colour}'/>"
    "<circle cx='10' cy='10' r='4' fill='none' stroke='white' stroke-width='2'/></svg>"
)
_ICON_COLOURS: Final[dict[State, str]] = {
    "ok": "%2316171a",
    "warn": "%23b87400",
    "bad": "%23c0281f",
    "none": "%2316171a",
}
_TITLE_MARKS: Final[dict[State, str]] = {"ok": "", "warn": "⚠ ", "bad": "✗ ", "none": ""}
NO_SCRIPT: Final = "This page needs JavaScript. The verdict is on the overview and at /status without it."
NOT_BUILT: Final = "The dashboard is not built: run `make ui`. The verdict is at /status, the data under /api."


@dataclass(frozen=True, slots=True)
class ShownTile:
    """One number of the overview, in words."""

    label: str
    state: State
    word: str
    value: str
    difference: str
    is_worse: bool | None
    """None: neither better nor worse."""
    note: str
    sample: str
    rule: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What the overview says first."""

    state: State
    sentence: str
    detail: str = ""
    link: tuple[str, str] | None = None
    """A label and an address."""
    tiles: Sequence[ShownTile] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """One page to be rendered."""

    title: str
    chunk: str
    """Name of the module of the page, without `.js`; '': the page does not exist."""
    boot: dict[str, Any]
    """What the scripts are told; JSON."""
    state: State
    opening: Opening | None = None
    theme: str = ""
    """light or dark; '': as the system has it."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document and the policy under which it may be shown."""

    html: str
    policy: str


def render(frame: Frame, assets: Assets) -> Rendered:
    """Return the document."""
    nonce = secrets.token_urlsafe(16)
    modules = assets.modules()
    html = "".join(
        [
            f'<!doctype html><html lang="en"{_theme(frame.theme)}><head><meta charset="utf-8">',
            f"<title>{escape(_TITLE_MARKS[frame.state] + frame.title)} · Glassline</title>",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta property="csp-nonce" nonce="{nonce}">',
            f'<link rel="icon" href="{_ICON.format(colour=_ICON_COLOURS[frame.state])}">',
            *(_preloaded(assets, name) for name in _FONTS),
            f'<link rel="stylesheet" href="{escape(assets.address("style.css"))}">',
            f'<script type="importmap">{modules}</script>',
            *(_module(assets, name) for name in assets.needed("index", frame.chunk)),
            f'<script type="module" src="{escape(assets.address("index.js"))}"></script>',
            "</head><body>",
            f'<script type="application/json" id="boot">{_json(frame.boot)}</script>',
            f'<div id="root">{_app(frame, is_built=assets.are_built)}</div>',
            "</body></html>",
        ]
    )
    return Rendered(html, policy(modules, nonce))


def policy(modules: str, nonce: str) -> str:
    """Return what a page may load and do."""
    digest = base64.b64encode(hashlib.sha256(modules.encode()).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "font-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "connect-src 'self'",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types glassline-markdown glassline-worker",
        ]
    )


def _theme(theme: str) -> str:
    return f' data-theme="{theme}"' if theme in ("light", "dark") else ""


def _preloaded(assets: Assets, name: str) -> str:
    # Without `?v=`: the style sheet asks for the font by its plain name.
    return f'<link rel="preload" as="font" type="font/woff2" crossorigin href="{escape(assets.address(name).partition("?")[0])}">'


def _module(assets: Assets, name: str) -> str:
    return f'<link rel="modulepreload" href="{escape(assets.address(name))}">'


def _json(value: dict[str, Any]) -> str:
    """Return JSON that ends no script element, whatever it says."""
    text = msgspec.json.encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _app(frame: Frame, *, is_built: bool) -> str:
    if not is_built:
        content = f"<p>{escape(NOT_BUILT)}</p>"
    elif frame.opening is None:
        content = f"<noscript><p>{escape(NO_SCRIPT)}</p></noscript>"
    else:
        content = ""
    opening = _opening(frame.opening) if frame.opening else ""
    return (
        '<div class="app"><aside class="side"><div class="brand"><i></i>Glassline</div>'
        f'<div class="foot">{_log_out(frame.boot)}</div></aside>'
        f'<div class="page"><header class="top"><div class="crumb"><h1>{escape(frame.title)}</h1></div></header>'
        f'<main id="main">{opening}{content}</main></div></div>'
    )


def _log_out(boot: dict[str, Any]) -> str:
    if not boot["form"]:
        return ""
    return (
        f'<form method="post" action="{escape(boot["base"])}/logout">'
        f'<input type="hidden" name="form" value="{escape(boot["form"])}">'
        f'<span class="ellipsis">{escape(boot["user"])}</span>'
        '<button class="btn small" type="submit">Log out</button></form>'
    )


def _opening(opening: Opening) -> str:
    detail = f"<p>{escape(opening.detail)}</p>" if opening.detail else ""
    link = ""
    if opening.link is not None:
        label, address = opening.link
        link = f'<div class="act"><a class="btn primary" href="{escape(address)}">{escape(label)}</a></div>'
    tiles = "".join(_tile(tile) for tile in opening.tiles)
    return (
        f'<section class="verdict {opening.state}"><div class="sign">{_icon(_SIGNS[opening.state])}</div>'
        f'<div class="say"><h2>{escape(opening.sentence)}</h2>{detail}</div>{link}</section>'
        + (f'<section class="grid c3">{tiles}</section>' if tiles else "")
    )


def _tile(tile: ShownTile) -> str:
    kind = {None: "", True: "worse", False: "better"}[tile.is_worse]
    difference = f'<span class="{kind}">{escape(tile.difference)}</span>' if tile.difference else ""
    note = f"<span>{escape(tile.note)}</span>" if tile.note else ""
    return (
        f'<article class="card tile {tile.state}"><span class="label">{escape(tile.label)}</span>'
        f'<span class="pill {tile.state}">{_icon(_SIGNS[tile.state])}{escape(tile.word or _WORDS[tile.state])}</span>'
        f'<span class="value"><b>{escape(tile.value)}</b>{difference}{note}</span><span class="spark"></span>'
        f'<span class="rule"><span>{escape(tile.sample)}</span><span>{escape(tile.rule)}</span></span></article>'
    )


def _icon(path: str) -> str:
    return f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{path}"/></svg>'
