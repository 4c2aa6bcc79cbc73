"""Which upstream a path means, and where below its base URL the request goes.

    /v1/…                     the default upstream; with an `anthropic-version` header, `anthropic`
    /v1beta/… /v1alpha/… /upload/v1…   `gemini`
    /<upstream>/…             that upstream
    /t/<name>:<value>/…       any of the above, tagged; repeatable

A path must be in normal form: what one server reads as `/v1/x` and another as `/admin` is refused, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from proxy.config import Config, Timeouts, Upstream
from proxy.errors import BadRequest
from proxy.operations import DIALECTS_OF, Operation, find_operation
from proxy.providers import PROVIDERS

_NOT_NORMAL: Final = re.compile(rb"//|/\.\.?(?:/|$)|\\|;|%(?:2[eEfF]|5[cC]|0|1|7[fF]|25)|%(?![0-9A-Fa-f]{2})")
_VERSION: Final = re.compile(r"v\d+(?:alpha|beta)?\d*")
_GEMINI: Final = ("/v1beta/", "/v1alpha/", "/upload/v1")
_TAG: Final = re.compile(r"[^:/]{1,64}:[^/]{1,256}")
_CREDENTIAL_IN_QUERY: Final = re.compile(rb"(^|&)(key|api[_-]key|access_token)=([^&]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream listens."""

    scheme: str
    host: str
    port: int
    allow_private: bool
    ca_file: Path | None = None
    """Certificates to trust beside the system's."""

    @property
    def is_secure(self) -> bool:
        """Say whether the upstream is spoken to over TLS."""
        return self.scheme == "https"


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream as the data path sees it."""

    name: str
    origin: Origin
    base_path: str
    """Path of the base URL, without a trailing slash."""
    host_header: bytes
    wire: str
    provider: str | None
    is_free: bool
    auth: str
    """Scheme in which the upstream wants a credential: bearer, x-api-key, api-key, x-goog-api-key, none."""
    api_key: bytes | None
    drains: bool
    """A client that leaves does not cancel the request."""
    include_usage: str
    """auto, always or never."""
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means."""

    target: Target
    upstream_path: bytes
    """Path and query to send."""
    recorded_path: str
    """The same below the base URL, credentials masked."""
    endpoint: str
    """Path below the base URL without query and version."""
    operation: Operation | None
    """What the method and the path ask for; None: nobody knows."""
    tags: tuple[tuple[str, str], ...]

    @property
    def dialect(self) -> str:
        """How the client expects an answer to be spelled."""
        if self.operation is not None:
            return self.operation.dialect
        return next(iter(DIALECTS_OF.get(self.target.wire, ())), "openai")


def build_targets(config: Config) -> dict[str, Target]:
    """Return the built-in upstreams and the configured ones, by name. Raises ConfigError lines as ValueError."""
    rows: dict[str, Upstream] = {name: Upstream() for name in PROVIDERS}
    rows.update(config.upstreams)
    return {name: target for name, row in rows.items() if (target := _target(name, row, config)) is not None}


def _target(name: str, row: Upstream, config: Config) -> Target | None:
    known = PROVIDERS.get(name)
    base_url = row.base_url or (known.base_url if known else None)
    if base_url is None:
        return None
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    host = parts.hostname or ""
    is_default_port = port == (443 if secure else 80)
    shown = f"[{host}]" if ":" in host else host
    secret = row.api_key.get_secret_value() if row.api_key else None
    return Target(
        name=name,
        origin=Origin(parts.scheme, host, port, row.allow_private, row.ca_file),
        base_path=parts.path.rstrip("/"),
        host_header=(shown if is_default_port else f"{shown}:{port}").encode(),
        wire=row.wire or (known.wire if known else "openai"),
        provider=row.provider or (known.price_id if known else None),
        is_free=row.free,
        auth=row.auth or (known.auth if known else "bearer"),
        api_key=secret.encode() if secret else None,
        drains=row.on_disconnect == "drain",
        include_usage=row.include_usage or (known.include_usage if known else "auto"),
        timeouts=config.timeouts.model_copy(update=row.timeouts.model_dump(exclude_none=True)),
    )


class Router:
    """Finds the route of a request target; remembers the paths it has seen."""

    def __init__(self, targets: Mapping[str, Target], default_upstream: str) -> None:
        self._targets = targets
        self._default = default_upstream
        self._cache: dict[tuple[bytes, str, bool], Route] = {}

    def find(self, target: bytes, method: str, *, is_anthropic: bool = False) -> Route | None:
        """Return where `target` leads; None: no upstream answers for it. Raises BadRequest.

        `method`: of the request; WEBSOCKET for one that asks for an upgrade.
        """
        cached = self._cache.get((target, method, is_anthropic))
        if cached is not None:
            return cached
        route = self._find(target, method, is_anthropic)
        if route is not None:
            if len(self._cache) >= 1024:
                self._cache.clear()
            self._cache[target, method, is_anthropic] = route
        return route

    def _find(self, raw: bytes, method: str, is_anthropic: bool) -> Route | None:
        path_bytes, mark, query = raw.partition(b"?")
        if _NOT_NORMAL.search(path_bytes) or b"#" in raw:
            raise BadRequest("the path is not in normal form")
        path = path_bytes.decode("ascii")
        tags: list[tuple[str, str]] = []
        while path.startswith("/t/"):
            tag, slash, rest = path[3:].partition("/")
            if not slash or not _TAG.fullmatch(tag):
                raise BadRequest("a tag is written /t/<name>:<value>/")
            name, _, value = unquote(tag).partition(":")
            tags.append((name, value))
            path = "/" + rest
        found = self._upstream_of(path, is_anthropic)
        if found is None:
            return None
        upstream, below = found
        below = _without_doubled_version(upstream.base_path, below)
        shown = below.encode() + (mark + _CREDENTIAL_IN_QUERY.sub(rb"\1\2=***", query) if mark else b"")
        return Route(
            target=upstream,
            upstream_path=(upstream.base_path + below).encode() + mark + query,
            recorded_path=shown.decode("ascii"),
            endpoint=_endpoint(below),
            operation=find_operation(upstream.wire, method, below),
            tags=tuple(tags),
        )

    def _upstream_of(self, path: str, is_anthropic: bool) -> tuple[Target, str] | None:
        if path.startswith(_GEMINI):
            name, below = "gemini", path
        elif path.startswith("/v1/") or path == "/v1":
            name, below = ("anthropic" if is_anthropic else self._default), path
        else:
            name, slash, rest = path[1:].partition("/")
            below = slash + rest
        target = self._targets.get(name)
        return (target, below) if target is not None else None


def _without_doubled_version(base_path: str, below: str) -> str:
    """Drop the version from `below` when the base URL ends with the same one: `…/v1` + `/v1/x` is `…/v1/x`."""
    first = below[1:].partition("/")[0]
    if _VERSION.fullmatch(first) and base_path.endswith("/" + first):
        return below[1 + len(first) :]
    return below


def _endpoint(below: str) -> str:
    first, _, rest = below[1:].partition("/")
    return "/" + rest if _VERSION.fullmatch(first) else below
