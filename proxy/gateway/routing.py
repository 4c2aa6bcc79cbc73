"""Which upstream a path means, and where below its base URL the request goes.

    /v1/…                     the default upstream; with the headers of Anthropic's or Google's SDK, theirs
    /v1beta/… /v1alpha/… /upload/… /ws/google.ai…   `gemini`
    /openai/deployments/…     `azure`, where it is configured
    /<upstream>/…             that upstream
    /t/<name>:<value>/…       any of the above, tagged; repeatable

A path must be in normal form: what one server reads as `/v1/x` and another as `/admin` is refused, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from proxy.config import Config, Retries, Timeouts, Upstream
from proxy.errors import BadRequest
from proxy.gateway.credentials import mask_query
from proxy.gateway.paths import endpoint_of, join, judge_path, mounts, name_upstream, root_of, split_tags
from proxy.gateway.signature import Signer
from proxy.operations import DIALECTS_OF, Operation, find_operation
from proxy.providers import PROVIDERS, costs_nothing, row_for
from proxy.secrets import Secret

_PORTS: Final = {"http": 80, "https": 443}
_LOCATION: Final = re.compile(r"/locations/([a-z]{2,14}-[a-z]{4,10}[0-9]{1,2})/")
"""Google's regions are named after a continent and a direction: europe-west9."""
_MAX_REMEMBERED_BYTES: Final = 1024
"""Of a path and query. Longer ones are rare, unless somebody wants our memory full."""
_MAX_REGIONS: Final = 64
"""More than Google has; each that is used costs connections and a TLS context."""


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
    def url(self) -> str:
        """Return scheme and host, and the port where it is not the scheme's."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def is_secure(self) -> bool:
        """Say whether the upstream is spoken to over TLS."""
        return self.scheme == "https"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """An upstream as the data path sees it. Each is itself alone, so it serves as a key that costs nothing to hash."""

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
    api_key: Secret | None
    signer: Signer | None
    """Signs what is sent for callers to whom credentials are lent, instead of an `api_key`."""
    drains: bool
    """A client that leaves does not cancel the request."""
    include_usage: str
    """auto, always or never."""
    timeouts: Timeouts
    retries: Retries = field(default_factory=Retries)
    """When a failed request is tried again."""
    is_regional: bool = False
    """Its host is that of the region that a path names."""


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
    mount: str = ""
    """Front of the client's path that stands for `mounted`: an address there is reached through one here."""
    mounted: str = ""
    """Front of the upstream's path."""

    @property
    def envelope(self) -> str:
        """How an error of ours is to be spelled: as the dialect does, or as Azure does."""
        return "azure" if self.target.wire == "azure" and self.dialect == "openai" else self.dialect

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
    known = row_for(name, row.wire)
    base_url = row.base_url or _filled(known.base_url, row.region or known.default_region)
    if base_url is None:
        return None
    parts = urlsplit(base_url)
    port = parts.port or _PORTS[parts.scheme]
    origin = Origin(parts.scheme, parts.hostname or "", port, row.allow_private, row.ca_file)
    wire = row.wire or known.wire
    return Target(
        name=name,
        origin=origin,
        base_path=root_of(wire, parts.path.rstrip("/")),
        host_header=origin.url.partition("://")[2].encode(),
        wire=wire,
        provider=row.provider or known.price_id,
        is_free=costs_nothing(name, row),
        auth=row.auth or known.auth,
        api_key=Secret(row.api_key.get_secret_value().encode()) if row.api_key else None,
        signer=Signer(row.aws, row.region or known.default_region or "us-east-1") if row.aws is not None else None,
        drains=row.on_disconnect == "drain",
        include_usage=row.include_usage or known.include_usage,
        retries=row.retries,
        timeouts=config.timeouts.model_copy(update=row.timeouts.model_dump(exclude_none=True)),
        is_regional=wire == "vertex" and row.base_url is None and row.region is None,
    )


def _filled(base_url: str | None, region: str | None) -> str | None:
    if base_url is None or region is None:
        return base_url
    # Google's only host that is not named after a region.
    return base_url.replace("{region}-", "") if region == "global" else base_url.replace("{region}", region)


class Router:
    """Finds the route of a request target; remembers the paths it has seen."""

    def __init__(self, targets: Mapping[str, Target], default_upstream: str) -> None:
        self._targets = targets
        self._default = default_upstream
        self._cache: dict[tuple[bytes, str, str | None], Route] = {}
        self._regional: dict[tuple[str, str], Target] = {}

    def find(self, target: bytes, method: str, *, speaks: str | None = None) -> Route | None:
        """Return where `target` leads; None: no upstream answers for it. Raises BadRequest.

        `method`: of the request; WEBSOCKET for one that asks for an upgrade. `speaks`: see `paths.speaker`.
        """
        cached = self._cache.get((target, method, speaks))
        if cached is not None:
            return cached
        route = self._find(target, method, speaks)
        if route is not None and len(target) <= _MAX_REMEMBERED_BYTES:
            if len(self._cache) >= 1024:
                self._cache.clear()
            self._cache[target, method, speaks] = route
        return route

    def _find(self, raw: bytes, method: str, speaks: str | None) -> Route | None:
        path_bytes, mark, query = raw.partition(b"?")
        if b"#" in raw:
            raise BadRequest("the path is not in normal form")
        judge_path(path_bytes)
        whole = path_bytes.decode("ascii")
        tags, path = split_tags(whole)
        name, below = name_upstream(path, query, default=self._default, speaks=speaks, names=self._targets)
        upstream = self._targets.get(name)
        if upstream is None:
            return None
        if upstream.is_regional and (location := _LOCATION.search(below)) is not None:
            upstream = self._in_region(upstream, location[1])
        below = join(upstream.wire, upstream.base_path, below)
        sent = upstream.base_path + below
        shown = below.encode() + (mark + mask_query(query) if mark else b"")
        mount, mounted = mounts(whole, sent, upstream.base_path)
        return Route(
            target=upstream,
            upstream_path=sent.encode() + mark + query,
            recorded_path=shown.decode("ascii"),
            endpoint=endpoint_of(below),
            operation=find_operation(upstream.wire, method, below),
            tags=tags,
            mount=mount,
            mounted=mounted,
        )

    def _in_region(self, upstream: Target, region: str) -> Target:
        """Return `upstream` at the host of a region, as its SDK would find it."""
        found = self._regional.get((upstream.name, region))
        if found is None:
            if len(self._regional) >= _MAX_REGIONS:
                return upstream
            host = f"{region}-{upstream.origin.host}"
            found = replace(upstream, origin=replace(upstream.origin, host=host), host_header=host.encode())
            self._regional[upstream.name, region] = found
        return found
