"""The filter grammar of lists: `key:search status:>=400 latency:>2s`, compiled to SQL with bound values only.

terms     field:value, all of which must hold; a `-` in front negates; "…" around a value may hold spaces
text      exact, or a glob with `*`; `field:` with nothing after it finds what has none
number    `400`, `>=400`, `<0.5`; `4xx` for a class of statuses
duration  a number with ms, s, m or h; seconds without
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from proxy.errors import ClientError


class FilterError(ClientError):
    """A filter that cannot be understood; the message says why and what would be valid."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition over the columns of `request_rows`."""

    sql: str = "1"
    parameters: tuple[str | int | float, ...] = ()


_Compiler = Callable[[str, str, str], Filter]
"""From field, column and value to a condition."""
_TERM: Final = re.compile(r'(?P<not>-)?(?P<field>[A-Za-z_]+):(?P<value>"[^"]*"|(?!")\S*)')
_COMPARISON: Final = re.compile(r"(?P<operator>>=|<=|>|<|=)?(?P<number>.+)")
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)(?P<unit>ms|s|m|h)?")
_MS: Final = {"ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0, None: 1000.0}
_MAX_TERMS: Final = 32
"""More than a person types; SQLite's own limit on the depth of an expression is far above."""


def parse_filter(text: str) -> Filter:
    """Compile a filter. Raises FilterError."""
    conditions: list[Filter] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TERM.match(text, at)
        if match is None or (match.end() < len(text) and not text[match.end()].isspace()):
            word = text[at:].split(maxsplit=1)[0]
            raise FilterError(f"`{word}` is not a filter: write field:value, with field one of {_names()}")
        conditions.append(_compile(match["field"].lower(), match["value"].strip('"'), is_negated=bool(match["not"])))
        at = match.end()
    if len(conditions) > _MAX_TERMS:
        raise FilterError(f"at most {_MAX_TERMS} terms")
    return both(*conditions)


def both(*filters: Filter) -> Filter:
    """Return the condition that all of the filters hold."""
    wanted = [each for each in filters if each.sql != "1"]
    if not wanted:
        return Filter()
    parameters = tuple(parameter for each in wanted for parameter in each.parameters)
    return Filter(" AND ".join(f"({each.sql})" for each in wanted), parameters)


def _compile(field: str, value: str, *, is_negated: bool) -> Filter:
    if field not in _FIELDS:
        near = get_close_matches(field, _FIELDS, n=1)
        hint = f", perhaps `{near[0]}`" if near else ""
        raise FilterError(f"there is no field `{field}`{hint}; fields: {_names()}")
    column, compiler = _FIELDS[field]
    condition = compiler(field, column, value)
    # What has no value at all is not equal either: `-user:ann` finds requests without a user.
    return Filter(f"NOT coalesce({condition.sql}, 0)", condition.parameters) if is_negated else condition


def _text(_field: str, column: str, value: str) -> Filter:
    if not value:
        return Filter(f"{column} IS NULL OR {column} = ''")
    if "*" not in value:
        return Filter(f"{column} = ?", (value,))
    pattern = value.replace("[", "[[]").replace("?", "[?]")
    return Filter(f"{column} GLOB ?", (pattern,))


def _number(field: str, column: str, value: str) -> Filter:
    operator, number = _split(value)
    try:
        parsed = float(number)
    except ValueError:
        raise FilterError(f"{field}:{value}: not a number: write {field}:400 or {field}:>=400") from None
    if parsed != parsed:
        raise FilterError(f"{field}:{value}: not a number")
    return Filter(f"{column} {operator} ?", (parsed,))


def _status(field: str, column: str, value: str) -> Filter:
    if re.fullmatch(r"[1-5]xx", value.lower()):
        floor = int(value[0]) * 100
        return Filter(f"{column} BETWEEN ? AND ?", (floor, floor + 99))
    return _number(field, column, value) if value else Filter(f"{column} IS NULL")


def _duration(field: str, column: str, value: str) -> Filter:
    operator, number = _split(value)
    match = _DURATION.fullmatch(number)
    if match is None:
        raise FilterError(f"{field}:{value}: not a duration: write {field}:>2s or {field}:<150ms")
    return Filter(f"{column} {operator} ?", (float(match["number"]) * _MS[match["unit"]],))


def _flag(field: str, column: str, value: str) -> Filter:
    known = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
    if value.lower() not in known:
        raise FilterError(f"{field}:{value}: write {field}:true or {field}:false")
    return Filter(f"{column} = ?", (known[value.lower()],))


def _split(value: str) -> tuple[str, str]:
    match = _COMPARISON.fullmatch(value)
    return (match["operator"] or "=", match["number"]) if match else ("=", value)


def _names() -> str:
    return ", ".join(sorted(_FIELDS))


_FIELDS: Final[dict[str, tuple[str, _Compiler]]] = {
    "id": ("id", _text),
    "key": ("key", _text),
    "user": ("user", _text),
    "session": ("session", _text),
    "trace": ("trace_id", _text),
    "environment": ("environment", _text),
    "upstream": ("upstream", _text),
    "endpoint": ("endpoint", _text),
    "model": ("coalesce(model, model_requested)", _text),
    "outcome": ("outcome", _text),
    "error": ("error_code", _text),
    "finish": ("finish_reason", _text),
    "prompt": ("prompt_name", _text),
    "path": ("path", _text),
    "method": ("method", _text),
    "status": ("status", _status),
    "streaming": ("streaming", _flag),
    "attempt": ("attempt", _number),
    "latency": ("duration_ms", _duration),
    "ttft": ("ttft_ms", _duration),
    "overhead": ("overhead_ms", _duration),
    "cost": ("cost_usd", _number),
    "input": ("input_tokens", _number),
    "output": ("output_tokens", _number),
}
