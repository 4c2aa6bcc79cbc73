"""The status page: one plain HTML document, no script, nothing loaded from anywhere.

Everything that came over the wire is escaped at one place, `_cell`; the policy in the header lets nothing run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from proxy import __version__
from proxy.admin.amounts import money
from proxy.admin.verdict import Verdict
from proxy.ledger.accounts import AccountRow
from proxy.stats import ProcessStats
from proxy.store.query import RequestRow

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; white-space: nowrap; }
th { font-weight: 600; opacity: .7; }
td.n, th.n { text-align: right; }
h1 span { font-weight: 400; opacity: .6; }
.ok { color: #1a7f37; } .degraded { color: #b7791f; } .failing { color: #c62828; }
section { overflow-x: auto; }
"""
STYLE_SOURCE: Final = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
CONTENT_POLICY: Final = (
    f"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; style-src {STYLE_SOURCE}"
)


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows."""

    verdict: Verdict
    requests: Sequence[RequestRow]
    accounts: Sequence[AccountRow]
    processes: Sequence[ProcessStats]
    now_ms: int
    user: str = ""
    """Who is logged in; '': nobody is asked, or they came without a session."""
    form_token: str = ""
    """What the form for logging out sends back."""


@dataclass(frozen=True, slots=True)
class _Link:
    text: str
    href: str


_Content = str | _Link


def status_page(overview: Overview) -> str:
    """Return the document."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Glassline</title>',
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="10">',
        f"<style>{STYLE}</style></head><body><h1>Glassline <span>{escape(__version__)}</span></h1>",
        _who(overview),
        _verdict(overview.verdict),
        _section("Requests", _REQUEST_TITLES, [_request(row) for row in overview.requests], "No request yet."),
        _section("Budgets", _BUDGET_TITLES, [_budget(row) for row in overview.accounts], "No budget was used yet."),
        _section("Processes", _PROCESS_TITLES, [_process(p) for p in overview.processes], "No process reports."),
        '<p><a href="/metrics">metrics</a> · <a href="/api/openapi.json">API</a> · <a href="/status">status</a></p>',
        "</body></html>",
    ]
    return "".join(parts)


def _who(overview: Overview) -> str:
    if not overview.form_token:
        return ""
    return (
        f'<form method="post" action="/logout"><input type="hidden" name="form" value="{escape(overview.form_token)}">'
        f'<p>{escape(overview.user)} <button type="submit">Log out</button></p></form>'
    )


def _verdict(verdict: Verdict) -> str:
    reasons = "".join(f"<li>{escape(reason.text)}</li>" for reason in verdict.reasons)
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    return f'<p><strong class="{verdict.level}">{verdict.level}</strong></p>{listed}'


_REQUEST_TITLES: Final = ("Time (UTC)", "Id", "Key", "Model", "#Status", "Outcome", "#Duration", "#In", "#Out", "#Cost")
_BUDGET_TITLES: Final = ("Budget", "Scope", "#Limit", "#Spent", "#Reserved", "Resets (UTC)")
_PROCESS_TITLES: Final = ("Process", "#Pid", "Alive", "Ready", "#In flight", "#Connections", "#Loop lag")


def _request(row: RequestRow) -> list[_Content]:
    return [
        _instant(row.started_at),
        _Link(row.id[:18], f"/api/requests/{row.id}"),
        row.key or "",
        row.model or row.model_requested or "",
        str(row.status or ""),
        row.outcome,
        f"{row.duration_ms:,.0f} ms",
        _number(row.input_tokens),
        _number(row.output_tokens),
        money(row.cost_nano_usd),
    ]


def _budget(row: AccountRow) -> list[_Content]:
    amounts = [money(row.limit_nano_usd), money(row.spent_nano_usd), money(row.reserved_nano_usd)]
    return [row.budget, row.scope, *amounts, _instant(row.window_end_ms) if row.window_end_ms else "never at once"]


def _process(process: ProcessStats) -> list[_Content]:
    states = ["yes" if state else "no" for state in (process.is_alive, process.is_ready)]
    numbers = [f"{process.in_flight:,}", f"{process.connections:,}", f"{process.loop_lag_ms:.1f} ms"]
    return [process.process, str(process.pid), *states, *numbers]


def _section(title: str, titles: Sequence[str], rows: Sequence[Sequence[_Content]], empty: str) -> str:
    if not rows:
        return f"<section><h2>{title}</h2><p>{empty}</p></section>"
    numeric = [name.startswith("#") for name in titles]
    head = _row("th", [name.removeprefix("#") for name in titles], numeric)
    body = "".join(_row("td", row, numeric) for row in rows)
    return f"<section><h2>{title}</h2><table><thead>{head}</thead><tbody>{body}</tbody></table></section>"


def _row(tag: str, cells: Iterable[_Content], numeric: Sequence[bool]) -> str:
    return (
        "<tr>" + "".join(_cell(tag, cell, is_number) for cell, is_number in zip(cells, numeric, strict=True)) + "</tr>"
    )


def _cell(tag: str, content: _Content, is_number: bool) -> str:
    style = ' class="n"' if is_number else ""
    if isinstance(content, _Link):
        return f'<{tag}{style}><a href="{escape(content.href)}">{escape(content.text)}</a></{tag}>'
    return f"<{tag}{style}>{escape(content)}</{tag}>"


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
