"""Upstreams as the dashboard shows them: those of the configuration, and built-in ones that somebody used.

Whether one can be reached is looked at when somebody asks: a connection is opened and closed, and nothing is sent over
it but a TLS handshake. So it costs nothing and tells a provider nothing but that we are there.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from proxy.config import Config, Upstream
from proxy.providers import PROVIDERS, costs_nothing, row_for

Credential = Literal["key", "aws", "none", "missing"]
"""What pays: the configured `api_key`, AWS's credentials, nothing because nothing is asked for, or nothing that is there."""
PROBE_S: Final = 4.0
PROBE_KEPT_S: Final = 10.0
"""An answer that is younger is given again: a page that is loaded anew opens no second connection."""
_PORTS: Final = {"http": 80, "https": 443}


class UpstreamShape(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream."""

    name: str
    base_url: str | None
    wire: str
    provider: str | None
    """Its id in the price table; None: it has no prices there."""
    is_configured: bool
    """It stands in the configuration; False: a built-in one."""
    is_default: bool
    """`/v1/…` means this one."""
    is_free: bool
    credential: Credential
    allow_private: bool


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a look at an upstream."""

    upstream: str
    is_reachable: bool
    at_ms: int
    """When it was looked, Unix ms."""
    connect_ms: float | None = None
    """Until the connection stood; None: it did not."""
    tls_ms: float | None = None
    """What the handshake took besides; None: there was none."""
    address: str | None = None
    problem: str | None = None
    """None: it can be reached."""


def known_upstreams(config: Config, used: Collection[str] = ()) -> list[UpstreamShape]:
    """Return the upstreams of the configuration, the default, and those built-in ones that are `used`, by name."""
    names = {*config.upstreams, config.default_upstream, *(name for name in used if name in PROVIDERS)}
    return sorted((_shape(name, config) for name in names), key=lambda each: (not each.is_configured, each.name))


def find_upstream(config: Config, name: str) -> UpstreamShape | None:
    """Return an upstream by its name; None: there is none."""
    return _shape(name, config) if name in config.upstreams or name in PROVIDERS else None


def _shape(name: str, config: Config) -> UpstreamShape:
    row = config.upstreams.get(name, Upstream())
    known = row_for(name, row.wire)
    base_url = row.base_url or known.base_url
    if base_url is not None:
        base_url = base_url.replace("{region}", row.region or known.default_region or "")
    return UpstreamShape(
        name=name,
        base_url=base_url,
        wire=row.wire or known.wire,
        provider=row.provider or known.price_id,
        is_configured=name in config.upstreams,
        is_default=name == config.default_upstream,
        is_free=costs_nothing(name, row),
        credential=_credential(row, row.auth or known.auth),
        allow_private=row.allow_private,
    )


def _credential(row: Upstream, auth: str) -> Credential:
    if row.api_key is not None:
        return "key"
    if row.aws is not None:
        return "aws"
    return "none" if auth == "none" else "missing"


class Lookout:
    """Looks whether upstreams can be reached, one look at a time for each."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._looks: dict[str, asyncio.Task[Reached]] = {}

    async def look(self, upstream: UpstreamShape) -> Reached:
        """Return whether it can be reached now, or could a moment ago."""
        look = self._looks.get(upstream.name)
        if look is None or (look.done() and time.time() * 1000 - look.result().at_ms > PROBE_KEPT_S * 1000):
            look = self._looks[upstream.name] = asyncio.create_task(self._look(upstream))
        return await asyncio.shield(look)

    async def _look(self, upstream: UpstreamShape) -> Reached:
        now = time.time_ns() // 1_000_000
        try:
            async with asyncio.timeout(PROBE_S):
                return await _connect(upstream, now, self._config)
        except TimeoutError:
            problem = f"no connection within {PROBE_S:g} seconds"
        except OSError as error:
            problem = _reason(error)
        return Reached(upstream=upstream.name, is_reachable=False, at_ms=now, problem=problem)


async def _connect(upstream: UpstreamShape, now_ms: int, config: Config) -> Reached:
    parts = urlsplit(upstream.base_url or "")
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not upstream.allow_private and (private := _private(addresses)) is not None:
        problem = f"{private} is a private address: requests are refused without `allow_private: true`"
        return Reached(upstream=upstream.name, is_reachable=False, at_ms=now_ms, problem=problem)
    start = loop.time()
    _, writer = await asyncio.open_connection(addresses[0], port)
    connected = loop.time()
    tls_ms: float | None = None
    try:
        if parts.scheme == "https":
            row = config.upstreams.get(upstream.name, Upstream())
            context = await asyncio.to_thread(ssl.create_default_context)
            if row.ca_file is not None:
                context.load_verify_locations(row.ca_file)
            before = loop.time()
            await writer.start_tls(context, server_hostname=host)
            tls_ms = (loop.time() - before) * 1000
    finally:
        writer.transport.abort()
    return Reached(
        upstream=upstream.name,
        is_reachable=True,
        at_ms=now_ms,
        connect_ms=(connected - start) * 1000,
        tls_ms=tls_ms,
        address=addresses[0],
    )


def _private(addresses: Iterable[str]) -> str | None:
    return next((address for address in addresses if not ip_address(address).is_global), None)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its name is not known: look at DNS and at `base_url`"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection: nothing listens there"
    return error.strerror or str(error) or type(error).__name__
