"""The truth log: what the provider really received and sent, to be held against what others recorded.

One JSON line per event: `received` before anything is answered, `done` when nothing more will be sent.
Each line is one write(2) to a file opened for appending, so a killed simulator leaves whole lines, and several
simulators may share a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from proxy.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from proxy.simulator.answer import Usage
    from proxy.simulator.delivery import Receipt

_SECRETS = frozenset(
    {"authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token", "cookie", "proxy-authorization"}
)
_KEY = re.compile(r"(?<=[?&]key=)[^&]+")
"""Google's credential in the query."""
_OF_INTEREST = (
    "x-",
    "openai-",
    "anthropic-",
    "content-",
    "accept",
    "traceparent",
    "baggage",
    "user-agent",
    "host",
    "te",
)
"""Beginnings of the headers worth keeping. The id that a proxy adds would only make two runs differ."""
_IGNORED = frozenset({"x-glassline-request-id"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was received."""

    n: int
    """1 for the first request of this simulator."""
    method: str
    path: str
    """With its query, as sent."""
    route: str
    """What follows `/v1/`; of a path without it, all but the leading slash. Percent-decoded, no trailing slash."""
    headers: Mapping[str, str]
    """Lower-case names; values of repeated headers joined by a comma."""
    body: bytes
    sha256: str
    """Of the body, as received."""
    client_port: int

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query, decoded; of a repeated one, the last."""
        query = self.path.partition("?")[2]
        return dict(parse_qsl(query, keep_blank_values=True)) if query else {}

    @property
    def credential(self) -> str:
        """The key or token presented, wherever its dialect puts it; '' if there is none."""
        headers = self.headers
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        keys = (headers.get(name, "") for name in ("x-api-key", "api-key", "x-goog-api-key"))
        return bearer or next(filter(None, keys), "") or self.query.get("key", "")


class TruthLog:
    """Appends events to a file, or to nothing."""

    def __init__(self, file: Path | None, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._descriptor = None if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def received(self, request: Request) -> None:
        """Note a request, before it is answered."""
        self._append("received", request, {})

    def done(self, request: Request, model: str, receipt: Receipt) -> None:
        """Note how a request ended."""
        ending = {
            "status": receipt.status,
            "model": model,
            "usage": _buckets(receipt.usage),
            "response_sha256": receipt.sha256.hexdigest(),
            "response_bytes": receipt.size_bytes,
            "events": receipt.events,
            "finished": receipt.is_finished,
        }
        self._append("done", request, ending)

    def noted(self, event: str, request: Request, facts: Mapping[str, object]) -> None:
        """Note what else happened under a request, such as what one response of a session consumed."""
        self._append(event, request, facts)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, event: str, request: Request, ending: Mapping[str, object]) -> None:
        if self._descriptor is None:
            return
        line = {
            "n": request.n,
            "event": event,
            "at_ms": self._clock.wall_ms(),
            "method": request.method,
            "path": _KEY.sub(lambda key: mask(key[0]), request.path),
            "request_sha256": request.sha256,
            "request_bytes": len(request.body),
            "client_port": request.client_port,
            "x_request": headers_of_interest(request.headers),
            **ending,
        }
        os.write(self._descriptor, msgspec.json.encode(line) + b"\n")


def _buckets(usage: Usage | None) -> dict[str, float] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        **dict(usage.extra),
    }


def headers_of_interest(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers worth keeping, credentials cut down to their scheme and last four characters."""
    return {
        name: mask(value) if name in _SECRETS else value
        for name, value in headers.items()
        if name in _SECRETS or (name.startswith(_OF_INTEREST) and name not in _IGNORED)
    }


def mask(credential: str) -> str:
    """Return a credential's scheme and last four characters; a short one entirely as stars."""
    scheme, _, secret = credential.rpartition(" ")
    shown = f"…{secret[-4:]}" if len(secret) > 8 else "****"
    return f"{scheme} {shown}" if scheme else shown


def digest(body: bytes) -> str:
    """Return the SHA-256 of a body, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()
