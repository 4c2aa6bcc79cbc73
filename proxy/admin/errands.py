"""Errands: requests that the admin port sends through the data port, on behalf of a key and of whoever asked for them.

They are recorded, priced and held to budgets like anybody's, because they are like anybody's: the same port, the same
path, the same key. Only the key's secret is not known here, so a ticket stands for it that holds for a minute and one
upstream. Where a request may go is the data port's to decide; nothing here opens another address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from cryptography import x509

from proxy.clock import SYSTEM, Clock
from proxy.config import Listen
from proxy.errors import OurError
from proxy.gates.keys import KeyRing, errand
from proxy.ports import Ports
from proxy.secrets import Secret

TICKET_S: Final = 60
"""A ticket is used at once; this leaves room for a slow start."""
_CONNECT_S: Final = 5.0
_KNOCK_S: Final = 10.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where that is reached


class ErrandFailed(OurError):
    """The data port did not take the request, or broke off."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One request."""

    key: str
    """Name of the key that it counts for."""
    upstream: str
    path: str
    """Path and query below the upstream's base URL."""
    body: bytes
    headers: Mapping[str, str]
    tags: Mapping[str, str]


class Messenger:
    """Sends errands to the data port of one data directory."""

    def __init__(self, data_dir: Path, listen: Listen, pepper: Secret, *, clock: Clock = SYSTEM) -> None:
        self._data_dir = data_dir
        self._listen = listen
        self._tickets = KeyRing((), (), pepper)
        self._clock = clock

    @asynccontextmanager
    async def send(self, errand_: Errand) -> AsyncIterator[httpx.Response]:
        """Send a request; its answer is read as it comes, and given up when this is left. Raises ErrandFailed."""
        path, headers = f"/{errand_.upstream}{errand_.path}", self._headers(errand_)
        async with self._stream("POST", path, headers, errand_.body) as answer:
            yield answer

    async def knock(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """Ask for something under nobody's key, to see whether the way is open. Raises ErrandFailed."""
        try:
            async with asyncio.timeout(_KNOCK_S), self._stream("GET", path, headers) as answer:
                await answer.aread()
                return answer
        except TimeoutError:
            raise ErrandFailed(f"the data port does not answer within {_KNOCK_S:g} seconds") from None

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(None, connect=_CONNECT_S)  # all else has deadlines where it is sent
        async with contextlib.AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(
                    httpx.AsyncClient(verify=self._trust(), timeout=timeout, trust_env=False, follow_redirects=False)
                )
                url = self._origin() + path
                answer = await stack.enter_async_context(
                    client.stream(method, url, content=body, headers=headers, extensions=self._name())
                )
            except (httpx.HTTPError, OSError) as error:
                raise ErrandFailed(f"the data port does not answer: {str(error) or type(error).__name__}") from error
            yield answer

    def _origin(self) -> str:
        ports = Ports.read(self._data_dir)
        if ports is None:
            raise ErrandFailed("no gateway says where it listens: is `glassline serve` running?")
        host = _ANY_ADDRESS.get(self._listen.host, self._listen.host)
        scheme = "http" if self._listen.tls is None else "https"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{ports.data}"

    def _headers(self, errand_: Errand) -> dict[str, str]:
        tags = ",".join(f"{name}={value}" for name, value in errand_.tags.items())
        return {
            "user-agent": "glassline-dashboard",
            "accept-encoding": "identity",
            **errand_.headers,
            **({"x-glassline-tags": tags} if tags else {}),
            "x-glassline-ticket": self._ticket(errand_),
        }

    def _ticket(self, errand_: Errand) -> str:
        expires_s = self._clock.wall_ms() // 1000 + TICKET_S
        return self._tickets.ticket(errand_.key, errand(errand_.upstream), expires_s)

    def _trust(self) -> ssl.SSLContext:
        """Return what makes sure that it is our own port which answers: its certificate alone is trusted."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._listen.tls is not None:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(self._listen.tls.cert)
        return context

    def _name(self) -> dict[str, str]:
        """Return the name by which the data port is asked for: one of its certificate, which need not be its address."""
        if self._listen.tls is None:
            return {}
        return {"sni_hostname": name_in(self._listen.tls.cert.read_bytes())}


def name_in(certificate: bytes) -> str:
    """Return a name that a certificate holds for. Raises ErrandFailed when there is none."""
    try:
        first = x509.load_pem_x509_certificates(certificate)[0]
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise ErrandFailed("listen.tls.cert: names no host") from error
    hosts = [name.replace("*", "glassline") for name in names.get_values_for_type(x509.DNSName)]
    hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    if not hosts:
        raise ErrandFailed("listen.tls.cert: names no host")
    return hosts[0]
