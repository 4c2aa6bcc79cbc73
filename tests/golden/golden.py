"""Golden files: an exchange, what is to be understood of it, and what it cost, worked out by hand."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pricing import Usage
from proxy.records import Begin, Body, End, Exchange, Timeline, join_headers

ROOT = Path(__file__).parent


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sent."""

    path: str
    """Below the base URL, with the query."""
    method: str = "POST"
    headers: dict[str, str] = {}
    body: str = ""
    body_base64: str = ""


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider answered."""

    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    body: str = ""
    body_base64: str = ""


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who answered."""

    wire: str
    provider: str | None = None
    """Provider id of the price table."""
    name: str = ""
    """Row of `proxy.providers`; empty: the one whose price table id is `provider`."""
    is_free: bool = False


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One golden file."""

    request: Request
    response: Response
    upstream: Upstream
    started_at: datetime
    reading: dict[str, Any]
    """Fields of the reading, those that matter; every other field is left alone."""
    cost_usd: str | None
    """Exact, as decimal text; None: unknown."""
    cost_source: str = ""
    """Empty: table, or unknown when the cost is."""
    usage_source: str = "provider"
    note: str = ""
    """Where the bytes are from, when no comment says so."""

    def exchange(self) -> Exchange:
        """Return the exchange."""
        request = _bytes(self.request.body, self.request.body_base64)
        response = _bytes(self.response.body, self.response.body_base64)
        headers = {"content-type": "application/json"} | self.request.headers
        answered = {"content-type": self.response.content_type} | self.response.headers
        begin = Begin(
            id="golden",
            started_at_ms=round(self.started_at.replace(tzinfo=self.started_at.tzinfo or UTC).timestamp() * 1000),
            upstream=self.upstream.name or self.upstream.provider or self.upstream.wire,
            wire=self.upstream.wire,
            provider=self.upstream.provider,
            is_free=self.upstream.is_free,
            method=self.request.method,
            path=self.request.path,
            headers=tuple((name.lower().encode(), value.encode()) for name, value in headers.items()),
        )
        end = End(
            outcome="completed",
            status=self.response.status,
            head=join_headers(tuple((name.encode(), value.encode()) for name, value in answered.items())),
            request_size=len(request),
            response_size=len(response),
            request_complete_us=10,
            dispatched_us=20,
            response_head_us=30,
            ended_us=40,
        )
        return Exchange(begin, end, _body(request), _body(response), Timeline(((len(response), 35),)))


def golden_files() -> dict[str, Path]:
    """Return the golden files by name: `provider/what`."""
    return {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.yaml"))}


def load(path: Path) -> Golden:
    """Read one file."""
    # Times and decimals stay as YAML has them: numbers of money are quoted in the files.
    return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Golden)


def usd(nano_usd: int | None) -> Decimal | None:
    """Return exact US dollars."""
    return None if nano_usd is None else Decimal(nano_usd) / 10**9


def plain(value: Any) -> Any:
    """Return a field of a reading as YAML would write it."""
    if isinstance(value, Usage):
        return msgspec.to_builtins(value)  # buckets that do not apply are left out, unknown ones are null
    if isinstance(value, bytes):
        return value.decode()
    return msgspec.to_builtins(value)


def differences(expected: Mapping[str, Any], actual: Any, name: str = "reading") -> Iterator[str]:
    """Say what is not as expected; of structures only the named fields are compared, usages whole."""
    for field, wanted in expected.items():
        found = plain(getattr(actual, field))
        if field == "charges":
            wanted, found = list(wanted), [_set_fields(charge) for charge in found]
        if isinstance(wanted, tuple | list):
            wanted, found = list(wanted), list(found or ())
        if found != wanted:
            yield f"{name}.{field}: expected {wanted!r}, found {found!r}"


def _set_fields(charge: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in charge.items() if value is not None}


def _bytes(text: str, encoded: str) -> bytes:
    return base64.b64decode(encoded) if encoded else text.encode()


def _body(data: bytes) -> Body:
    return Body(data, len(data), hashlib.sha256(data).digest())
